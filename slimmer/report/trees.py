"""Removed directories from which nothing stays: one row tells all that is below a large one.

A live root has hundreds of thousands of paths in homes, checkouts, caches and packages that nothing needs. Nobody
reviews them one by one, and writing a row for each would be most of the work. They are counted as they are met, so that
the figures of the report are what they would be, those of each package among them; what carries a risk mark keeps a
row of its own. Of marks that whole directories carry (COMMON) each tree shows some, and counts the rest.
"""

from __future__ import annotations

import heapq
import os
import re
import stat
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter

from slimmer.packages.model import Package, PackageIndex
from slimmer.report.model import FOLDER_DEPTH, RemovedPath, Risk, Tree
from slimmer.report.risk import COMMON, Marker
from slimmer.root.directory import entry_of
from slimmer.root.model import Entry, Root, sort_key

LEAST = 1000  # paths below a directory from which on one row tells them
MANY = 100_000  # paths of packages from which on nobody reads a row for each: then FEW are enough
FEW = 10
SHOWN = 100  # paths of one tree that have rows for marks of COMMON alone
HELD = 20_000  # rows in one tree: more would be too many to hold until their turn comes
SHARED_OBJECT = re.compile(r"\.so(\.[0-9][^/]*)?$")
PROGRAM = 100_000  # bytes from which on a program may carry packages, as Go's do (packages/golang.py, SMALLEST)


@dataclass(slots=True)
class Links:
    """Files of one directory that have several names: their bytes count once, so they are weighed later."""

    directory: str
    holders: Sequence[Package]
    device: int
    numbers: array[int] = field(default_factory=lambda: array("Q"))  # inode and size by turns


@dataclass(slots=True)
class Below:
    """What is below one directory and has no rows."""

    paths: int = 0
    files: int = 0
    bytes: int = 0  # without `links`
    executables: int = 0
    shared_objects: int = 0
    folders: dict[str, list[int]] = field(default_factory=dict)  # paths and bytes, FOLDER_DEPTH names deep
    packages: dict[Package, list[int]] = field(default_factory=dict)  # files (all but directories) and bytes
    links: list[Links] = field(default_factory=list)
    risks: Counter[Risk] = field(default_factory=Counter)
    marked: list[RemovedPath] = field(default_factory=list)  # these have
    common: int = 0  # of them, those for marks of COMMON alone
    unsearched: int = 0  # files that were looked at for secrets by their names alone

    @property
    def whole(self) -> int:
        """Paths, those with rows too."""
        return self.paths + len(self.marked)

    def folded(self, directory: str, paths: int, size: int) -> None:
        """So much more is right in a directory."""
        for folder in _folders(directory):
            sums = self.folders.setdefault(folder, [0, 0])
            sums[0] += paths
            sums[1] += size

    def held(self, holders: Sequence[Package], files: int, size: int) -> None:
        """So much more is of these packages."""
        for package in holders:
            sums = self.packages.setdefault(package, [0, 0])
            sums[0] += files
            sums[1] += size

    def weighed(self, links: Links, size: int) -> None:
        """Of the files in `links` so many bytes were not counted before."""
        self.bytes += size
        self.folded(links.directory, 0, size)
        self.held(links.holders, 0, size)


def _folders(directory: str) -> list[str]:
    """The directories of the report that one is in, itself too."""
    parts = directory.split("/", FOLDER_DEPTH + 1)[: FOLDER_DEPTH + 1]
    return ["/".join(parts[:depth]) for depth in range(2, len(parts) + 1)]


class Trees:
    """Finds them on a walk: `enter` is what Root.walk asks. `fixed`: paths that stay, or that others tell."""

    def __init__(
        self, root: Root, index: PackageIndex, marker: Marker, fixed: Iterable[str], *, least: int | None = None
    ) -> None:
        self._root = root
        self._index = index
        self._marker = marker
        self._fixed = sorted(map(sort_key, fixed))
        self._least = least or (LEAST if index.listed() < MANY else FEW)
        self._found: dict[str, Below] = {}
        self.unsearched = 0  # files in trees that were looked at for secrets by their names alone
        self._small = "\0"  # a directory, with a slash, that was counted and is too small, as all in it are

    def enter(self, entry: Entry) -> bool:
        """Whether the walk is to tell what is in a directory. If not it is a tree: see `taken`."""
        path = entry.path
        if path.startswith(self._small) or not self._free(path):
            return True
        below = self._count(entry)
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
        """All that is below, each directory read once; None where too much of it has rows."""
        below, before = Below(), self._marker.unsearched
        waiting = [(top.path, top.identity[0])]
        while waiting:
            waiting += reversed(self._level(*waiting.pop(), below))
            if len(below.marked) > HELD:
                return None
        below.unsearched = self._marker.unsearched - before
        return below

    def _level(self, directory: str, device: int, below: Below) -> list[tuple[str, int]]:
        """Count what is right in a directory. Gives the directories in it, in order, with their devices."""
        # In order: what is looked into for secrets, as long as that may go on, must not depend on the filesystem's.
        found = sorted(self._root.statuses(directory, device), key=itemgetter(0))
        names = [name for name, status in found if status.st_mode & _KIND != _DIRECTORY]
        carriers = [name for name, status in found if _may_carry(name, status)]
        holders = self._index.holders(directory, names, carriers)
        marker, place = self._marker, self._marker.place(directory)
        prefix = place.prefix
        inside: list[tuple[str, int]] = []
        links: Links | None = None
        last: Sequence[Package] = ()  # who holds the files before, how many these are, and their bytes
        files = size = 0
        others = total = 0  # what is no directory, and its bytes
        for name, status in found:
            mode = status.st_mode
            kind = mode & _KIND
            if kind == _DIRECTORY:
                inside.append((prefix + name, status.st_dev))
                held: Sequence[Package] = ()
            else:
                held = holders.get(name, ())
            marks = marker.common(place, name, status, owned=bool(held))
            if marks is None:
                entry = entry_of(prefix + name, status)
                marks = marker.marks(entry, None, owned=bool(held), removed=True)
            if marks:
                common = all(mark.risk in COMMON for mark in marks)
                if not common or below.common < SHOWN:
                    below.common += common
                    entry = self._root.entry(prefix + name) or entry_of(prefix + name, status)
                    package = self._index.owner(entry.path) if kind == _DIRECTORY else held[0] if held else None
                    below.marked.append(RemovedPath(entry, package, marks, tuple(held[1:])))
                    continue
                below.risks.update(mark.risk for mark in marks)
            below.paths += 1
            if kind == _DIRECTORY:
                continue
            if held is not last:
                below.held(last, files, size)
                last, files, size = held, 0, 0
            files += 1
            others += 1
            if kind != _FILE:
                continue
            below.files += 1
            if ".so" in name and SHARED_OBJECT.search(name):
                below.shared_objects += 1
            elif mode & 0o111:
                below.executables += 1
            if status.st_nlink > 1:
                if links is None or links.holders is not held:
                    links = Links(directory, held, status.st_dev)
                    below.links.append(links)
                links.numbers.extend((status.st_ino, status.st_size))
            else:
                size += status.st_size
                total += status.st_size
        below.held(last, files, size)
        below.bytes += total
        if others:
            below.folded(directory, others, total)
        return inside


_KIND, _FILE, _DIRECTORY = 0o170000, stat.S_IFREG, stat.S_IFDIR


def _may_carry(name: str, status: os.stat_result) -> bool:
    """Whether a name says something of packages to a language: files without a dot do when they are large programs."""
    if "." in name or status.st_mode & _KIND != _FILE:
        return True
    return bool(status.st_mode & 0o111) and status.st_size >= PROGRAM


def told(
    rest: Iterable[Entry],
    trees: Trees,
    row_of: Callable[[Entry], RemovedPath],
    weigh: Callable[[Below], Tree],
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
            row = replace(row, tree=weigh(below))
            for each in below.marked:
                heapq.heappush(waiting, (sort_key(each.entry.path), each))
        yield row
    while waiting:
        yield heapq.heappop(waiting)[1]
