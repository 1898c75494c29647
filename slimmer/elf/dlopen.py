"""What an object says it may load at run time: `.note.dlopen` entries, and SONAMEs among its texts.

The note's descriptor is JSON: [{"soname": ["libz.so.1"], "feature": "zlib",
"description": "…", "priority": "recommended"}]. Any one of the sonames will do, the
first is preferred. Source: https://uapi-group.org/specifications/specs/elf_dlopen_metadata/
"""

from __future__ import annotations

import enum
import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from slimmer.elf.file import PT_LOAD, PT_NOTE, Elf, ElfError, Reader, Tag
from slimmer.root.model import Entry, Root

NOTE_TYPE = 0x407C0C0A
MAX_NOTES = 1 << 20  # bytes of one note segment
MAX_TEXTS = 256 << 20  # bytes of a file that are looked through for texts
CHUNK = 1 << 22
_BEFORE, _AFTER = 63, 19  # bytes of a name before its `.so.`, and from there to its end
_SONAME = re.compile(rb"(?<![\x21-\x7e])(lib[A-Za-z0-9_+.-]{1,60}\.so(?:\.[0-9]{1,4}){1,3})\0")


class Priority(enum.StrEnum):
    """How much an object wants what it may load."""

    REQUIRED = "required"
    RECOMMENDED = "recommended"
    SUGGESTED = "suggested"


@dataclass(frozen=True, slots=True)
class DlopenNote:
    """One feature and the sonames that give it, best first."""

    sonames: tuple[str, ...]
    feature: str = ""
    description: str = ""
    priority: Priority = Priority.RECOMMENDED


def notes(root: Root, entry: Entry, file: Elf) -> tuple[DlopenNote, ...]:
    """The dlopen notes of a file. Raises ElfError when its note segments are unsound."""
    segments = [each for each in file.segments if each.type == PT_NOTE and 0 < each.size <= MAX_NOTES]
    if not segments:
        return ()
    found: list[DlopenNote] = []
    order = "<" if file.little else ">"
    with root.open(entry.path) as stream:
        reader = Reader(stream, entry.path)
        for segment in segments:
            data = reader.take(segment.offset, segment.size, "notes")
            place = 0
            while place + 12 <= len(data):
                name_size, size, kind = struct.unpack_from(order + "III", data, place)
                start = place + 12 + (-(-name_size // 4)) * 4
                end = start + size
                if end > len(data):
                    raise ElfError(reader.name, segment.offset + place, "note", f"claims {size} bytes")
                if kind == NOTE_TYPE and data[place + 12 : place + 16] == b"FDO\0":
                    found += _entries(data[start:end])
                place = -(-end // 4) * 4
    return tuple(dict.fromkeys(found))


def _entries(text: bytes) -> list[DlopenNote]:
    """Entries of one descriptor; what is not of the specified form is passed over, as all its readers do."""
    try:
        value = json.loads(text.rstrip(b"\0"))
    except (ValueError, RecursionError):
        return []
    found = []
    for each in value if isinstance(value, list) else []:
        names = each.get("soname") if isinstance(each, dict) else None
        if not isinstance(names, list):
            continue
        sonames = tuple(name for name in names if isinstance(name, str) and name and "\0" not in name)
        priority = each.get("priority", "recommended")
        known = Priority(priority) if priority in list(Priority) else Priority.RECOMMENDED
        if sonames:
            found.append(DlopenNote(sonames, str(each.get("feature", "")), str(each.get("description", "")), known))
    return found


def soname_texts(root: Root, entry: Entry, file: Elf) -> tuple[str, ...]:
    """Texts of the shape of a SONAME in what is mapped of a file, except those it NEEDs anyway; sorted."""
    names: set[str] = set()
    budget = min(entry.size, MAX_TEXTS)  # segments that overlap are looked through once altogether
    with root.open(entry.path) as stream:
        for segment in file.segments:
            left, carried = min(segment.size, entry.size - segment.offset, budget), b""
            if segment.type != PT_LOAD or left <= 0:
                continue
            budget -= left
            stream.seek(segment.offset)
            while left > 0:
                data = stream.read(min(CHUNK, left))
                if not data:
                    break
                left -= len(data)
                names.update(_sonames(carried + data))
                carried = data[-128:]
    return tuple(sorted(names - {name for _, name in file.wants} - {file.soname or ""}))


def _sonames(data: bytes) -> Iterator[str]:
    """All matches of _SONAME. None overlap, and each holds `.so.`, which is found at the speed of memory."""
    at = data.find(b".so.")
    while at >= 0:
        for match in _SONAME.finditer(data, max(at - _BEFORE, 0), at + _AFTER):
            yield match[1].decode()
        at = data.find(b".so.", at + 4)


def text_table(root: Root, entry: Entry, file: Elf) -> bytes:
    """The dynamic text table: what a symbol's name must be in to be imported or defined. Raises ElfError."""
    address, size = file.number(Tag.STRTAB), file.number(Tag.STRSZ)
    place = file.offset(address) if address is not None else None
    if place is None or not size:
        return b""
    with root.open(entry.path) as stream:
        reader = Reader(stream, entry.path)
        return reader.take(place, min(size, reader.length - place), "text table")
