"""Images: from paths of a fat root to a deterministic layer, layout, archive or registry upload.

`layer` is the one place of determinism: nothing else sorts, clamps or normalises.
`tar`, `compress`, `times` and `pyc` serve it; `config`, `layout`, `archive`, `unpack`,
`push` and `index` are what stands around it; `registry` is the client that reading
and writing share. Reads roots through `slimmer.root.model` only.
"""
