"""Tcl: sourced files, packages below directories that a script adds, and started programs."""
