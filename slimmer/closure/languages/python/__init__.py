"""Python: imports by syntax tree, bytecode, the path that the interpreter searches, installed distributions."""
