"""rpm's three databases, read as headers; and one written, which every scanner reads.

rpmdb.sqlite   table Packages(hnum, blob)             (rpm's lib/backend/sqlite.c)
Packages.db    ndb: slots of 16 bytes, then blobs     (lib/backend/ndb/rpmpkg.c)
Packages       Berkeley DB, a hash: values on pages   (db.h, dbinc/db_page.h of db 5.3)
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from slimmer.errors import SlimmerError
from tracer.runner import session_directory

_NDB, _SLOT, _BLOB = b"RpmP", b"Slot", b"BlbS"
_HASH_MAGIC = 0x061561
_HASH_PAGES = (2, 13)  # P_HASH_UNSORTED, P_HASH
_OVERFLOW = 7
_OFF_PAGE = 3  # H_OFFPAGE
_PAGE_HEADER = 26


def sqlite_blobs(content: bytes, wal: bytes) -> Iterator[tuple[int, bytes]]:
    """(number, header) of rpmdb.sqlite; `wal` is what stands beside it in rpmdb.sqlite-wal. Raises ValueError."""
    with session_directory.directory() as scratch:
        place = Path(scratch) / "rpmdb.sqlite"
        place.write_bytes(content)
        if wal:
            place.with_name("rpmdb.sqlite-wal").write_bytes(wal)
        try:
            connection = sqlite3.connect(place)
            try:
                for number, blob in connection.execute("SELECT hnum, blob FROM Packages ORDER BY hnum"):
                    if not isinstance(number, int) or not isinstance(blob, bytes):
                        raise ValueError(f"a damaged rpm database: package {number!r:.20} has no header")
                    yield number, blob
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise ValueError(f"not an rpm database: {error}") from error


def ndb_blobs(content: bytes) -> Iterator[tuple[int, bytes]]:
    """(number, header) of ndb's Packages.db. Raises ValueError."""
    if content[:4] != _NDB or len(content) < 32:
        raise ValueError("not an ndb database")
    (pages,) = struct.unpack_from("<I", content, 12)
    end = min(len(content), pages * 4096)
    for at in range(32, end - 15, 16):
        magic, number, block, blocks = struct.unpack_from("<4sIII", content, at)
        if magic != _SLOT:
            raise ValueError(f"a damaged ndb database: no slot at {at}")
        if number == 0 or blocks == 0:
            continue
        start = block * 16
        if content[start : start + 4] != _BLOB or start + 16 > len(content):
            raise ValueError(f"a damaged ndb database: no blob for package {number}")
        _, known, _, size = struct.unpack_from("<4sIII", content, start)
        if known != number or start + 16 + size > len(content):
            raise ValueError(f"a damaged ndb database: package {number}")
        yield number, content[start + 16 : start + 16 + size]


def bdb_blobs(content: bytes) -> Iterator[tuple[int, bytes]]:
    """(number, header) of a Berkeley DB hash, of either byte order. Raises ValueError."""
    for order in "<>":
        if len(content) >= 512 and struct.unpack_from(f"{order}I", content, 12)[0] == _HASH_MAGIC:
            try:
                yield from _hash(content, order)
            except (struct.error, IndexError) as error:
                raise ValueError(f"a damaged Berkeley DB: {error}") from error
            return
    raise ValueError("not a Berkeley DB hash")


def _hash(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    (size,) = struct.unpack_from(f"{order}I", content, 20)
    (last,) = struct.unpack_from(f"{order}I", content, 32)
    if size < 512 or size & (size - 1):
        raise ValueError(f"a damaged Berkeley DB: pages of {size} bytes")
    for page in range(1, min(last, len(content) // size) + 1):  # a damaged header says any number
        start = page * size
        if start + _PAGE_HEADER > len(content) or content[start + 25] not in _HASH_PAGES:
            continue
        (count,) = struct.unpack_from(f"{order}H", content, start + 20)
        offsets = struct.unpack_from(f"{order}{count}H", content, start + _PAGE_HEADER)
        for at in range(0, count - 1, 2):
            key, place = start + offsets[at] + 1, start + offsets[at + 1]
            (number,) = struct.unpack_from(f"{order}I", content, key)
            if content[place] == _OFF_PAGE:
                first, length = struct.unpack_from(f"{order}II", content, place + 4)
                blob = _overflow(content, order, size, first, length)
            else:
                blob = content[place + 1 : start + (offsets[at - 1] if at else size)]
                blob = blob[: max(0, start + offsets[at] - place - 1)] if offsets[at] > offsets[at + 1] else blob
            if number and len(blob) > 16:  # number 0 holds the next free number
                yield number, blob


def _overflow(content: bytes, order: str, size: int, page: int, length: int) -> bytes:
    parts: list[bytes] = []
    left = length
    seen: set[int] = set()
    while page and left > 0:
        start = page * size
        if page in seen or content[start + 25] != _OVERFLOW:
            raise ValueError(f"a damaged Berkeley DB: page {page} is no overflow page")
        seen.add(page)
        (following,) = struct.unpack_from(f"{order}I", content, start + 16)
        (used,) = struct.unpack_from(f"{order}H", content, start + 22)
        parts.append(content[start + _PAGE_HEADER : start + _PAGE_HEADER + min(used, left)])
        left -= len(parts[-1])
        page = following
    if left:
        raise ValueError("a damaged Berkeley DB: a value ends early")
    return b"".join(parts)


def write_sqlite(blobs: Iterable[tuple[int, bytes]]) -> bytes:
    """An rpmdb.sqlite with these headers; the same bytes for the same headers. Raises SlimmerError."""
    with session_directory.directory() as scratch:
        place = Path(scratch) / "rpmdb.sqlite"
        try:
            connection = sqlite3.connect(place)
            connection.execute("PRAGMA page_size = 4096")
            connection.execute("CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
            connection.executemany("INSERT INTO Packages VALUES (?, ?)", sorted(blobs))
            connection.commit()
            connection.execute("VACUUM")
            connection.close()
            content = bytearray(place.read_bytes())
        except sqlite3.Error as error:
            raise SlimmerError(f"cannot write the image's rpm database: {error}") from error
    # fileformat2, 1.3: the change counter, its copy, and the version of the library that wrote last.
    struct.pack_into(">I", content, 24, 1)
    struct.pack_into(">II", content, 92, 1, 3_040_000)
    return bytes(content)
