"""The kernel's table of mounts, /proc/PID/mountinfo (proc(5)), in bytes as it says them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ESCAPED = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo: where it lies, which filesystem, which directory of that, and its own number."""

    point: bytes
    device: bytes
    directory: bytes
    kind: bytes
    number: bytes = b""
    options: bytes = b""  # of the filesystem, not of this mount


def parse(text: bytes) -> list[Mount]:
    """The mounts, in the kernel's order: a later one lies over an earlier one at the same point."""
    mounts = []
    for line in text.split(b"\n"):
        fields = line.split(b" ")
        if len(fields) > 6 and b"-" in fields[6:-1]:
            kind, *rest = fields[fields.index(b"-", 6) + 1 :]
            options = rest[-1] if rest else b""
            mounts.append(Mount(_plain(fields[4]), fields[2], _plain(fields[3]), kind, fields[0], options))
    return mounts


def read(pid: int | str = "self") -> list[Mount]:
    """The mounts that a process sees. Raises OSError."""
    with open(f"/proc/{pid}/mountinfo", "rb") as stream:
        return parse(stream.read())


def _plain(escaped: bytes) -> bytes:
    """Space, tab, newline and backslash are written in octal (fs/proc_namespace.c, mangle)."""
    return _ESCAPED.sub(lambda each: bytes((int(each[1], 8) & 0xFF,)), escaped) if b"\\" in escaped else escaped
