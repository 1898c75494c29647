"""A root that notes what it was asked, so that the answers to all of it can be known again after a file has changed.

What was worked out of a root holds as long as each answer is the same. Of a file's content that may be less than all
of it: its first bytes, or what a pure reader said of it. Of its size it may be no more than "less than a megabyte".
Everything else (which paths there are, types, modes, owners, targets of links) is the state's affair: see
`root.state.changed`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Concatenate, ParamSpec, TypeVar

from slimmer.errors import SlimmerError
from slimmer.facts import plain
from slimmer.facts.remember import in_use, reader_called
from slimmer.root.directory import DirectoryRoot
from slimmer.root.model import Enter, Entry, FileType, Root

_P = ParamSpec("_P")
_R = TypeVar("_R")

LARGEST = 1 << 62
BEGINNING = 1 << 16  # bytes; what is longer is compared as a whole, by never being taken for the same
ENTRIES_KEPT = 1 << 13


class _Notes:
    """What was asked of one file."""

    __slots__ = ("beginnings", "highest", "lowest", "said", "size", "whole")

    def __init__(self, size: int = 0) -> None:
        self.size = size
        self.lowest, self.highest = 0, LARGEST  # sizes of which the same would have been said
        self.beginnings: dict[int, str] = {}  # limit → digest of what was read
        self.said: dict[tuple[str, int, str], str] = {}  # reader, limit, arguments → digest of what it said
        self.whole = False  # all of it counts, and its times and attributes too

    @property
    def tell(self) -> bool:
        """Whether anything was asked."""
        return bool(self.whole or self.beginnings or self.said or self.lowest or self.highest < LARGEST)

    def row(self) -> list[object]:
        """As JSON has it."""
        said = [[*key, digest] for key, digest in self.said.items()]
        return [self.whole, self.lowest, self.highest, list(self.beginnings.items()), said]

    def joined(self, other: _Notes) -> _Notes:
        """What was asked by either. Of two digests of one thing that are not the same the file changed in between."""
        both = _Notes(self.size)
        both.lowest, both.highest = max(self.lowest, other.lowest), min(self.highest, other.highest)
        both.beginnings = {**self.beginnings, **other.beginnings}
        both.said = {**self.said, **other.said}
        both.whole = self.whole or other.whole
        return both


class Measured(int):
    """A file's size, or the sum of several, that notes what was made of it: compared with a limit, or used otherwise.

    As part of an Entry it may be hashed and compared with itself; that tells nothing.
    """

    _parts: tuple[_Notes, ...]

    @classmethod
    def of(cls, size: int, parts: tuple[_Notes, ...]) -> Measured:
        """A size of the files with these notes."""
        made = cls(size)
        made._parts = parts
        return made

    def plain(self) -> int:
        """The number, without a note."""
        return int.__index__(self)

    @property
    def parts(self) -> tuple[_Notes, ...]:
        """The notes of the files whose size it is."""
        return self._parts

    def _exactly(self) -> None:
        for each in self._parts:
            each.lowest = each.highest = each.size

    def _between(self, lowest: int, highest: int) -> None:
        """The same would be said of all sizes from `lowest` to `highest`: each file has an equal share of the rest."""
        size, count = int.__index__(self), len(self._parts)
        for each in self._parts:
            if lowest > 0:
                each.lowest = max(each.lowest, each.size - (size - lowest) // count)
            if highest < LARGEST:
                each.highest = min(each.highest, each.size + (highest - size) // count)

    def __bool__(self) -> bool:
        return self > 0

    def __gt__(self, other: int) -> bool:
        answer = int.__gt__(self, other)
        if type(other) is not int:
            self._exactly()
        elif answer:
            self._between(other + 1, LARGEST)
        else:
            self._between(0, other)
        return answer

    def __ge__(self, other: int) -> bool:
        return self > other - 1 if type(other) is int else not self < other

    def __lt__(self, other: int) -> bool:
        if type(other) is int:
            return not self > other - 1
        self._exactly()
        return int.__lt__(self, other)

    def __le__(self, other: int) -> bool:
        return not self > other

    def __eq__(self, other: object) -> bool:
        answer = int.__eq__(self, other)
        if type(other) is int and not other and not answer:
            self._between(1, LARGEST)
        elif not isinstance(other, Measured) or other._parts != self._parts:
            self._exactly()
        return answer

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = int.__hash__


def _noted(name: str) -> Callable[..., Any]:
    of_int = getattr(int, name)

    def operation(self: Measured, *others: Any) -> Any:
        self._exactly()
        return of_int(self, *others)

    return operation


for _name in (
    *("add", "sub", "mul", "floordiv", "mod", "divmod", "pow", "lshift", "rshift", "and", "or", "xor", "truediv"),
    *("radd", "rsub", "rmul", "rfloordiv", "rmod", "rdivmod", "rpow", "rlshift", "rrshift", "rand", "ror", "rxor"),
    *("rtruediv", "neg", "pos", "abs", "invert", "int", "float", "index", "round", "trunc", "floor", "ceil"),
    *("str", "repr", "format"),
):
    setattr(Measured, f"__{_name}__", _noted(f"__{_name}__"))


def total(sizes: Iterable[int]) -> int:
    """The sum of sizes, which notes of each of them what is made of the sum."""
    sizes = list(sizes)
    parts = [part for each in sizes if isinstance(each, Measured) for part in each.parts]
    bare = sum(each.plain() if isinstance(each, Measured) else each for each in sizes)
    return Measured.of(bare, tuple(parts)) if parts else bare


class NotingRoot(Root):
    """A root as it is, for one that may ask it anything; `notes` is what it was asked of files until now."""

    def __init__(self, base: Root) -> None:
        self._base = base
        self._notes: dict[str, _Notes] = {}
        self._entries: dict[str, Entry | None] = {}

    def notes(self, others: NotingRoot | None = None) -> bytes:
        """For `holds`; with what another one of the same root was asked."""
        rows = {path: each.row() for path, each in self._notes.items() if each.tell}
        for path, each in others._notes.items() if others is not None else ():
            if each.tell:
                rows[path] = each.row() if path not in rows else each.joined(self._notes[path]).row()
        return json.dumps(rows, separators=(",", ":")).encode()

    @property
    def name(self) -> str:
        return self._base.name

    def entry(self, path: str) -> Entry | None:
        try:
            return self._entries[path]
        except KeyError:
            found = self._base.entry(path)
            if len(self._entries) >= ENTRIES_KEPT:
                self._entries.clear()
            noting = self._entries[path] = None if found is None else self._measured(found)
            return noting

    def children(self, path: str) -> Sequence[str]:
        return self._base.children(path)

    def open(self, path: str) -> BinaryIO:
        self._of(path).whole = True
        return self._base.open(path)

    def xattrs(self, path: str) -> Mapping[str, bytes]:
        self._of(path).whole = True
        return self._base.xattrs(path)

    def read(self, path: str, limit: int = -1) -> bytes:
        place = self._base.resolve(path).path
        try:
            data = self._base.read(path, limit)
        except SlimmerError:
            self._of(place).whole = True
            raise
        self._note(place, limit, data)
        return data

    def beginning(self, entry: Entry, limit: int) -> bytes:
        data = self._begun(entry, limit)
        self._note(entry.path, limit, data)
        return data

    def said(
        self,
        entry: Entry,
        limit: int,
        reader: Callable[Concatenate[bytes, _P], _R],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _R:
        notes = self._of(entry.path)
        before, notes.whole = notes.whole, True  # unless it says something that can be compared
        answer = reader(self._begun(entry, limit), *args, **kwargs)
        try:
            digest = _sum(plain.dump(answer))
            name = f"{reader.__module__}:{reader.__qualname__}"
            notes.said[name, limit, json.dumps([args, kwargs], sort_keys=True)] = digest
            notes.whole = before
        except (plain.Unfit, TypeError, ValueError):
            pass
        return answer

    def _below(self, top: str, enter: Enter = None) -> Iterator[Entry]:
        return (self._measured(each) for each in self._base._below(top, enter))

    def _of(self, path: str) -> _Notes:
        notes = self._notes.get(path)
        if notes is None:
            notes = self._notes[path] = _Notes()
        return notes

    def _begun(self, entry: Entry, limit: int) -> bytes:
        """Raises SlimmerError, after which all of the file counts."""
        try:
            return self._base.beginning(_unmeasured(entry), limit)
        except (SlimmerError, OSError):
            self._of(entry.path).whole = True
            raise

    def _note(self, path: str, limit: int, data: bytes) -> None:
        notes = self._of(path)
        if len(data) > BEGINNING:
            notes.whole = True
        elif limit not in notes.beginnings:
            notes.beginnings[limit] = _sum(data)

    def _measured(self, entry: Entry) -> Entry:
        if entry.type is not FileType.FILE:
            return entry
        notes = self._of(entry.path)
        notes.size = entry.size
        return _with_size(entry, Measured.of(entry.size, (notes,)))


def noting(root: Root) -> Root:
    """A root that notes what it is asked, where that is of use to somebody later."""
    return NotingRoot(root) if in_use() and type(root) is DirectoryRoot else root


def holds(notes: bytes, changed: Iterable[str], root: Root) -> bool:
    """Whether a root still answers as one did that took these notes, of which these paths have changed since.

    Raises ValueError, TypeError, LookupError or AttributeError for what are no such notes.
    """
    known = json.loads(notes)
    if not isinstance(known, dict):
        raise TypeError("no notes")
    for path in changed:
        entry = root.entry(path)
        if entry is None:
            return False
        if path in known and not _same(known[path], entry, root):
            return False
    return True


def _same(row: Any, entry: Entry, root: Root) -> bool:
    whole, lowest, highest, beginnings, said = row
    if whole is not False or entry.type is not FileType.FILE or not lowest <= entry.size <= highest:
        return False
    try:
        for limit, digest in beginnings:
            if _sum(root.beginning(entry, limit) if limit >= 0 else root.read(entry.path)) != digest:
                return False
        for name, limit, arguments, digest in said:
            reader = reader_called(name)
            args, kwargs = json.loads(arguments)
            if reader is None or _sum(plain.dump(reader(root.beginning(entry, limit), *args, **kwargs))) != digest:
                return False
    except SlimmerError:
        return False
    return True


def _sum(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _with_size(entry: Entry, size: int) -> Entry:
    """In a third of the time of dataclasses.replace."""
    return Entry(
        entry.path,
        entry.type,
        entry.mode,
        entry.uid,
        entry.gid,
        size,
        entry.mtime_ns,
        entry.target,
        entry.device,
        entry.identity,
        entry.links,
    )


def _unmeasured(entry: Entry) -> Entry:
    return _with_size(entry, entry.size.plain()) if isinstance(entry.size, Measured) else entry
