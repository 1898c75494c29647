"""What a program would add to the image: itself with its libraries, a script with its interpreter."""

from __future__ import annotations

import posixpath
from collections.abc import Container

from slimmer.closure.commands.shebang import BUFFER, parse_shebang
from slimmer.elf.file import ElfError
from slimmer.elf.loader import Loader
from slimmer.errors import SlimmerError
from slimmer.root.model import Entry, FileType, Root


class ProgramCost:
    """Weighs programs of one root."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._loader = Loader(root)

    def of(self, entry: Entry, kept: Container[str]) -> int:
        """Bytes that are not in `kept`; 0 for a program that is."""
        if entry.type is not FileType.FILE or entry.path in kept:
            return 0
        shebang = parse_shebang(self._head(entry))
        if shebang is not None:
            interpreter = self._root.find(shebang.interpreter)
            if shebang.program not in ("", posixpath.basename(shebang.interpreter)):
                interpreter = self._root.find(f"/usr/bin/{shebang.program}")
            heavy = interpreter is not None and interpreter.path != entry.path
            return entry.size + (self.of(interpreter, kept) if heavy and interpreter is not None else 0)
        try:
            resolved = self._loader.closure(entry.path)
        except (ElfError, SlimmerError):
            return entry.size
        paths = {each.path for each in resolved.kept} if resolved else set()
        found = {other.path: other.size for path in paths if (other := self._root.find(path)) is not None}
        return entry.size + sum(size for path, size in found.items() if path not in kept and path != entry.path)

    def _head(self, entry: Entry) -> bytes:
        try:
            return self._root.beginning(entry, BUFFER)
        except (SlimmerError, OSError):
            return b""
