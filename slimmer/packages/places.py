"""Canonical paths for the names that package databases use, a directory at a time."""

from __future__ import annotations

from collections.abc import Iterable

from slimmer.root.model import FileType, Root

REMEMBERED = 1 << 13  # directories


class Places:
    """Remembers where a directory really is, so that a list of a hundred thousand paths costs a dict lookup each.

    Of directories that are where they are named there may be any number: so many are remembered, and no more.
    """

    def __init__(self, root: Root) -> None:
        self.root = root
        self._directories: dict[str, str] = {"": ""}  # as named → canonical, both without a slash at the end
        self._moved: dict[str, str] = {}  # those of them that are not the same
        self._with_moved: set[str] = set()  # directories as named in which these are

    def directory(self, path: str) -> str:
        """The canonical path of a directory, links followed; "" is the top. What does not exist stays as named."""
        found = self._directories.get(path)
        if found is None:
            parent, _, name = path.rpartition("/")
            found = self._step(self.directory(parent), name)
            if found != path:
                self._moved[path] = found
                self._with_moved.add(parent)
            if len(self._directories) >= REMEMBERED:
                self._directories.clear()
                self._directories.update({"": "", **self._moved})
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

    def folders(self, paths: Iterable[str]) -> dict[str, list[str]]:
        """The names of many paths by canonical directory; "/" is the name "" in the directory ""."""
        known = self._directories
        found: dict[str, list[str]] = {}
        last, names = "\0", []  # the directory of the path before as named, and its list
        for path in paths:
            cut = path.rfind("/")
            name = path[cut + 1 :]
            if cut < 0 or name in ("", ".", ".."):
                base, _, name = self.canonical(path).rpartition("/")
                found.setdefault(base, []).append(name)
                continue
            folder = path[:cut]
            if folder != last:
                last, names = folder, found.setdefault(known.get(folder) or self.directory(folder), [])
            names.append(name)
        return found

    def has_moved(self, directory: str) -> bool:
        """Whether `is_moved` is true of anything right in a canonical directory."""
        return directory in self._with_moved

    def is_moved(self, path: str) -> bool:
        """Whether something was named below this canonical path that is elsewhere, as a link leads there."""
        return path in self._moved
