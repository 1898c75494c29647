"""Programs of other architectures, through qemu's user mode emulation.

The host is left as it is. Where the kernel allows it (Linux 6.7), the sandbox's user
namespace has a binfmt_misc of its own, in which the interpreter is registered; it is
opened at registration (flag F), so the root need not have it. Else a handler of the host's
does, when there is one; else commands are started through the interpreter, and cannot
start others of their kind.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace

from tracer.errors import TracerError
from tracer.kernel import mounts
from tracer.recording import Access, Execution, Kind, Recording, collect

DIRECT = "/dev/.slimmer-qemu"  # where the interpreter is when it is called by name: not in the root
# Where qemu looks for a root of its own before it takes the path itself (configure --interp-prefix).
_PROBED = ("/etc/qemu-binfmt", "/usr/gnemul", DIRECT)


@dataclass(frozen=True, slots=True)
class Guest:
    """An architecture that this machine cannot run by itself. The name is what uname -m says there."""

    name: str
    qemu: str  # the name of its emulator behind "qemu-"
    wide: bool
    little: bool
    machine: int  # e_machine, elf.h

    @property
    def magic(self) -> tuple[bytes, bytes]:
        """The first 20 bytes of its programs, and which of their bits count: any OS ABI, ET_EXEC or ET_DYN."""
        order = "<" if self.little else ">"
        ident = b"\x7fELF" + bytes((2 if self.wide else 1, 1 if self.little else 2, 1, 0)) + bytes(8)
        mask = b"\xff" * 7 + b"\0" + b"\xff" * 8
        return ident + struct.pack(f"{order}HH", 2, self.machine), mask + struct.pack(f"{order}HH", 0xFFFE, 0xFFFF)


_GUESTS = {
    each.name: each
    for each in (
        Guest("x86_64", "x86_64", True, True, 62),
        Guest("i686", "i386", False, True, 3),
        Guest("aarch64", "aarch64", True, True, 183),
        Guest("armv7l", "arm", False, True, 40),
        Guest("riscv64", "riscv64", True, True, 243),
        Guest("s390x", "s390x", True, False, 22),
        Guest("ppc64le", "ppc64le", True, True, 21),
        Guest("ppc64", "ppc64", True, False, 21),
        Guest("mips64", "mips64el", True, True, 8),
        Guest("mips", "mipsel", False, True, 8),
        Guest("loongarch64", "loongarch64", True, True, 258),
    )
}
_OTHER_NAMES = {
    "amd64": "x86_64",
    "386": "i686",
    "i386": "i686",
    "arm64": "aarch64",
    "arm64/v8": "aarch64",
    "arm": "armv7l",
    "armhf": "armv7l",
    "armel": "armv7l",
    "arm/v5": "armv7l",
    "arm/v6": "armv7l",
    "arm/v7": "armv7l",
    "ppc64el": "ppc64le",
    "mips64le": "mips64",
    "mips64el": "mips64",
    "mipsle": "mips",
    "mipsel": "mips",
    "loong64": "loongarch64",
}
_NATIVE = {"x86_64": ("x86_64", "i686"), "aarch64": ("aarch64", "armv7l")}


def guest(architecture: str) -> Guest | None:
    """What a name (OCI's, Debian's, uname's) means; None when this machine runs it by itself. Raises TracerError."""
    name = architecture.removeprefix("linux/")
    found = _GUESTS.get(_OTHER_NAMES.get(name, name))
    if found is None:
        known = ", ".join(sorted({*_GUESTS, *_OTHER_NAMES}))
        raise TracerError(f"no such architecture: {architecture}", f"known are {known}")
    here = platform.machine()
    return None if found.name in _NATIVE.get(here, (here,)) else found


def find(wanted: Guest, named: str) -> str:
    """The interpreter: `named`, or a static qemu of the host's PATH. Raises TracerError when it is missing or unfit."""
    names = (f"qemu-{wanted.qemu}-static", f"qemu-{wanted.qemu}")
    path = named or next((found for name in names if (found := shutil.which(name))), "")
    if not path:
        raise TracerError(
            f"the root is for {wanted.name}, this machine is {platform.machine()}: {names[0]} is needed to run it",
            "install qemu-user-static, or name the emulator with --qemu",
        )
    real = os.path.realpath(path)
    if not os.access(real, os.X_OK):
        raise TracerError(f"the emulator cannot be executed: {path}", "name another one with --qemu")
    if not _static(real):
        raise TracerError(
            f"{path} needs libraries that the root does not have", "name a static one with --qemu (qemu-user-static)"
        )
    return real


def _static(path: str) -> bool:
    """No PT_INTERP (3) among the program headers."""
    with open(path, "rb") as stream:
        head = stream.read(4096)
    if head[:4] != b"\x7fELF" or len(head) < 64 or head[4] != 2:
        return head[:4] == b"\x7fELF"
    order = "<" if head[5] == 1 else ">"
    start, size, count = struct.unpack_from(f"{order}Q", head, 32) + struct.unpack_from(f"{order}HH", head, 54)
    places = range(start, min(start + size * count, len(head) - 4), size)
    return all(struct.unpack_from(f"{order}I", head, place)[0] != 3 for place in places)


def register(wanted: Guest, interpreter: str, directory: str) -> int:
    """In a user namespace of one's own: make its binfmt_misc know the interpreter (a path that is seen here).

    Gives a descriptor that must stay open: the handler lives as long as the filesystem.
    `directory` is one to mount on. Raises OSError.
    """
    mounts.mount("binfmt_misc", directory, "binfmt_misc")
    try:
        held = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        magic, mask = ("".join(f"\\x{byte:02x}" for byte in each) for each in wanted.magic)
        mark = next(each for each in ":,;|!" if each not in interpreter)
        line = mark.join(("", f"slimmer-{wanted.qemu}", "M", "", magic, mask, interpreter, "POCF"))
        descriptor = os.open(f"{directory}/register", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, os.fsencode(line))
        finally:
            os.close(descriptor)
    finally:
        mounts.umount(directory)
    return held


def registered(wanted: Guest, directory: str = "/proc/sys/fs/binfmt_misc") -> bool:
    """Whether the host itself runs such programs in any root (a handler with flag F)."""
    magic, _ = wanted.magic
    with contextlib.suppress(OSError):
        for name in os.listdir(directory):
            with contextlib.suppress(OSError), open(f"{directory}/{name}", encoding="ascii", errors="replace") as lines:
                told = dict(line.strip().partition(" ")[::2] for line in lines)
                if "enabled" in told and "F" in told.get("flags:", "") and told.get("magic", "") == magic.hex():
                    return True
    return False


def cleaned(recording: Recording, wanted: Guest, emulator: str, started: Iterable[Execution]) -> Recording:
    """The recording of the guest alone: without what qemu looks for, of the guest's architecture.

    `started` are programs that were started through the interpreter by name: they were executed, not only read.
    """

    def ours(path: str) -> bool:
        return path == emulator or any(path == each or path.startswith(f"{each}/") for each in _PROBED)

    kept = [each for each in recording.accesses if not ours(each.path)]
    direct = set(started)
    kept += [Access(each.path, frozenset({Kind.EXEC}), frozenset({""})) for each in direct]
    accesses = [replace(each, by=frozenset("" if ours(name) else name for name in each.by)) for each in kept]
    executions = [each for each in recording.executions if not ours(each.path)]
    return replace(
        recording,
        accesses=collect(accesses),
        executions=tuple(sorted({*executions, *direct})),
        architecture=wanted.name,
    )
