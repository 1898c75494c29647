"""/etc/ld.so.cache: reads what any ldconfig wrote, and writes one for the libraries that are kept.

    new format                               old format, with the new one in its string table
    "glibc-ld.so.cache" "1.1"                "ld.so-1.7.0" nlibs
    nlibs len_strings flags … extension      entries: flags key value        (12 bytes each)
    entries: flags key value osversion hwcap padding
    strings                                  the new format, as at left
    extension directory: generator, hwcaps

All numbers are in the target's byte order. `key` and `value` are offsets of texts: from
the start of the new header, in a purely old file from the end of its entries.
Source: glibc sysdeps/generic/dl-cache.h, elf/dl-cache.c, elf/cache.c.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cmp_to_key

from slimmer.errors import SlimmerError
from slimmer.root.model import Root

PATH = "/etc/ld.so.cache"
OLD_MAGIC = b"ld.so-1.7.0"
NEW_MAGIC = b"glibc-ld.so.cache1.1"
EXTENSION_MAGIC = 0xFFFFFFFF & -358342284
HWCAP_EXTENSION = 1 << 62
ISA_LEVELS = 0x3FF << 32  # DL_CACHE_HWCAP_ISA_LEVEL_MASK
TLS_BIT = 1 << 63
HEADER, ENTRY, OLD_ENTRY, SECTION = 48, 24, 12, 16
OLD_HEADER = 16  # magic, a byte of alignment, nlibs
GENERATOR, HWCAPS = 0, 1  # cache_extension_tag
MAX_CACHE = 64 << 20  # bytes; a system with 100,000 libraries has 15 MB


class CacheError(SlimmerError):
    """A cache that a loader would not use."""


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One library: asked for by `name`, found at `path`, for loaders of these `flags`.

    `hwcap` is the legacy capability mask, or 0; `variant` the glibc-hwcaps subdirectory,
    or ""; `isa_level` x86's level of such an entry (an index of bits, as ldconfig writes it).
    """

    name: str
    path: str
    flags: int
    hwcap: int = 0
    variant: str = ""
    isa_level: int = 0


@dataclass(frozen=True, slots=True)
class Cache:
    """Entries in the order of the file, which is the order of search."""

    entries: tuple[CacheEntry, ...]
    little: bool | None  # None where the file does not say
    old: bool = False  # only the old format

    def find(self, name: str) -> tuple[CacheEntry, ...]:
        """All entries under a name, best first, by the very search that loaders do.

        Source: search_cache in elf/dl-cache.c: a binary search that relies on the
        order of the file, and compares digits as numbers.
        """
        left, right = 0, len(self.entries) - 1
        while left <= right:
            middle = (left + right) // 2
            order = compare(name, self.entries[middle].name)
            if order == 0:
                first = last = middle
                while first > 0 and compare(name, self.entries[first - 1].name) == 0:
                    first -= 1
                while last < right and compare(name, self.entries[last + 1].name) == 0:
                    last += 1
                return self.entries[first : last + 1]
            if order < 0:
                left = middle + 1
            else:
                right = middle - 1
        return ()


def compare(one: str, other: str) -> int:
    """_dl_cache_libcmp: digits as numbers, and before them everything else."""
    a, b = one.encode("utf-8", "surrogateescape") + b"\0", other.encode("utf-8", "surrogateescape") + b"\0"
    i = j = 0
    while a[i]:
        if 48 <= a[i] <= 57:
            if not 48 <= b[j] <= 57:
                return 1
            first = second = 0
            while 48 <= a[i] <= 57:
                first, i = (first * 10 + a[i] - 48) & 0xFFFFFFFF, i + 1
            while 48 <= b[j] <= 57:
                second, j = (second * 10 + b[j] - 48) & 0xFFFFFFFF, j + 1
            if first != second:
                return first - second
        elif 48 <= b[j] <= 57:
            return -1
        elif a[i] != b[j]:
            return _signed(a[i]) - _signed(b[j])
        else:
            i, j = i + 1, j + 1
    return _signed(a[i]) - _signed(b[j])


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def read(data: bytes, *, little: bool = True) -> Cache:
    """Parse a cache file. `little` is the reading loader's byte order, for files that do not say theirs.

    Raises CacheError where that loader would ignore the file.
    """
    if data[: len(NEW_MAGIC)] == NEW_MAGIC:
        return _read_new(data, 0, little)
    if data[: len(OLD_MAGIC)] != OLD_MAGIC:
        raise CacheError("not a loader cache: neither magic is at its start")
    return _read_old(data, little)


def _read_old(data: bytes, little: bool) -> Cache:
    order = "<" if little else ">"
    if len(data) <= OLD_HEADER:
        raise CacheError("a loader cache that is cut off in its header")
    (count,) = struct.unpack_from(order + "I", data, 12)
    end = OLD_HEADER + count * OLD_ENTRY
    if end > len(data):
        raise CacheError(f"a loader cache that claims {count} entries and has no room for them")
    inner = -(-end // 8) * 8  # ALIGN_CACHE; 4 on a 32-bit ABI whose 64-bit numbers align so
    for start in (inner, -(-end // 4) * 4):
        if data[start : start + len(NEW_MAGIC)] == NEW_MAGIC and len(data) >= start + HEADER:
            return _read_new(data, start, little)
    entries = []
    for number in range(count):
        flags, key, value = struct.unpack_from(order + "iII", data, OLD_HEADER + number * OLD_ENTRY)
        if end + key < len(data) and end + value < len(data):
            entries.append(CacheEntry(_text(data, end + key), _text(data, end + value), flags))
    return Cache(tuple(entries), None, old=True)


def _read_new(data: bytes, start: int, little: bool) -> Cache:
    if len(data) <= start + HEADER:
        raise CacheError("a loader cache that is cut off in its header")
    said = data[start + 28] & 3
    if data[start + 28] and said != (2 if little else 3):
        raise CacheError("a loader cache of the other byte order")
    order = "<" if little else ">"
    count, _, extension = struct.unpack_from(order + "II4xI", data, start + 20)
    if count * ENTRY > len(data) - start - HEADER:
        raise CacheError(f"a loader cache that claims {count} entries and has no room for them")
    variants = _variants(data, start, extension, order)
    entries = []
    for number in range(count):
        flags, key, value, _, hwcap = struct.unpack_from(order + "iIIIQ", data, start + HEADER + number * ENTRY)
        if start + key >= len(data) or start + value >= len(data):
            continue
        variant, level = "", 0
        if hwcap & ~ISA_LEVELS & ~0xFFFFFFFF == HWCAP_EXTENSION:
            index = hwcap & 0xFFFFFFFF
            variant = variants[index] if index < len(variants) else "?"  # "?": no loader takes it
            level, hwcap = (hwcap & ISA_LEVELS) >> 32, 0
        entries.append(CacheEntry(_text(data, start + key), _text(data, start + value), flags, hwcap, variant, level))
    return Cache(tuple(entries), little if data[start + 28] else None)


def _variants(data: bytes, start: int, extension: int, order: str) -> list[str]:
    """Names of the glibc-hwcaps section; its offsets count from the start of the file."""
    if not extension or extension % 4 or extension + 8 > len(data):
        return []
    magic, count = struct.unpack_from(order + "II", data, extension)
    if magic != EXTENSION_MAGIC or extension + 8 + count * SECTION > len(data):
        return []
    for number in range(count):
        tag, _, place, size = struct.unpack_from(order + "IIII", data, extension + 8 + number * SECTION)
        if place + size > len(data):
            return []
        if tag == HWCAPS and not size % 4:
            keys = struct.unpack_from(f"{order}{size // 4}I", data, place)
            return [_text(data, start + key) if start + key < len(data) else "?" for key in keys]
    return []


def _text(data: bytes, start: int) -> str:
    end = data.find(0, start, start + 65536)
    return data[start : end if end >= 0 else start + 65536].decode("utf-8", "surrogateescape")


def write(entries: Iterable[CacheEntry], *, little: bool = True, generator: str = "slimmer") -> bytes:
    """A cache file of the new format. The same entries in any order give the same bytes.

    glibc 2.2 and later read it; entries with a variant need 2.33, earlier loaders skip them.
    """
    order = "<" if little else ">"
    placed = _sorted(entries)
    variants = sorted({each.variant for each in placed if each.variant}, key=_raw)
    place: dict[str, int] = {}
    strings = bytearray()
    start = HEADER + len(placed) * ENTRY
    for text in (*variants, *(text for each in placed for text in (each.name, each.path))):
        if text not in place:
            place[text] = start + len(strings)
            strings += _raw(text) + b"\0"
    extension = -(-(start + len(strings)) // 4) * 4
    out = bytearray(
        struct.pack(order + "20sIIB3xI12x", NEW_MAGIC, len(placed), len(strings), 2 if little else 3, extension)
    )
    for each in placed:
        hwcap = each.hwcap
        if each.variant:
            hwcap = HWCAP_EXTENSION | each.isa_level << 32 | variants.index(each.variant)
        out += struct.pack(order + "iIIIQ", each.flags, place[each.name], place[each.path], 0, hwcap)
    out += strings
    out += bytes(extension - len(out))
    sections: list[tuple[int, bytes]] = [(GENERATOR, _raw(generator))]
    if variants:
        sections.insert(0, (HWCAPS, struct.pack(f"{order}{len(variants)}I", *(place[each] for each in variants))))
    out += struct.pack(order + "II", EXTENSION_MAGIC, len(sections))
    offset = len(out) + len(sections) * SECTION
    for tag, content in sections:
        out += struct.pack(order + "IIII", tag, 0, offset, len(content))
        offset += len(content)
    for _, content in sections:
        out += content
    return bytes(out)


def _sorted(entries: Iterable[CacheEntry]) -> Sequence[CacheEntry]:
    """As ldconfig does: descending by name, flags, then variants before the rest. Source: compare in elf/cache.c."""

    def order(one: CacheEntry, other: CacheEntry) -> int:
        by_name = compare(other.name, one.name)
        if by_name:
            return by_name
        if one.flags != other.flags:
            return -1 if one.flags > other.flags else 1
        if bool(one.variant) != bool(other.variant):
            return -1 if one.variant else 1
        if one.variant != other.variant:
            return -1 if _raw(one.variant) < _raw(other.variant) else 1
        if one.hwcap != other.hwcap:
            return -1 if one.hwcap > other.hwcap else 1
        mine, theirs = (_raw(one.name), _raw(one.path)), (_raw(other.name), _raw(other.path))
        return (mine > theirs) - (mine < theirs)

    unique: dict[tuple[str, int, int, str], CacheEntry] = {}
    for each in sorted(entries, key=cmp_to_key(order)):
        unique.setdefault((each.name, each.flags, each.hwcap, each.variant), each)
    return list(unique.values())


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def fresh(root: Root, kept_paths: Collection[str]) -> bytes | None:
    """The cache for an image that holds only these canonical paths; None when the root has none that a loader reads.

    What stays of the root's own cache is what still leads somewhere, links included, so
    every loader of the image finds what it found before, variants and foreign
    architectures alike. Nothing is added: a name that was not in the cache was found elsewhere.
    """
    try:
        data = root.read(PATH, MAX_CACHE)
    except SlimmerError:
        return None
    little = _order(data)
    try:
        cache = read(data, little=little)
    except CacheError:
        return None
    kept = kept_paths if isinstance(kept_paths, (set, frozenset)) else frozenset(kept_paths)
    entries = []
    for each in cache.entries:
        where = root.resolve(each.path)
        if where.entry is not None and where.path in kept and all(link in kept for link in where.links):
            entries.append(each)
    return write(entries, little=little)


def _order(data: bytes) -> bool:
    """Whether a cache is little endian: by its flags, else by the number of entries that fits."""
    at = data.find(NEW_MAGIC)
    if at >= 0 and len(data) > at + 28 and data[at + 28] & 3 in (2, 3):
        return data[at + 28] & 3 == 2
    place = at + 20 if at >= 0 else 12
    return int.from_bytes(data[place : place + 4], "little") <= int.from_bytes(data[place : place + 4], "big")
