"""What a plugin would bring with it: the libraries of its own closure that nothing else has kept.

Only shared objects are weighed. A helper program is what its owner starts by name,
and does without it as little as without itself; a plugin is one of many.
"""

from __future__ import annotations

import posixpath
from collections.abc import Container

from slimmer.closure.model import Unsure
from slimmer.elf.file import ElfError
from slimmer.elf.loader import Loader
from slimmer.errors import SlimmerError
from slimmer.root.model import Entry, FileType, Root


class Burden:
    """Weighs files of one root."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._loader = Loader(root)

    def of(self, entry: Entry, kept: Container[str]) -> int:
        """Bytes of the libraries that this shared object would load and that are not in `kept`; 0 for other files."""
        if entry.type is not FileType.FILE or ".so" not in posixpath.basename(entry.path):
            return 0
        try:
            resolved = self._loader.closure(entry.path)
        except (ElfError, SlimmerError):
            return 0
        found = (
            {other.path: other.size for each in resolved.kept if (other := self._root.find(each.path))}
            if resolved
            else {}
        )
        return sum(size for path, size in found.items() if path not in kept and path != entry.path)


def doubt(path: str, size: int) -> Unsure:
    """For the report: a plugin that stays out for what it would bring."""
    return Unsure(
        "heavy-plugin",
        path,
        f"{path} was not used and would bring {size:,} bytes of libraries of its own, so it stays out;"
        f" --include {path} keeps it",
        45,
    )
