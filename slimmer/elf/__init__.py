"""What a dynamic loader would load, read from bytes: any class, byte order and architecture, nothing executed.

`loader.Loader` is the front: one entry point in, its exact closure out. `file` and
`ldcache` read formats, `glibc` and `musl` hold each loader's rules, `versions` and
`dlopen` what only shows at run time. Used by closure/elf, closure/libraries, image and cli.
"""
