"""Many images: a list is read (`lists`), each image is made by a process of its own (`child`, `worker`), as many
at once as this machine holds (`local`, `capacity`) or on a Dask cluster (`cluster`), and what became of each is a line
in a file (`journal`). Only `cli` imports this.

Between machines go texts alone: a recipe and a policy there, an outcome back. Sources and images are in registries
or in directories that all of them see.
"""
