"""The recorder's process: what a stop becomes, who asked, and the three ways to stop.

`protocol` is the seam to whoever starts commands; `service` is what the session imports.
"""
