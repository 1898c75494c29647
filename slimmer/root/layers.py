"""Layers on top of each other: the tree that an image means.

Each layer is a list of records (`records`). A layer's whiteouts speak of the
layers below it only, wherever they stand in it (image-spec, layer.md), so they
are applied first; but the names on their way are as this layer leaves them: a directory that takes a link's place
has nothing of where the link led. The tree is in memory and holds no more than names and
numbers: a leaf is an int, the layer and the place of its record.

What is refused here is what only shows in the tree: hard links to nothing or to a
directory, entries below something that is no directory, symbolic links in a circle
on the way to an entry, a link and a directory taking each other's place within one layer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from slimmer.errors import SlimmerError
from slimmer.root.limits import Limits
from slimmer.root.model import MAX_LINKS
from slimmer.root.records import Kind, Record, read_all, unpack_at

_SHIFT = 44  # bits of a place that are the offset within its layer's records
_OFFSET = (1 << _SHIFT) - 1
IMPLIED = -1  # the record of a directory that no layer names
_DAMAGED = "the image is damaged or hostile"

# The devices that every runtime makes by itself (runtime-spec, config-linux.md, "Default Devices"), plus console.
USUAL_DEVICES = {
    b"dev/null": os.makedev(1, 3),
    b"dev/zero": os.makedev(1, 5),
    b"dev/full": os.makedev(1, 7),
    b"dev/random": os.makedev(1, 8),
    b"dev/urandom": os.makedev(1, 9),
    b"dev/tty": os.makedev(5, 0),
    b"dev/console": os.makedev(5, 1),
    b"dev/ptmx": os.makedev(5, 2),
}


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer as it is stored: its records and, for messages, its name."""

    where: str
    records: memoryview | bytes
    whiteouts: bool


class Directory:
    """A directory of the merged tree; `record` is a place or IMPLIED, `layer` the last layer that named it."""

    __slots__ = ("children", "layer", "record")

    def __init__(self, record: int, layer: int) -> None:
        self.record = record
        self.layer = layer
        self.children: dict[bytes, int | Directory] = {}


class Tree:
    """The merged tree. `linked` are the places that have, or once had, more than one name."""

    def __init__(self, layers: Sequence[Layer], limits: Limits) -> None:
        """Applies the layers, the lowest first. Raises SlimmerError."""
        self._layers = layers
        self._limits = limits
        self._known: dict[bytes, Directory] = {}
        self.root = Directory(IMPLIED, 0)
        self.linked: set[int] = set()
        self.devices = 0
        for number, layer in enumerate(layers):
            self._apply(number, layer)
        self._known.clear()

    def record(self, place: int) -> Record:
        """The record of a leaf or of a directory that has one."""
        return unpack_at(self._layers[place >> _SHIFT].records, place & _OFFSET)[0]

    @staticmethod
    def layer_of(place: int) -> int:
        return place >> _SHIFT

    def _kind(self, place: int) -> int:
        return self._layers[place >> _SHIFT].records[place & _OFFSET]

    def _apply(self, number: int, layer: Layer) -> None:
        if layer.whiteouts and number:
            ways = _ways(layer)
            for offset, record in read_all(layer.records):
                if record.kind == Kind.DIRECTORY and record.name in ways:
                    self._take_place(number, number << _SHIFT | offset, record)
            for _, record in read_all(layer.records):
                if record.kind >= Kind.WHITEOUT:
                    self._whiteout(number, record)
        base = number << _SHIFT
        for offset, record in read_all(layer.records):
            if record.kind < Kind.WHITEOUT:
                self._add(number, base | offset, record)

    def _take_place(self, number: int, place: int, record: Record) -> None:
        """A directory of this layer in the place of a link below it: it is there before the whiteouts.

        What stands below a file is nowhere; and the file stays for hard links that come before the directory.
        """
        parent, _, name = record.name.rpartition(b"/")
        holder = self._directory(parent, number, create=False)
        existing = None if holder is None else holder.children.get(name)
        if holder is not None and isinstance(existing, int) and self._kind(existing) == Kind.SYMLINK:
            holder.children[name] = Directory(place, number)
            self._known.clear()

    def _whiteout(self, number: int, record: Record) -> None:
        if record.kind == Kind.OPAQUE:
            found = self._directory(record.name, number, create=False)
            if found is not None:
                for name in [name for name, child in found.children.items() if not _is_of(child, number)]:
                    del found.children[name]
                self._known.clear()
            return
        parent, _, name = record.name.rpartition(b"/")
        holder = self._directory(parent, number, create=False)
        if holder is not None and name in holder.children and not _is_of(holder.children[name], number):
            del holder.children[name]
            self._known.clear()

    def _add(self, number: int, place: int, record: Record) -> None:
        if not record.name:
            self.root.record, self.root.layer = place, number
            return
        parent, _, name = record.name.rpartition(b"/")
        holder = self._directory(parent, number, create=True)
        assert holder is not None
        existing = holder.children.get(name)
        if record.kind == Kind.DIRECTORY:
            if isinstance(existing, Directory):
                existing.record, existing.layer = place, number
                return
            if existing is not None and existing >> _SHIFT == number and self._kind(existing) == Kind.SYMLINK:
                raise self._refuse(number, record.name, "is first a link and then a directory in one layer")
            fresh = Directory(place, number)
            holder.children[name] = fresh
        else:
            if isinstance(existing, Directory) and existing.layer == number and record.kind == Kind.SYMLINK:
                raise self._refuse(number, record.name, "is first a directory and then a link in one layer")
            if record.kind == Kind.HARDLINK:
                place = self._linked(number, record)
            elif record.kind in (Kind.CHAR, Kind.BLOCK):
                self._check_device(number, record)
            holder.children[name] = place
        if existing is not None:
            self._known.clear()

    def _linked(self, number: int, record: Record) -> int:
        """The place that a hard link means: the file itself, whichever layer it came with."""
        parent, _, name = record.target.rpartition(b"/")
        holder = self._directory(parent, number, create=False)
        found = None if holder is None else holder.children.get(name)
        if found is None:
            raise self._refuse(number, record.name, f"is a hard link to {_shown(record.target)}, which is not there")
        if isinstance(found, Directory):
            raise self._refuse(number, record.name, f"is a hard link to the directory {_shown(record.target)}")
        self.linked.add(found)
        return found

    def _check_device(self, number: int, record: Record) -> None:
        if record.kind == Kind.CHAR and USUAL_DEVICES.get(record.name) == record.device:
            return
        self.devices += 1
        if not self._limits.devices:
            device = f"{os.major(record.device)}:{os.minor(record.device)}"
            raise SlimmerError(
                f"{self._layers[number].where}: {_shown(record.name)} is a device node ({device})",
                "if the image is honest, take it along with --limit devices=yes; it is never made on this machine",
            )

    def _directory(self, path: bytes, number: int, *, create: bool) -> Directory | None:
        """The directory that a name's parent leads to, links followed inside the root, as containerd and umoci do."""
        known = self._known.get(path)
        if known is not None:
            return known
        stack = [self.root]
        pending = path.split(b"/")[::-1] if path else []
        hops = 0
        while pending:
            part = pending.pop()
            if part == b"..":
                if len(stack) > 1:
                    stack.pop()
                continue
            child = stack[-1].children.get(part)
            if child is None:
                if not create:
                    return None
                child = stack[-1].children[part] = Directory(IMPLIED, number)
            if isinstance(child, Directory):
                stack.append(child)
                continue
            if self._kind(child) != Kind.SYMLINK:
                if not create:
                    return None
                raise self._refuse(number, path, f"leads through {_shown(part)}, which is not a directory")
            hops += 1
            if hops > MAX_LINKS:
                raise self._refuse(number, path, "leads through symbolic links in a circle")
            target = self.record(child).target
            if target.startswith(b"/"):
                del stack[1:]
            pending += [piece for piece in reversed(target.split(b"/")) if piece not in (b"", b".")]
        self._known[path] = stack[-1]
        return stack[-1]

    def _refuse(self, number: int, name: bytes, problem: str) -> SlimmerError:
        return SlimmerError(f"{self._layers[number].where}: {_shown(name)} {problem}", _DAMAGED)

    def breadth_first(self) -> Iterator[tuple[bytes, Directory]]:
        """Every directory with its path (no slash in front; the root is ""), parents first."""
        level: list[tuple[bytes, Directory]] = [(b"", self.root)]
        while level:
            following: list[tuple[bytes, Directory]] = []
            for path, directory in level:
                yield path, directory
                prefix = path + b"/" if path else b""
                for name in sorted(directory.children):
                    child = directory.children[name]
                    if isinstance(child, Directory):
                        following.append((prefix + name, child))
            level = following

    def link_counts(self) -> dict[int, int]:
        """How many names each linked place has in the end."""
        counts = dict.fromkeys(self.linked, 0)
        if counts:
            for _, directory in self.breadth_first():
                for child in directory.children.values():
                    if isinstance(child, int) and child in counts:
                        counts[child] += 1
        return counts


def _ways(layer: Layer) -> set[bytes]:
    """The directories that a layer's whiteouts are named by."""
    found: set[bytes] = set()
    for _, record in read_all(layer.records):
        if record.kind >= Kind.WHITEOUT:
            parts = record.name.split(b"/")
            until = len(parts) + (record.kind == Kind.OPAQUE)
            found.update(b"/".join(parts[:at]) for at in range(1, until))
    return found


def _is_of(child: int | Directory, number: int) -> bool:
    """Whether it is a directory that this layer has put there already."""
    return isinstance(child, Directory) and child.layer == number


def _shown(name: bytes) -> str:
    return repr("/" + name.decode("utf-8", "surrogateescape"))
