"""Canonical paths for the names that package databases use, a directory at a time."""

from __future__ import annotations

from collections.abc import Iterable

from slimmer.root.model import FileType, Root


class Places:
    """Remembers where each directory really is, so that a list of a hundred thousand paths costs a dict lookup each."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self._directories: dict[str, str] = {"": ""}  # as named → canonical, both without a slash at the end

    def directory(self, path: str) -> str:
        """The canonical path of a directory, links followed; "" is the top. What does not exist stays as named."""
        found = self._directories.get(path)
        if found is None:
            parent, _, name = path.rpartition("/")
            found = self._step(self.directory(parent), name)
            self._directories[path] = found
        return found

    def _step(self, parent: str, name: str) -> str:
        if name in ("", "."):
            return parent
        if name == "..":
            return parent.rpartition("/")[0]
        path = f"{parent}/{name}"
        entry = self.root.entry(path)
        if entry is None or entry.type is not FileType.SYMLINK:
            return path
        end = self.root.resolve(path).path
        return "" if end == "/" else end

    def canonical(self, path: str) -> str:
        """An absolute path with the links of its parents followed, the last component as it is."""
        parent, _, name = path.rpartition("/")
        if name in ("", ".", ".."):
            return self.directory(path) or "/"
        return f"{self.directory(parent)}/{name}"

    def canonical_all(self, paths: Iterable[str]) -> list[str]:
        """The same for many at once."""
        known = self._directories
        result = []
        for path in paths:
            cut = path.rfind("/")
            base = known.get(path[:cut])
            name = path[cut:]
            if base is None or len(name) < 4:  # "/." and "/..", and nothing else that is rare
                result.append(self.canonical(path))
            else:
                result.append(base + name)
        return result

    def is_directory_name(self, path: str) -> bool:
        """Whether something was named below this canonical path."""
        return path in self._directories
