"""The review: what was removed, what stays and why, for people, for machines and for scanners.

`model` is what travels, `rows` makes it, `build` sums it up, `write` and `read` are the files; the rest are views.
May import root, packages and closure.model; only the pipeline, trust and the CLI import it.
"""
