"""Make: the recipes of the application's own makefiles."""
