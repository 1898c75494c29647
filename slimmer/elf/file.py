"""One ELF file as its loader sees it: program headers and dynamic section, straight from bytes.

    identification ── e_phoff ──► program headers ── PT_INTERP ──► interpreter
                                        │
                                        └── PT_DYNAMIC ──► tags ── DT_STRTAB (by PT_LOAD) ──► names

Section headers are never looked at: no loader does, and stripped files have none.
Every length that the file claims is checked against what is there, so a lying or
hostile file costs bounded time and memory and ends in an `ElfError`.
Source: System V gABI chapter 5, glibc elf/get-dynamic-info.h.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from slimmer.errors import SlimmerError

MAGIC = b"\x7fELF"
HEAD = 4096  # bytes read at once: headers, program headers and the interpreter of nearly every file
MAX_TAGS = 1 << 16  # entries of a dynamic section
MAX_TEXT = 1 << 16  # bytes of one name or search path
MAX_INTERPRETER = 4096  # PATH_MAX, fs/binfmt_elf.c
SPAN = 1 << 16  # names that lie within this many bytes are read at once


class ElfError(SlimmerError):
    """A file that is no sound ELF file: which field, at which offset, and why."""

    def __init__(self, name: str, offset: int, field: str, reason: str) -> None:
        super().__init__(f"{name} is not a sound ELF file: {field} at offset {offset:#x} {reason}")
        self.name = name
        self.offset = offset
        self.field = field
        self.reason = reason


class Tag(enum.IntEnum):
    """Dynamic tags that decide what is loaded."""

    NULL = 0
    NEEDED = 1
    HASH = 4
    STRTAB = 5
    SYMTAB = 6
    STRSZ = 10
    SONAME = 14
    RPATH = 15
    RUNPATH = 29
    GNU_HASH = 0x6FFFFEF5
    DEPAUDIT = 0x6FFFFEFB
    AUDIT = 0x6FFFFEFC
    VERSYM = 0x6FFFFFF0
    FLAGS_1 = 0x6FFFFFFB
    VERDEF = 0x6FFFFFFC
    VERDEFNUM = 0x6FFFFFFD
    VERNEED = 0x6FFFFFFE
    VERNEEDNUM = 0x6FFFFFFF
    AUXILIARY = 0x7FFFFFFD
    FILTER = 0x7FFFFFFF


_TEXTS = frozenset({Tag.NEEDED, Tag.SONAME, Tag.RPATH, Tag.RUNPATH, Tag.DEPAUDIT, Tag.AUDIT, Tag.AUXILIARY, Tag.FILTER})
_NUMBERS = frozenset(
    {Tag.HASH, Tag.STRTAB, Tag.SYMTAB, Tag.STRSZ, Tag.GNU_HASH, Tag.VERSYM, Tag.FLAGS_1}
    | {Tag.VERDEF, Tag.VERDEFNUM, Tag.VERNEED, Tag.VERNEEDNUM}
)
_LISTED = {int(tag): tag for tag in (Tag.NEEDED, Tag.AUXILIARY, Tag.FILTER)}
_TEXT_TAGS = {int(tag): tag for tag in _TEXTS}
_NUMBER_TAGS = {int(tag): tag for tag in _NUMBERS}


class Type(enum.IntEnum):
    """e_type."""

    EXEC = 2
    DYN = 3


PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE = 1, 2, 3, 4
DF_1_NODEFLIB = 0x800
DF_1_PIE = 0x08000000


@dataclass(frozen=True, slots=True)
class Segment:
    """A program header: what a loader maps, or where something lies."""

    type: int
    offset: int
    address: int
    size: int  # bytes in the file


@dataclass(frozen=True, slots=True)
class Elf:
    """What loaders look at. Texts are surrogate-escaped; `wants` keeps the order of the dynamic section."""

    bits: int  # 32 or 64
    little: bool
    ident: bytes  # the 16 identification bytes
    type: int
    machine: int
    version: int  # e_version
    flags: int  # e_flags
    segment_size: int  # e_phentsize
    segments: tuple[Segment, ...]
    interpreter: str | None
    dynamic: bool  # has a dynamic section
    wants: tuple[tuple[Tag, str], ...]  # NEEDED, FILTER and AUXILIARY
    soname: str | None
    rpath: str | None  # None as well when there is a RUNPATH: loaders then never look at it
    runpath: str | None
    audit: str | None
    depaudit: str | None
    flags_1: int
    numbers: tuple[tuple[Tag, int], ...]  # addresses and counts for who reads symbols and versions

    @property
    def needed(self) -> tuple[str, ...]:
        return tuple(name for tag, name in self.wants if tag is Tag.NEEDED)

    @property
    def shared(self) -> bool:
        """A shared object: no program interpreter, but a dynamic section. (Static PIE have one too, and no NEEDED.)"""
        return self.type == Type.DYN and self.interpreter is None and self.dynamic

    def number(self, tag: Tag) -> int | None:
        """The value of a dynamic tag (the last of its kind, as loaders take it)."""
        for each, value in self.numbers:
            if each is tag:
                return value
        return None

    def offset(self, address: int) -> int | None:
        """Where in the file a virtual address is; None when no segment holds it."""
        for each in self.segments:
            if each.type == PT_LOAD and each.address <= address < each.address + each.size:
                return each.offset + address - each.address
        return None


def is_elf(first_bytes: bytes) -> bool:
    """Whether a file that begins with these bytes claims to be ELF."""
    return first_bytes[:4] == MAGIC


_SEGMENTS = {  # type, offset, vaddr, filesz
    (64, True): struct.Struct("<I4xQQ8xQ16x"),
    (64, False): struct.Struct(">I4xQQ8xQ16x"),
    (32, True): struct.Struct("<III4xI12x"),
    (32, False): struct.Struct(">III4xI12x"),
}
_HEADERS = {  # type, machine, version, phoff, flags, phentsize, phnum
    (64, True): struct.Struct("<HHI8xQ8xI2xHH"),
    (64, False): struct.Struct(">HHI8xQ8xI2xHH"),
    (32, True): struct.Struct("<HHI4xI4xI2xHH"),
    (32, False): struct.Struct(">HHI4xI4xI2xHH"),
}
_TAGS = {
    (64, True): struct.Struct("<qQ"),
    (64, False): struct.Struct(">qQ"),
    (32, True): struct.Struct("<iI"),
    (32, False): struct.Struct(">iI"),
}


class Reader:
    """Bounded reads of an open file that say what was being read when they fail."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self.name = name
        self.head = stream.read(HEAD)
        self.length = len(self.head)
        if self.length == HEAD:
            self.length = stream.seek(0, 2)

    def take(self, offset: int, size: int, field: str) -> bytes:
        """Exactly these bytes. Raises ElfError when the file does not hold them."""
        end = offset + size
        if offset < 0 or size < 0 or end > self.length:
            raise ElfError(self.name, offset, field, f"needs {size} bytes, the file has {self.length}")
        if end <= len(self.head):
            return self.head[offset:end]
        self._stream.seek(offset)
        data = self._stream.read(size)
        if len(data) != size:
            raise ElfError(self.name, offset, field, f"needs {size} bytes, {len(data)} could be read")
        return data

    def text(self, offset: int, field: str) -> str:
        """The NUL-terminated text there."""
        size = 256
        while True:
            data = self.take(offset, max(min(size, self.length - offset), 0), field)
            end = data.find(0)
            if end >= 0:
                return data[:end].decode("utf-8", "surrogateescape")
            if len(data) < size or size >= MAX_TEXT:
                raise ElfError(self.name, offset, field, f"does not end within {len(data)} bytes")
            size *= 4


def parse(stream: BinaryIO, name: str) -> Elf:
    """Read an open, seekable ELF file. `name` is for messages. Raises ElfError."""
    return read(Reader(stream, name))


def read(reader: Reader) -> Elf:
    """As `parse`, for who wants the reader for more."""
    name, head = reader.name, reader.head
    if head[:4] != MAGIC:
        raise ElfError(name, 0, "magic", "is missing")
    if len(head) < 20 or head[4] not in (1, 2):
        raise ElfError(name, 4, "class", "is neither 32 nor 64 bits")
    if head[5] not in (1, 2):
        raise ElfError(name, 5, "byte order", "is neither little nor big endian")
    bits, little = 32 * head[4], head[5] == 1
    header = _HEADERS[bits, little]
    if len(head) < 16 + header.size:
        raise ElfError(name, 16, "header", f"is cut off after {len(head)} bytes")
    type_, machine, version, start, flags, entry_size, count = header.unpack_from(head, 16)
    segments = _segments(reader, _SEGMENTS[bits, little], start, entry_size, count)
    interpreter: str | None = None
    dynamic: Segment | None = None
    for each in segments:
        if each.type == PT_INTERP and interpreter is None:  # the kernel takes the first, fs/binfmt_elf.c
            interpreter = _interpreter(reader, each)
        elif each.type == PT_DYNAMIC:  # ld.so the last, dl-load.c _dl_map_object_from_fd
            dynamic = each
    numbers: dict[Tag, int] = {}
    texts: dict[Tag, str] = {}
    wants: list[tuple[Tag, str]] = []
    if dynamic is not None:
        raw = _dynamic(reader, _TAGS[bits, little], dynamic, segments)
        table = 0
        offsets: list[tuple[Tag, int]] = []
        for tag, value in raw:
            if tag in _TEXT_TAGS:
                offsets.append((_TEXT_TAGS[tag], value))
            elif tag in _NUMBER_TAGS:
                numbers[_NUMBER_TAGS[tag]] = value
        if offsets:
            table = _place(reader, segments, numbers.get(Tag.STRTAB), dynamic.offset)
        for (each_tag, _), text in zip(offsets, _texts(reader, table, offsets), strict=True):
            if each_tag in _LISTED.values():
                wants.append((each_tag, text))
            else:
                texts[each_tag] = text
    runpath = texts.get(Tag.RUNPATH)
    return Elf(
        bits=bits,
        little=little,
        ident=head[:16],
        type=type_,
        machine=machine,
        version=version,
        flags=flags,
        segment_size=entry_size,
        segments=segments,
        interpreter=interpreter,
        dynamic=dynamic is not None,
        wants=tuple(wants),
        soname=texts.get(Tag.SONAME),
        rpath=texts.get(Tag.RPATH) if runpath is None else None,
        runpath=runpath,
        audit=texts.get(Tag.AUDIT),
        depaudit=texts.get(Tag.DEPAUDIT),
        flags_1=numbers.get(Tag.FLAGS_1, 0),
        numbers=tuple(numbers.items()),
    )


def _segments(reader: Reader, form: struct.Struct, start: int, size: int, count: int) -> tuple[Segment, ...]:
    if not count:
        return ()
    if size != form.size:
        raise ElfError(reader.name, start, "program header size", f"is {size}, not {form.size}")
    data = reader.take(start, size * count, "program headers")
    return tuple(Segment(*values) for values in form.iter_unpack(data))


def _interpreter(reader: Reader, segment: Segment) -> str:
    if not 2 <= segment.size <= MAX_INTERPRETER:
        raise ElfError(reader.name, segment.offset, "interpreter", f"has {segment.size} bytes")
    data = reader.take(segment.offset, segment.size, "interpreter")
    if data[-1]:
        raise ElfError(reader.name, segment.offset, "interpreter", "does not end in NUL")
    return data[: data.index(0)].decode("utf-8", "surrogateescape")


def _dynamic(
    reader: Reader, form: struct.Struct, segment: Segment, segments: Sequence[Segment]
) -> list[tuple[int, int]]:
    """The tags up to DT_NULL. The loader goes by the address; p_offset serves files whose segments do not map it."""
    start, limit = segment.offset, segment.size
    for each in segments:
        if each.type == PT_LOAD and each.address <= segment.address < each.address + each.size:
            start = each.offset + segment.address - each.address
            limit = each.size - (segment.address - each.address)
            break
    limit = min(limit, reader.length - start, MAX_TAGS * form.size)
    size = min(max(segment.size, form.size), limit)
    while size > 0:
        size -= size % form.size
        tags: list[tuple[int, int]] = []
        for tag, value in form.iter_unpack(reader.take(start, size, "dynamic section")):
            if tag == 0:
                return tags
            tags.append((tag, value))
        if size + form.size > limit:
            break
        size = min(size * 4 + form.size, limit)
    raise ElfError(reader.name, max(start, 0), "dynamic section", "has no end")


def _place(reader: Reader, segments: Sequence[Segment], address: int | None, where: int) -> int:
    if address is None:
        raise ElfError(reader.name, where, "dynamic section", "names texts but has no text table")
    for each in segments:
        if each.type == PT_LOAD and each.address <= address < each.address + each.size:
            return each.offset + address - each.address
    raise ElfError(reader.name, where, "text table", f"is at address {address:#x}, which no segment holds")


def _texts(reader: Reader, table: int, offsets: Sequence[tuple[Tag, int]]) -> list[str]:
    """Texts at these offsets of the text table: one read when they lie together."""
    if not offsets:
        return []
    low = min(offset for _, offset in offsets)
    high = max(offset for _, offset in offsets)
    texts: list[str] = []
    if high - low <= SPAN and table + low >= 0 and table + high < reader.length:
        data = reader.take(table + low, min(high - low + 512, reader.length - table - low), "text table")
        for tag, offset in offsets:
            end = data.find(0, offset - low)
            if end < 0:
                texts.append(reader.text(table + offset, tag.name))
            else:
                texts.append(data[offset - low : end].decode("utf-8", "surrogateescape"))
        return texts
    return [reader.text(table + offset, tag.name) for tag, offset in offsets]
