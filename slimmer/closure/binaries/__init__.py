"""ELF files: what they need, what they load by name, plugins beside them, and what a library would cost."""
