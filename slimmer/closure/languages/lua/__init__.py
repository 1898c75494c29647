"""Lua: modules by the search path that the interpreter has compiled in, and started programs."""
