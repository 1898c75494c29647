"""Packages of a fat root: who owns a path, what a package holds, and the databases that scanners read.

`index.index(root)` is the way in; one module for each package system, `model` is what travels.
May import `slimmer.root`; closure, report and image import it.
"""
