"""What of a language's package is run time: all but what drop lists name, its test suite, other systems' binaries.

A package stays whole, since what it loads by computed names is its own affair. What
nobody reads when it runs is left out, and said: `View.left_out`. What the recording
used stays, whatever a list says.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence

from slimmer.closure.languages.suites import NAMES, is_suite, is_test
from slimmer.closure.model import Omission, View
from slimmer.closure.profiles.drops import Drops
from slimmer.closure.profiles.load import Profile
from slimmer.elf.file import ElfError, parse
from slimmer.errors import SlimmerError
from slimmer.root.model import Entry, FileType
from tracer.recording import Kind

SUITE = "test suites of packages"
FOREIGN = "binaries for another system, processor or C library"
BINARY = re.compile(r"\.(?:node|so(?:\.[\d.]+)?|dll|dylib|exe|pyd|bare)$")
MUSL = re.compile(r"libc\.musl-.*|ld-musl-.*")
GLIBC = frozenset({"libc.so.6", "ld-linux-x86-64.so.2"})
DECLARATIONS = (".d.ts", ".d.mts", ".d.cts")
USED = frozenset({Kind.READ, Kind.EXEC, Kind.WRITE})
# uname -m → e_machine of what it loads; ELF's own numbers (include/uapi/linux/elf-em.h)
MACHINES = {
    "x86_64": (62,), "i686": (3,), "i386": (3,), "aarch64": (183,), "armv7l": (40,), "armv6l": (40,), "ppc64le": (21,),
    "s390x": (22,), "riscv64": (243,), "loongarch64": (258,), "mips64": (8,), "ppc64": (21,),
}  # fmt: skip


class PackageContent:
    """Walks packages of one language in one root."""

    def __init__(self, language: str, profiles: Sequence[Profile], view: View) -> None:
        self._language = language
        self._drops = Drops(profiles)
        self._view = view
        self._machines = MACHINES.get(view.recording.architecture, ())
        self._used: set[str] = set()
        self._above: set[str] = set()  # directories that hold something used
        for access in view.recording.accesses:
            if not USED.isdisjoint(access.kinds):
                found = view.root.find(access.path)
                if found is not None and found.type is not FileType.DIRECTORY:
                    self._used.add(found.path)
                    directory = posixpath.dirname(found.path)
                    while directory not in self._above:
                        self._above.add(directory)
                        directory = posixpath.dirname(directory)
        # Where the compiler runs with the application (ts-node), what it has not asked for yet it may ask for later.
        self._declared = language == "node" and any(path.endswith(DECLARATIONS) for path in self._used)
        names = view.root.children(view.root.resolve("/lib").path)
        self._musl = any(name.startswith("ld-musl-") for name in names)

    def entries(self, top: str) -> Iterator[Entry]:
        """What stays below a directory (canonical), directories included."""
        pending = [top]
        while pending:
            directory = pending.pop()
            for name in self._view.root.children(directory):
                entry = self._view.root.entry(f"{directory}/{name}")
                if entry is None or self.omitted(entry, top):
                    continue
                if entry.type is FileType.DIRECTORY:
                    pending.append(entry.path)
                yield entry

    def omitted(self, entry: Entry, top: str) -> bool:
        """Whether a path below a package's directory is no run-time part of it; each such is told to the view."""
        why = self.why_omitted(entry, top)
        if why:
            self._view.left_out(Omission(why, entry.path))
        return bool(why)

    def why_omitted(self, entry: Entry, top: str) -> str:
        """What `omitted` would tell; empty where a path stays."""
        path = entry.path
        if path in self._used:
            return ""
        directory = entry.type is FileType.DIRECTORY
        if directory and path in self._above:
            return ""
        dropped = self._drops.of_language(self._language, path, top, self._view.root)
        if dropped is not None and not (self._declared and path.endswith(DECLARATIONS)):
            return dropped.why
        if directory:
            return SUITE if posixpath.basename(path) in NAMES and is_suite(path, self._view.root) else ""
        if self._language == "python" and is_test(entry, self._view.root):
            return SUITE  # one that something imports is needed by that import
        return FOREIGN if BINARY.search(path) and self.is_foreign(entry) else ""

    def used(self, top: str) -> bool:
        """Whether the recording read something below a directory (canonical)."""
        return top in self._above

    def is_foreign(self, entry: Entry) -> bool:
        """Whether a file's own bytes say that no process of this root can load it."""
        if entry.type is not FileType.FILE:
            return False
        try:
            start = self._view.root.beginning(entry, 4096)
        except (SlimmerError, OSError):
            return False
        if start[:2] == b"MZ":
            return not _managed(start)
        if start[:4] in (b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"\xfe\xed\xfa\xcf"):
            return True  # Mach-O, <mach-o/loader.h>
        if start[:4] != b"\x7fELF" or len(start) < 20 or not self._machines:
            return False
        machine = int.from_bytes(start[18:20], "little" if start[5] == 1 else "big")
        return machine not in self._machines or self._other_libc(entry)

    def _other_libc(self, entry: Entry) -> bool:
        try:
            with self._view.root.open(entry.path) as stream:
                needed = parse(stream, entry.path).needed
        except (ElfError, SlimmerError, OSError):
            return False
        if self._musl:
            return not GLIBC.isdisjoint(needed) and not any(map(MUSL.fullmatch, needed)) and not self._has_glibc()
        return any(map(MUSL.fullmatch, needed))

    def _has_glibc(self) -> bool:
        """gcompat and its like answer to glibc's names in a musl root."""
        return any(
            self._view.root.find(f"{place}/{name}") is not None
            for place in ("/lib", "/lib64", "/usr/lib")
            for name in GLIBC
        )


def _managed(start: bytes) -> bool:
    """Whether a PE file holds .NET code, which Mono and CoreCLR load anywhere (PE format, data directory 14)."""
    at = int.from_bytes(start[60:64], "little")
    if start[at : at + 4] != b"PE\0\0":
        return False
    optional = at + 24
    directories = optional + (112 if start[optional : optional + 2] == b"\x0b\x02" else 96)
    entry = start[directories + 14 * 8 : directories + 14 * 8 + 8]
    return len(entry) == 8 and entry != bytes(8)
