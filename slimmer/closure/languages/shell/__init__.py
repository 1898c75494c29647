"""Shell scripts: every branch, and the commands in it."""
