"""Removed directories in which no package has a part: one row tells all that is below.

A live root has hundreds of thousands of paths in homes, checkouts and caches. Nobody reviews them one by one, and
looking up a package and writing a row for each would be most of the work. They are counted as they are met, so that
the figures of the report are what they would be; what carries a risk mark keeps a row of its own.
"""

from __future__ import annotations

import heapq
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from operator import attrgetter

from slimmer.packages.model import PackageIndex
from slimmer.report.model import FOLDER_DEPTH, RemovedPath, Tree
from slimmer.report.risk import Marker
from slimmer.root.model import Entry, FileType, Root, sort_key

LEAST = 1000  # paths below a directory from which on one row tells them
MARKED = 1000  # right in one directory with a mark: more would be too many to hold until their turn comes
PROGRAM = 100_000  # bytes from which on a program may carry packages, as Go's do (packages/golang.py, SMALLEST)
SHARED_OBJECT = re.compile(r"\.so(\.[0-9][^/]*)?$")


@dataclass(slots=True)
class Below:
    """What is below one directory and has no rows."""

    paths: int = 0  # without the names of files that have several
    files: int = 0
    bytes: int = 0
    executables: int = 0
    shared_objects: int = 0
    folders: dict[str, tuple[int, int]] = field(default_factory=dict)  # paths and bytes, FOLDER_DEPTH names deep
    linked: list[Entry] = field(default_factory=list)  # names of files that have several
    marked: list[RemovedPath] = field(default_factory=list)  # these have
    unsearched: int = 0  # files that were looked at for secrets by their names alone

    def take(self, other: Below) -> None:
        """What is in a directory below."""
        self.paths += other.paths
        self.files += other.files
        self.bytes += other.bytes
        self.executables += other.executables
        self.shared_objects += other.shared_objects
        for folder, (paths, size) in other.folders.items():
            self.fold(folder, paths, size)
        self.linked += other.linked
        self.marked += other.marked
        self.unsearched += other.unsearched

    def fold(self, folder: str, paths: int, size: int) -> None:
        """So much more is in a folder."""
        before = self.folders.get(folder, (0, 0))
        self.folders[folder] = (before[0] + paths, before[1] + size)

    @property
    def whole(self) -> int:
        """Paths, those with rows too."""
        return self.paths + len(self.linked) + len(self.marked)

    def tree(self) -> Tree:
        """As a row tells it."""
        sizes = {each.identity: each.size for each in self.linked}
        return Tree(self.paths + len(self.linked), self.files + len(self.linked), self.bytes + sum(sizes.values()))


class Trees:
    """Finds them on a walk: `enter` is what Root.walk asks. `fixed`: paths that stay, or that others tell."""

    def __init__(
        self, root: Root, index: PackageIndex, marker: Marker, fixed: Iterable[str], *, least: int = LEAST
    ) -> None:
        self._root = root
        self._index = index
        self._marker = marker
        self._fixed = sorted(map(sort_key, fixed))
        self._least = least
        self._known: dict[str, Below | None] = {}  # counted before the walk came there; None: no tree
        self._found: dict[str, Below] = {}
        self.unsearched = 0  # files in trees that were looked at for secrets by their names alone
        self._small = "\0"  # a directory, with a slash, that was counted and is too small, as all in it are

    def enter(self, entry: Entry) -> bool:
        """Whether the walk is to tell what is in a directory. If not it is a tree: see `taken`."""
        path = entry.path
        if path.startswith(self._small) or not self._free(path):
            return True
        if path in self._known:
            below = self._known.pop(path)
        else:
            below = self._count(entry) if self._index.apart(path) else None
        if below is None:
            return True
        if below.whole < self._least:
            self._small = f"{path}/"
            return True
        self._found[path] = below
        self.unsearched += below.unsearched
        return False

    def taken(self, path: str) -> Below | None:
        """What `enter` found at a path, once."""
        return self._found.pop(path, None)

    def _free(self, path: str) -> bool:
        """Whether nothing is fixed at a path or below."""
        key = sort_key(path)
        at = bisect_left(self._fixed, key)
        inside = bisect_left(self._fixed, key + b"/", at)
        return self._fixed[at : at + 1] != [key] and not (
            inside < len(self._fixed) and self._fixed[inside].startswith(key + b"/")
        )

    def _count(self, top: Entry) -> Below | None:
        """All that is below, each directory read once; None when a package has a part in it.

        Then what was counted until there is kept for when the walk comes to it.
        """
        stack: list[_Level] = []
        following: Entry | None = top
        while True:
            if following is not None:
                level = self._level(following)
                if level is None:
                    for each in stack:
                        self._known.update(each.done)
                        self._known[each.path] = None
                    self._known[following.path] = None
                    return self._known.pop(top.path)
                stack.append(level)
            level = stack[-1]
            following = level.folders.pop() if level.folders else None
            if following is None:
                for _, below in level.done:
                    level.below.take(below)
                stack.pop()
                if not stack:
                    return level.below
                stack[-1].done.append((level.path, level.below))

    def _level(self, directory: Entry) -> _Level | None:
        """What is right in a directory; None when a package has a part in it."""
        path = directory.path
        # In order: what is looked into for secrets, as long as that may go on, must not depend on the filesystem's.
        found = sorted(self._root.listing(directory), key=attrgetter("path"))
        cut = len(path) + 1
        names = [each.path[cut:] for each in found if _may_carry(each, cut)]
        if self._index.claimed(path, names):
            return None
        level = _Level(path)
        below, before = level.below, self._marker.unsearched
        paths = size = 0
        for entry in found:
            folder = entry.type is FileType.DIRECTORY
            if folder:
                level.folders.append(entry)
            if marks := self._marker.marks(entry, None, removed=True):
                below.marked.append(RemovedPath(entry, None, marks))
                continue
            if entry.links > 1 and entry.type is FileType.FILE:
                below.linked.append(entry)
                continue
            below.paths += 1
            if not folder:
                paths += 1
                size += entry.size
            if entry.type is FileType.FILE:
                below.files += 1
                if ".so" in entry.path and SHARED_OBJECT.search(entry.path):
                    below.shared_objects += 1
                elif entry.mode & 0o111:
                    below.executables += 1
        level.folders.reverse()  # the first is taken from the end
        below.bytes = size
        below.unsearched = self._marker.unsearched - before
        if paths:
            parts = path.split("/")
            for depth in range(2, min(len(parts), FOLDER_DEPTH + 1) + 1):
                below.fold("/".join(parts[:depth]), paths, size)
        return None if len(below.marked) > MARKED else level


def told(
    rest: Iterable[Entry],
    trees: Trees,
    row_of: Callable[[Entry], RemovedPath],
    weigh: Callable[[Below], None],
) -> Iterator[RemovedPath]:
    """The rows of what a walk tells, in its order: those of trees among them, and of what has marks in these.

    "a.b" comes between "a" and "a/c": what is marked waits until its turn.
    """
    waiting: list[tuple[bytes, RemovedPath]] = []
    for entry in rest:
        if waiting:
            key = sort_key(entry.path)
            while waiting and waiting[0][0] < key:
                yield heapq.heappop(waiting)[1]
        row = row_of(entry)
        below = trees.taken(entry.path)
        if below is not None:
            weigh(below)
            row = replace(row, tree=below.tree())
            for each in below.marked:
                heapq.heappush(waiting, (sort_key(each.entry.path), each))
        yield row
    while waiting:
        yield heapq.heappop(waiting)[1]


@dataclass(slots=True)
class _Level:
    path: str
    below: Below = field(default_factory=Below)
    folders: list[Entry] = field(default_factory=list)  # still to be counted
    done: list[tuple[str, Below]] = field(default_factory=list)


def _may_carry(entry: Entry, cut: int) -> bool:
    """Whether a name says something of packages to a language: files without a dot do when they are large programs."""
    if entry.type is not FileType.FILE or entry.path.find(".", cut) >= 0:
        return True
    return bool(entry.mode & 0o111) and entry.size >= PROGRAM
