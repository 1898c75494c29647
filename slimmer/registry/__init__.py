"""Registries of the OCI distribution specification: client, authorization, credentials, uploads, references.

`root` pulls and `image` pushes through it; it knows nothing of files below a root.
"""
