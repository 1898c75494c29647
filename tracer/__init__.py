"""Records what a process tree touches. Knows nothing of images; usable on its own.

`session` runs commands in a root, sandboxed or in place; `service` is the
process that records them; `recording` is what comes out. Nothing here imports
`slimmer`.
"""
