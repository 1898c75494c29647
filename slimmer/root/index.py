"""The index of an unpacked image: every entry as its tar header says, found without reading it all.

    index   = magic, count u32, then `count` records of 76 bytes, little-endian (see `_RECORD`)
    strings = for each record its name, link target and packed xattrs, one after the other

Record 0 is the root; the children of a directory stand together, sorted as
bytes, so a lookup is a binary search in a mapped file and an image of any size
opens at once. The text of records is shared by all users of the file.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from slimmer.errors import SlimmerError
from slimmer.root.layers import IMPLIED, Directory, Tree
from slimmer.root.model import Entry, FileType
from slimmer.root.records import SECOND, Kind, unpack_xattrs

_MAGIC = b"slimmer.index/1\n"
_HEAD = struct.Struct("<16sI")
_RECORD = struct.Struct("<BxHIIQqIQQHHIQIII")
_TYPES = tuple(FileType)
_TYPE_NUMBER = {
    Kind.FILE: _TYPES.index(FileType.FILE),
    Kind.SYMLINK: _TYPES.index(FileType.SYMLINK),
    Kind.CHAR: _TYPES.index(FileType.CHAR),
    Kind.BLOCK: _TYPES.index(FileType.BLOCK),
    Kind.DIRECTORY: _TYPES.index(FileType.DIRECTORY),
    Kind.FIFO: _TYPES.index(FileType.FIFO),
}
_DIRECTORY = _TYPES.index(FileType.DIRECTORY)
ENTRIES_KEPT = 1 << 13  # half a kilobyte each
_IMPLIED_MODE = 0o755  # of a directory that no layer names: root's, from the epoch


def write_index(tree: Tree, directory: Path) -> int:
    """Writes `index` and `strings`; gives the number of entries."""
    counts = tree.link_counts()
    with open(directory / "index", "xb", buffering=1 << 18) as index, open(directory / "strings", "xb", 1 << 18) as out:
        index.write(_HEAD.pack(_MAGIC, 0))
        writer = _Writer(tree, index, out)
        writer.put(b"", tree.root, 1)
        for _, holder in tree.breadth_first():
            for name in sorted(holder.children):
                child = holder.children[name]
                writer.put(name, child, counts.get(child, 1) if isinstance(child, int) else 1)
        index.seek(0)
        index.write(_HEAD.pack(_MAGIC, writer.count))
    return writer.count


class _Writer:
    def __init__(self, tree: Tree, index: BinaryIO, strings: BinaryIO) -> None:
        self._tree = tree
        self._index = index
        self._strings = strings
        self._at = 0
        self._promised = 1  # records that directories written so far have claimed for their children
        self.count = 0

    def put(self, name: bytes, node: int | Directory, links: int) -> None:
        place = node if isinstance(node, int) else node.record
        first = children = 0
        if isinstance(node, Directory):
            first, children = self._promised, len(node.children)
            self._promised += children
        if place == IMPLIED:
            fields = (_DIRECTORY, _IMPLIED_MODE, 0, 0, 0, 0, 0, 0)
            target = xattrs = b""
        else:
            record = self._tree.record(place)
            kind = _TYPE_NUMBER[Kind(record.kind)]
            times = divmod(record.mtime_ns, SECOND)
            fields = (kind, record.mode, record.uid, record.gid, record.size, *times, record.device)
            target, xattrs = record.target, record.xattrs
        identity = place if isinstance(node, int) else self.count
        # A directory's identity is its own number, marked so that no file's place is equal to it.
        if not isinstance(node, int):
            identity |= 1 << 63
        lengths = (len(name), len(target), len(xattrs))
        self._index.write(_RECORD.pack(*fields, self._at, *lengths, identity, links, first, children))
        self._strings.write(name + target + xattrs)
        self._at += sum(lengths)
        self.count += 1


class Index:
    """A mapped index. Paths are canonical, as in `Root`."""

    def __init__(self, directory: Path) -> None:
        self._records = _mapped(directory / "index")
        self._strings = _mapped(directory / "strings")
        magic, count = _HEAD.unpack_from(self._records) if len(self._records) >= _HEAD.size else (b"", 0)
        self.count: int = count
        if magic != _MAGIC or len(self._records) != _HEAD.size + count * _RECORD.size:
            raise SlimmerError(f"{directory} in the cache is damaged", "remove it with: slim cache prune --all")
        self._directories: dict[str, tuple[int, int] | None] = {"/": self._span(0)}
        self._entries: dict[str, Entry | None] = {}

    def entry(self, path: str) -> Entry | None:
        try:
            return self._entries[path]
        except KeyError:
            number = self._find(path)
            found = None if number is None else self._entry(number, path)
            if len(self._entries) > ENTRIES_KEPT:  # memory stays flat on a walk of millions
                self._entries.clear()
            self._entries[path] = found
            return found

    def children(self, path: str) -> Sequence[str]:
        span = self._directory(path)
        if span is None:
            return ()
        return [os.fsdecode(self._name(number)) for number in range(*span)]

    def xattrs(self, path: str) -> Mapping[str, bytes]:
        number = self._find(path)
        if number is None:
            return {}
        fields = self._fields(number)
        start = fields[8] + fields[9] + fields[10]
        return unpack_xattrs(self._strings[start : start + fields[11]])

    def _fields(self, number: int) -> tuple[int, ...]:
        return _RECORD.unpack_from(self._records, _HEAD.size + number * _RECORD.size)

    def _name(self, number: int) -> bytes:
        fields = self._fields(number)
        return self._strings[fields[8] : fields[8] + fields[9]]

    def _span(self, number: int) -> tuple[int, int] | None:
        fields = self._fields(number)
        return (fields[14], fields[14] + fields[15]) if fields[0] == _DIRECTORY else None

    def _directory(self, path: str) -> tuple[int, int] | None:
        """The numbers of a directory's children."""
        try:
            return self._directories[path]
        except KeyError:
            above, missing = path, [""]
            while (above := above.rpartition("/")[0]) and above not in self._directories:
                missing.append(above)
            for each in reversed(missing[1:]):  # one by one, however many there are
                if self._directory(each) is None:
                    return None
            number = self._find(path)
            found = None if number is None else self._span(number)
            if len(self._directories) > 50_000:
                self._directories = {"/": self._span(0)}
            self._directories[path] = found
            return found

    def _find(self, path: str) -> int | None:
        if path == "/":
            return 0
        parent, _, name = path.rpartition("/")
        span = self._directory(parent or "/")
        if span is None:
            return None
        wanted = name.encode("utf-8", "surrogateescape")
        low, high = span
        while low < high:
            middle = (low + high) // 2
            if self._name(middle) < wanted:
                low = middle + 1
            else:
                high = middle
        return low if low < span[1] and self._name(low) == wanted else None

    def _entry(self, number: int, path: str) -> Entry:
        fields = self._fields(number)
        kind, mode, uid, gid, size, seconds, rest, device, at, names, targets = fields[:11]
        identity, links = fields[12:14]
        start = at + names
        return Entry(
            path=path,
            type=_TYPES[kind],
            mode=mode,
            uid=uid,
            gid=gid,
            size=size,
            mtime_ns=seconds * SECOND + rest,
            target=os.fsdecode(self._strings[start : start + targets]) if targets else "",
            device=device,
            identity=(1, identity),
            links=links,
        )


def _mapped(path: Path) -> mmap.mmap | bytes:
    try:
        with open(path, "rb") as stream:
            if not os.fstat(stream.fileno()).st_size:
                return b""
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise SlimmerError(f"cannot read {path}: {error.strerror}", "remove it with: slim cache prune --all") from error
