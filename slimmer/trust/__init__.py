"""Trust: keys, signed statements about an output, the lock, and their verification.

May import `image`, `registry`, `report` and `root`; only the pipeline and the command line import it. Nothing here
runs a program of an image.
"""
