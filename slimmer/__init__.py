"""Packs exactly what an application needs into a deterministic, checked image.

Imports run one way: cli → pipeline → closure, image, report, trust → root, elf,
packages; and slimmer → tracer. Nothing imports `cli`.
"""

__version__ = "0.1.0"
