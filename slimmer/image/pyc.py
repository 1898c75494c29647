"""The source's time inside a .pyc: rewritten when the source's own time is, so that Python does not recompile.

CPython takes a timestamp .pyc only when the seconds and the size that it carries
are its source's (PEP 552, importlib._bootstrap_external). When a layer changes
times, the two must change together.
"""

from __future__ import annotations

import posixpath
import re
import struct
from dataclasses import dataclass

from slimmer.image.times import MtimePolicy
from slimmer.root.model import Entry, FileType, Root

LONGEST_HEADER = 16
# Magic numbers of CPython 3.7 (where PEP 552 arrived, 3.7a4) and later; Lib/importlib/_bootstrap_external.py.
FIRST_PEP_552 = 3392
LAST_CPYTHON_3 = 3999
# PyPy counts its magic numbers apart; its file names tell the version.
PYPY_PEP_552 = re.compile(r"\.pypy3([7-9]|[1-9][0-9])(\.opt-[^.]*)?\.pyc$")
CACHED = re.compile(r"^(?P<module>.+)\.(?!opt-)[^.]+(\.opt-[^.]+)?\.pyc$")


@dataclass(frozen=True, slots=True)
class _Fields:
    mtime_at: int
    mtime: int
    size: int | None  # None: a header without it, from before Python 3.3


def is_pyc(path: str) -> bool:
    return path.endswith((".pyc", ".pyo"))


def source_path(path: str) -> str | None:
    """The source that a .pyc speaks for: PEP 3147's place, or beside it as Python 2 has it; None for another name."""
    directory, name = posixpath.split(path)
    if posixpath.basename(directory) == "__pycache__":
        match = CACHED.match(name)
        return posixpath.join(posixpath.dirname(directory), match["module"] + ".py") if match else None
    return path[:-1]


def rewrite(root: Root, path: str, header: bytes, policy: MtimePolicy) -> bytes:
    """The first bytes of the .pyc at `path` as they are to be packed, of the same length.

    Unchanged when the file is hash based or no .pyc at all. A .pyc that was stale
    before stays stale.
    """
    fields = _fields(path, header)
    if fields is None:
        return header
    place = source_path(path)
    source = root.find(place) if place else None
    if source is None or source.type is not FileType.FILE:
        # Nobody compares it; the policy alone makes it the same on every machine.
        new = policy.of(fields.mtime)
    else:
        packed = policy.of_ns(source.mtime_ns)
        same_size = fields.size is None or fields.size == source.size & 0xFFFFFFFF
        if fields.mtime == _as_python(source) & 0xFFFFFFFF and same_size:
            new = packed
        elif fields.mtime == packed & 0xFFFFFFFF and same_size:
            new = fields.mtime ^ 1
        else:
            return header
    stamp = struct.pack("<I", new & 0xFFFFFFFF)
    return header[: fields.mtime_at] + stamp + header[fields.mtime_at + 4 :]


def _as_python(source: Entry) -> int:
    """int(st_mtime), by the same float arithmetic as CPython's posixmodule.c (fill_time)."""
    seconds, nanoseconds = divmod(source.mtime_ns, 1_000_000_000)
    return int(seconds + 1e-9 * nanoseconds)


def _fields(path: str, header: bytes) -> _Fields | None:
    if len(header) < 8 or header[2:4] != b"\r\n":
        return None
    magic = int.from_bytes(header[:2], "little")
    if FIRST_PEP_552 <= magic <= LAST_CPYTHON_3 or PYPY_PEP_552.search(path):
        if len(header) < 16 or header[4:8] != bytes(4):  # flags: not zero is hash based
            return None
        mtime, size = struct.unpack_from("<II", header, 8)
        return _Fields(8, mtime, size)
    (mtime,) = struct.unpack_from("<I", header, 4)
    if 3200 <= magic < FIRST_PEP_552 and len(header) >= 12:  # Python 3.3 to 3.6
        return _Fields(4, mtime, struct.unpack_from("<I", header, 8)[0])
    return _Fields(4, mtime, None)
