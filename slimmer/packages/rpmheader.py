"""An rpm header as the database holds it: an index of tags, then their data, all big-endian.

    u32 number of index entries, u32 bytes of data
    entries of 16 bytes: u32 tag, u32 type, u32 offset, u32 count
    data

Source: rpm's docs/manual/format.md and include/rpm/rpmtag.h.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

NAME, VERSION, RELEASE, EPOCH = 1000, 1001, 1002, 1003
LICENSE, ARCH, FILEFLAGS, SOURCERPM, REQUIRENAME = 1014, 1022, 1037, 1044, 1049
DIRINDEXES, BASENAMES, DIRNAMES = 1116, 1117, 1118
CONFIG = 1 << 0  # of FILEFLAGS

_INT32, _STRING, _STRING_ARRAY, _I18N = 4, 6, 8, 9
_LONGEST = 1 << 24  # entries; more is damage


@dataclass(frozen=True, slots=True)
class Header:
    """The tags that matter here. `files` are absolute, as the package names them."""

    name: str
    version: str  # [epoch:]version-release
    architecture: str
    source: str  # file name of the source rpm
    license: str
    requires: tuple[str, ...]
    files: tuple[str, ...]
    config: tuple[str, ...]


def parse(blob: bytes) -> Header | None:
    """The header in a database's blob; None when it is none, or has no name. Raises ValueError when it is damaged."""
    try:
        return _parse(blob)
    except (struct.error, IndexError) as error:
        raise ValueError(f"a damaged rpm header: {error}") from error


def _parse(blob: bytes) -> Header | None:
    count, size = struct.unpack_from(">II", blob)
    if count > _LONGEST or 8 + 16 * count + size > len(blob):
        raise ValueError(f"a damaged rpm header: {count} entries, {size} bytes, in {len(blob)}")
    wanted = {NAME, VERSION, RELEASE, EPOCH, LICENSE, ARCH, FILEFLAGS, SOURCERPM, REQUIRENAME}
    wanted |= {DIRINDEXES, BASENAMES, DIRNAMES}
    data = 8 + 16 * count
    texts: dict[int, list[str]] = {}
    numbers: dict[int, Sequence[int]] = {}
    for tag, kind, offset, many in struct.iter_unpack(">IIII", blob[8:data]):
        if tag not in wanted:
            continue
        if kind == _INT32:
            numbers[tag] = struct.unpack_from(f">{many}I", blob, data + offset)
        elif kind in (_STRING, _STRING_ARRAY, _I18N):
            texts[tag] = _strings(blob, data + offset, 1 if kind == _STRING else many)
    if NAME not in texts:
        return None
    epoch = numbers.get(EPOCH, (0,))[0]
    version = f"{texts.get(VERSION, [''])[0]}-{texts.get(RELEASE, [''])[0]}"
    folders, names, places = texts.get(DIRNAMES, []), texts.get(BASENAMES, []), numbers.get(DIRINDEXES, ())
    files = tuple(folders[place] + name for name, place in zip(names, places, strict=False))
    flags = numbers.get(FILEFLAGS, ())
    return Header(
        name=texts[NAME][0],
        version=f"{epoch}:{version}" if epoch else version,
        architecture=texts.get(ARCH, [""])[0],
        source=texts.get(SOURCERPM, [""])[0],
        license=texts.get(LICENSE, [""])[0],
        requires=tuple(sorted({name for name in texts.get(REQUIRENAME, []) if not name.startswith(("rpmlib(", "/"))})),
        files=files,
        config=tuple(path for path, flag in zip(files, flags, strict=False) if flag & CONFIG),
    )


def _strings(blob: bytes, start: int, count: int) -> list[str]:
    found = []
    for _ in range(count):
        end = blob.find(b"\0", start)
        if end < 0:
            raise ValueError("a damaged rpm header: a text without its end")
        found.append(blob[start:end].decode("utf-8", "surrogateescape"))
        start = end + 1
    return found
