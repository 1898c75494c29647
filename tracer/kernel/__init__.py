"""The kernel's interfaces: system call tables, seccomp filters, mounts, user namespaces.

Imports nothing else of this package but its errors.
"""
