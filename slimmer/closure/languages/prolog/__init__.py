"""Prolog: consulted files and libraries, foreign libraries, and started programs."""
