"""Dynamic symbols and symbol versions of an ELF file, read on demand and within bounds.

Source: System V gABI chapter 5, Solaris/GNU symbol versioning (LSB 5.0, 10.7).
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from slimmer.elf.file import Elf, ElfError, Reader, Tag
from slimmer.root.model import Entry, Root

MAX_SYMBOLS = 1 << 22
MAX_RECORDS = 1 << 16  # version records of one file


@dataclass(frozen=True, slots=True)
class Required:
    """A version of a library that a file was linked against. A weak one may be absent."""

    library: str
    version: str
    weak: bool


@dataclass(frozen=True, slots=True)
class Versions:
    """What a file requires, and what it defines; `defined` is None when it has no version definitions."""

    required: tuple[Required, ...]
    defined: frozenset[str] | None


# Functions of C libraries that start programs; the first hand a line to a shell.
SHELLS = frozenset({"system", "popen", "wordexp"})
STARTS = SHELLS | frozenset(
    "execl execlp execle execv execvp execvpe execve fexecve posix_spawn posix_spawnp".split()  # noqa: SIM905
)


def imports(root: Root, entry: Entry, file: Elf) -> frozenset[str]:
    """Names of undefined dynamic symbols. Raises ElfError."""
    return frozenset(name for name, defined in _symbols(root, entry, file) if not defined)


def defines(root: Root, entry: Entry, file: Elf, names: Collection[str]) -> bool:
    """Whether all of these are defined dynamic symbols. Unsound tables define nothing."""
    try:
        left = set(names)
        for name, defined in _symbols(root, entry, file):
            if defined:
                left.discard(name)
                if not left:
                    return True
    except ElfError:
        return False
    return False


def _symbols(root: Root, entry: Entry, file: Elf) -> Iterator[tuple[str, bool]]:
    table, texts = file.number(Tag.SYMTAB), file.number(Tag.STRTAB)
    if table is None or texts is None:
        return
    at, words = file.offset(table), file.offset(texts)
    if at is None or words is None:
        return
    order = "<" if file.little else ">"
    form = struct.Struct(order + ("IBBHQQ" if file.bits == 64 else "IIIBBH"))
    section = 3 if file.bits == 64 else 5
    with root.open(entry.path) as stream:
        reader = Reader(stream, entry.path)
        size = file.number(Tag.STRSZ) or 0
        strings = reader.take(words, min(size, reader.length - words), "text table")
        count = _count(reader, file, order)
        if count is None:  # no hash table says it: up to the next table, which every linker puts right behind
            others = (file.number(tag) for tag in (Tag.STRTAB, Tag.HASH, Tag.GNU_HASH, Tag.VERSYM, Tag.VERNEED))
            count = (
                min((each for each in others if each is not None and each > table), default=table) - table
            ) // form.size
        count = min(count, MAX_SYMBOLS, (reader.length - at) // form.size)
        for values in form.iter_unpack(reader.take(at, max(count, 0) * form.size, "symbol table")):
            start = values[0]
            if start and start < len(strings):
                name = strings[start : strings.find(b"\0", start)]
                yield name.decode("utf-8", "surrogateescape"), values[section] != 0


def _count(reader: Reader, file: Elf, order: str) -> int | None:
    """How many symbols there are, by the hash tables: the only place that says so without section headers."""
    address = file.number(Tag.HASH)
    at = file.offset(address) if address is not None else None
    if at is not None:
        # s390x and alpha have 64-bit words here, sysdeps/s390/bits/elfclass.h
        wide = file.bits == 64 and file.machine in (22, 0x9026)
        data = reader.take(at, 16 if wide else 8, "hash table")
        return int(struct.unpack(order + ("QQ" if wide else "II"), data)[1])
    address = file.number(Tag.GNU_HASH)
    at = file.offset(address) if address is not None else None
    if at is None:
        return None
    buckets, first, words, _ = struct.unpack(order + "IIII", reader.take(at, 16, "hash table"))
    start = at + 16 + words * file.bits // 8
    if buckets > MAX_SYMBOLS:
        raise ElfError(reader.name, at, "hash table", f"claims {buckets} buckets")
    highest = max(struct.unpack(f"{order}{buckets}I", reader.take(start, 4 * buckets, "hash table")), default=0)
    if highest < first:
        return None  # nothing is defined, and then `first` says nothing about what is not
    place = start + 4 * buckets + 4 * (highest - first)
    while highest < MAX_SYMBOLS:
        (value,) = struct.unpack(order + "I", reader.take(place, 4, "hash table"))
        highest, place = highest + 1, place + 4
        if value & 1:
            break
    return int(highest)


def versions(root: Root, entry: Entry, file: Elf) -> Versions:
    """Required and defined symbol versions. Raises ElfError."""
    needs, gives = file.number(Tag.VERNEED), file.number(Tag.VERDEF)
    texts = file.number(Tag.STRTAB)
    words = file.offset(texts) if texts is not None else None
    if words is None or (needs is None and gives is None):
        return Versions((), None)
    order = "<" if file.little else ">"
    required: list[Required] = []
    defined: set[str] = set()
    with root.open(entry.path) as stream:
        reader = Reader(stream, entry.path)
        budget = MAX_RECORDS
        at = file.offset(needs) if needs is not None else None
        while at is not None:
            _, _, library, aux, following = struct.unpack(order + "HHIII", reader.take(at, 16, "version needs"))
            place = at + aux
            while True:
                budget -= 1
                if budget < 0:
                    raise ElfError(reader.name, place, "version needs", "never end")
                _, flags, _, name, after = struct.unpack(order + "IHHII", reader.take(place, 16, "version needs"))
                required.append(
                    Required(
                        reader.text(words + library, "version's library"),
                        reader.text(words + name, "version"),
                        bool(flags & 2),  # VER_FLG_WEAK
                    )
                )
                if not after:
                    break
                place += after
            at = at + following if following else None
        at = file.offset(gives) if gives is not None else None
        while at is not None:
            budget -= 1
            if budget < 0:
                raise ElfError(reader.name, at, "version definitions", "never end")
            _, _, _, _, _, aux, following = struct.unpack(order + "HHHHIII", reader.take(at, 20, "version definitions"))
            name, _ = struct.unpack(order + "II", reader.take(at + aux, 8, "version definitions"))
            defined.add(reader.text(words + name, "version"))
            at = at + following if following else None
    return Versions(tuple(required), frozenset(defined) if gives is not None else None)
