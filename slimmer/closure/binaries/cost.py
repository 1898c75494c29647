"""What a plugin would bring with it: the libraries of its own closure that nothing else has kept.

Only shared objects are weighed. A helper program is what its owner starts by name,
and does without it as little as without itself; a plugin is one of many.
"""

from __future__ import annotations

import posixpath
from collections.abc import Container

from slimmer.closure.model import ClosureWarning
from slimmer.elf.file import ElfError
from slimmer.elf.loader import Loader
from slimmer.errors import SlimmerError
from slimmer.root.model import Entry, FileType, Root


class DependencyCost:
    """Weighs files of one root."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._loader = Loader(root)

    def of(self, entry: Entry, kept: Container[str]) -> int:
        """Bytes of the libraries that this shared object would load and that are not in `kept`; 0 for other files."""
        if ".so" not in posixpath.basename(entry.path):
            return 0
        return self.of_program(entry, kept)

    def of_program(self, entry: Entry, kept: Container[str]) -> int:
        """The same for any ELF file."""
        return sum(size for path, size in self.libraries(entry).items() if path not in kept)

    def libraries(self, entry: Entry) -> dict[str, int]:
        """Canonical paths and sizes of all that an ELF file would load, itself aside."""
        if entry.type is not FileType.FILE:
            return {}
        try:
            resolved = self._loader.closure(entry.path)
        except (ElfError, SlimmerError):
            return {}
        found = [self._root.find(each.path) for each in resolved.kept] if resolved else []
        return {other.path: other.size for other in found if other is not None and other.path != entry.path}

    def direct(self, entry: Entry) -> tuple[str, ...]:
        """Canonical paths of the libraries that a file itself names as needed."""
        try:
            resolved = self._loader.closure(entry.path)
        except (ElfError, SlimmerError):
            return ()
        if resolved is None:
            return ()
        paths = [each.path for each in resolved.loads if each.needed_by == entry.path]
        return tuple(found.path for path in paths if (found := self._root.find(path)) is not None)


def heavy_plugin(path: str, size: int) -> ClosureWarning:
    """For the report: a plugin that stays out for what it would bring."""
    return ClosureWarning(
        "heavy-plugin",
        path,
        f"{path} was not used and would bring {size:,} bytes of libraries of its own, so it stays out;"
        f" --include {path} keeps it",
        45,
    )
