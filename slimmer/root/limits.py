"""How much an image may ask of this machine before it is refused.

Every number can be raised by its name, `--limit NAME=VALUE`; the defaults let
any honest image through and stop a bomb before it fills a disk.
"""

from __future__ import annotations

import dataclasses
import re
import threading
from dataclasses import dataclass

from slimmer.errors import SlimmerError, UsageProblem

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
_SUFFIXES = {"": 1, "K": KIB, "M": MIB, "G": GIB, "T": 1 << 40}


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes. The two switches are for input that is odd but was meant so."""

    total_bytes: int = 64 * GIB  # all layers, unpacked
    file_bytes: int = 16 * GIB  # one file, holes counted
    entries: int = 2_000_000  # of all layers together
    path_bytes: int = 4000  # one name in an archive; the kernel's PATH_MAX is 4096 with what is before it
    depth: int = 400  # directories below each other
    header_bytes: int = MIB  # one PAX header, GNU long name or sparse map
    layers: int = 1000
    members: int = 100_000  # of an archive that carries images
    json_bytes: int = 8 * MIB  # one manifest, index or config
    json_depth: int = 64
    archive_bytes: int = 64 * GIB  # what is spooled from a stream or a compressed archive
    devices: bool = False  # take device nodes beyond the usual ones in /dev (they are never made on disk)
    absolute: bool = True  # archive names that begin with "/" are names inside the root, as every runtime has it

    def changed(self, *words: str) -> Limits:
        """These limits with "NAME=VALUE" applied; sizes take K, M, G, T, switches yes or no. Raises UsageProblem."""
        fields = {field.name: field.default for field in dataclasses.fields(self)}
        changes: dict[str, int | bool] = {}
        for word in words:
            name, _, value = word.partition("=")
            name = name.replace("-", "_")
            if name not in fields:
                raise UsageProblem(f"no limit is called {name!r}", f"limits: {', '.join(sorted(fields))}")
            if isinstance(fields[name], bool):
                if value not in ("yes", "no", ""):
                    raise UsageProblem(f"--limit {name} is a switch", f"{name}=yes or {name}=no")
                changes[name] = value != "no"
                continue
            match = re.fullmatch(r"(\d{1,15})([KMGT]?)", value)
            if match is None:
                raise UsageProblem(f"--limit {word}: not a number", f"for instance {name}=20G")
            changes[name] = int(match[1]) * _SUFFIXES[match[2]]
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


DEFAULT_LIMITS = Limits()


def too_much(where: str, what: str, name: str) -> SlimmerError:
    """The error that every limit raises: it names the limit."""
    return SlimmerError(f"{where}: {what}", f"if the image is honest, raise the limit with --limit {name}=…")


class Budget:
    """What all layers of one image may use together; they are unpacked side by side."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._bytes = 0
        self._entries = 0

    def spend(self, where: str, size: int, entries: int) -> None:
        with self._lock:
            self._bytes += size
            self._entries += entries
            spent, counted = self._bytes, self._entries
        if spent > self._limits.total_bytes:
            raise too_much(where, f"unpacks to more than {self._limits.total_bytes:,} bytes", "total_bytes")
        if counted > self._limits.entries:
            raise too_much(where, f"has more than {self._limits.entries:,} entries", "entries")
