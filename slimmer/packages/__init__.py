"""Who owns a path, and what a package holds: dpkg, apk, rpm, pypi, npm, gem and more.

`model` is what everyone sees. Reads a Root, nothing else; imports only `root` and `errors`.
"""
