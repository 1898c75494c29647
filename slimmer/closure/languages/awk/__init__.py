"""Awk: commands that programs run, files that they read, and what gawk includes and loads."""
