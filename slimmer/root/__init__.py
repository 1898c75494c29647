"""Fat roots: the filesystems that are analysed and packed.

The only package that reads the filesystem under analysis, and always confined
to it: no absolute link, no `..` leads outside. `model` is what everyone sees;
`directory` and the image sources are its kinds. Imports nothing above it.
"""
