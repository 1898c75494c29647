"""Which risk marks a path carries, each by a written definition.

Content is looked at only where it must be, and never shown.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from slimmer.report.credentials import credential, named_secret, suspicious, telling
from slimmer.report.model import Mark, Risk
from slimmer.root.model import Entry, FileType, Root

DEFINITIONS: Mapping[Risk, str] = {
    Risk.SETUID: "a regular file with the setuid bit: it runs as its owner, whoever starts it",
    Risk.SETGID: "a regular file with the setgid bit: it runs with its group, whoever starts it",
    Risk.CAPABILITY: "a regular file with a security.capability attribute: it gains capabilities when it is started",
    Risk.SHELL: "a command shell, by its name, in a directory of programs (busybox counts)",
    Risk.INTERPRETER: "a program that runs other programs' text, by its name, in a directory of programs: "
    "python, perl, node, awk, java …",
    Risk.COMPILER: "a compiler, assembler, linker or build driver, by its name",
    Risk.PACKAGE_MANAGER: "a program that installs software, by its name, in a directory of programs: apt, pip …",
    Risk.NETWORK_CLIENT: "a program that talks to an address given on its command line, by its name, in a directory of "
    "programs: curl, nc, ssh, openssl …",
    Risk.PRIVILEGE_TOOL: "a program that changes who a process is or what it may do, by its name, in a directory of "
    "programs: su, sudo, mount, unshare …",
    Risk.KERNEL: "a file of the kernel, of its modules or firmware, or of a boot loader: below /boot, lib/modules, "
    "lib/firmware, or /vmlinuz and /initrd.img",
    Risk.DEBUGGER: "a program that attaches to processes or captures traffic, by its name, in a directory of programs",
    Risk.WORLD_WRITABLE: "anyone may write it (mode o+w); sticky directories, links and devices do not count",
    Risk.CREDENTIAL: "something that looks like a secret: a private key, a token, a password file, cloud or registry "
    "credentials, a shell's history. By name, and by content of small files; only path and kind are told",
    Risk.USER_WRITABLE: "the image's user, when it is not root, may write it by its mode; sticky directories "
    "that all may write, links and devices do not count",
    Risk.PRIVILEGED_PORT: "a program that listened on a port below 1024 in the recorded run",
}

# What a reviewer wants to see first.
GRAVITY = (
    Risk.CREDENTIAL,
    Risk.SETUID,
    Risk.SETGID,
    Risk.CAPABILITY,
    Risk.PRIVILEGE_TOOL,
    Risk.SHELL,
    Risk.PACKAGE_MANAGER,
    Risk.COMPILER,
    Risk.DEBUGGER,
    Risk.NETWORK_CLIENT,
    Risk.INTERPRETER,
    Risk.WORLD_WRITABLE,
    Risk.USER_WRITABLE,
    Risk.PRIVILEGED_PORT,
    Risk.KERNEL,
)
LOUD = frozenset({Risk.CREDENTIAL, Risk.SETUID, Risk.CAPABILITY, Risk.WORLD_WRITABLE})


def _programs() -> tuple[dict[str, tuple[Risk, ...]], dict[str, tuple[Risk, ...]]]:
    """programs.toml as names to marks: in directories of programs, and anywhere."""
    value = tomllib.loads(Path(__file__).with_name("programs.toml").read_text(encoding="utf-8"))
    anywhere: dict[str, tuple[Risk, ...]] = {
        name: (Risk(risk),) for risk, names in value.pop("anywhere").items() for name in names
    }
    found: dict[str, tuple[Risk, ...]] = {}
    for risk, names in value.items():
        for name in names:
            found[name] = (*found.get(name, ()), Risk(risk))
    return found, anywhere


_PROGRAMS, _ANYWHERE = _programs()
_PROGRAM_FOLDERS = ("bin", "/games", "/busybox", "/libexec", "/ssh-keysign", "/openssh", "/dbus-1.0")
_KERNEL = ("/boot/", "/lib/modules/", "/usr/lib/modules/", "/lib/firmware/", "/usr/lib/firmware/")
_KERNEL_TOP = ("/vmlinuz", "/initrd.img", "/System.map")


def program_risks(path: str) -> tuple[Risk, ...]:
    """What a program at this path is, by its name: `python3.11` and `x86_64-linux-gnu-gcc-12` are known too."""
    folder, _, name = path.rpartition("/")
    if name in _ANYWHERE:
        return _ANYWHERE[name]
    if not folder.endswith(_PROGRAM_FOLDERS):
        return ()
    found = _PROGRAMS.get(name)
    if found is None:
        base = name.rstrip("0123456789.").rstrip("-") if name[-1:].isdigit() else name
        if "-linux-" in base or "-elf-" in base:
            base = base.rpartition("-")[2]
            found = _PROGRAMS.get(base)
            return found if found and Risk.COMPILER in found else ()
        found = _PROGRAMS.get(base) if base != name else None
    return found or ()


# Marks that whole directories carry: a home that its user may write, modules of a kernel.
COMMON = frozenset({Risk.KERNEL, Risk.WORLD_WRITABLE, Risk.USER_WRITABLE})
_OF_KERNEL, _BY_ALL, _BY_USER = 1, 2, 4
_COMMON_MARKS = tuple(
    tuple(
        Mark(risk)
        for bit, risk in ((_OF_KERNEL, Risk.KERNEL), (_BY_ALL, Risk.WORLD_WRITABLE), (_BY_USER, Risk.USER_WRITABLE))
        if bits & bit
    )
    for bits in range(8)
)


@dataclass(frozen=True, slots=True)
class MarkedPlace:
    """What a directory's own path says of the marks of what is right in it. `prefix` ends in a slash."""

    prefix: str
    programs: bool
    kernel: bool


class Marker:
    """Marks paths of one root. `uid`, `gids`: the image's user. `listens`: programs to ports they were seen on."""

    def __init__(
        self, root: Root, *, uid: int = 0, gids: Iterable[int] = (), listens: Mapping[str, int] | None = None
    ) -> None:
        self._root = root
        self._uid = uid
        self._gids = frozenset(gids)
        self._listens = listens or {}
        self._searched = 0
        self.unsearched = 0  # removed files that were judged by their name alone

    def marks(
        self, entry: Entry, xattrs: Mapping[str, bytes] | None, *, owned: bool = False, removed: bool = False
    ) -> tuple[Mark, ...]:
        """The marks of a path, in the order of Risk. `xattrs` None: look them up where they matter.

        `owned`: a package holds the path, so its content is read only when its name asks for it.
        `removed`: after SEARCHED such files content is read only of those whose names ask for it.
        """
        kind, mode, path = entry.type, entry.mode, entry.path
        found: list[Mark] = []
        regular = kind is FileType.FILE
        if regular and mode & 0o111:
            if mode & 0o6000:
                if mode & 0o4000:
                    found.append(Mark(Risk.SETUID))
                if mode & 0o2000:
                    found.append(Mark(Risk.SETGID))
            attributes = self._root.xattrs(path) if xattrs is None else xattrs
            if attributes and "security.capability" in attributes:
                found.append(Mark(Risk.CAPABILITY))
            found += [Mark(risk) for risk in program_risks(path)]
        elif regular and mode & 0o6000:
            found += [Mark(Risk.SETUID)] if mode & 0o4000 else []
            found += [Mark(Risk.SETGID)] if mode & 0o2000 else []
        elif kind is FileType.SYMLINK:
            found += [Mark(risk) for risk in program_risks(path)]
        if kind is not FileType.DIRECTORY and (path.startswith(_KERNEL) or path.startswith(_KERNEL_TOP)):
            found.append(Mark(Risk.KERNEL))
        if kind in _WRITABLE:
            self._writable(entry, found)
        name = path[path.rfind("/") + 1 :]
        if regular and entry.size and suspicious(name, entry.size, owned=owned):
            self._searched += removed
            if removed and self._searched > SEARCHED and not telling(name):
                self.unsearched += 1
                secret = named_secret(name)
            else:
                secret = credential(self._root, entry, owned=owned)
            if secret:
                found.append(Mark(Risk.CREDENTIAL, secret))
        if self._listens and 0 < self._listens.get(path, 0) < 1024:
            found.append(Mark(Risk.PRIVILEGED_PORT, str(self._listens[path])))
        return tuple(found)

    def place(self, directory: str) -> MarkedPlace:
        """What `common` asks of a directory."""
        prefix = f"{directory}/"
        return MarkedPlace(prefix, directory.endswith(_PROGRAM_FOLDERS), prefix.startswith((*_KERNEL, *_KERNEL_TOP)))

    def common(
        self, place: MarkedPlace, name: str, status: os.stat_result, *, owned: bool = False
    ) -> tuple[Mark, ...] | None:
        """What `marks` says of a removed path right in a directory, where that takes no look at it; None: ask there.

        Then its marks are some of COMMON. For most paths this is all that has to be asked.
        """
        mode = status.st_mode
        kind = mode & 0o170000
        bits = _OF_KERNEL if place.kernel and kind != stat.S_IFDIR else 0
        if kind == stat.S_IFREG:
            if mode & 0o6111:
                return None
            if status.st_size and suspicious(name, status.st_size, owned=owned):
                if self._searched < SEARCHED or telling(name):
                    return None
                self._searched += 1
                self.unsearched += 1
        elif kind == stat.S_IFLNK:
            if place.programs or name in _ANYWHERE:
                return None
            return _COMMON_MARKS[bits]
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            return _COMMON_MARKS[bits]
        if self._listens and place.prefix + name in self._listens:
            return None
        if mode & 0o002 and not (mode & 0o1000 and kind == stat.S_IFDIR):
            bits |= _BY_ALL
        if self._uid and not (mode & 0o1002 == 0o1002 and kind == stat.S_IFDIR) and self._may_write(status):
            bits |= _BY_USER
        return _COMMON_MARKS[bits]

    def _writable(self, entry: Entry, found: list[Mark]) -> None:
        mode = entry.mode
        if mode & 0o002:
            if mode & 0o1000 and entry.type is FileType.DIRECTORY:
                return
            found.append(Mark(Risk.WORLD_WRITABLE))
        if self._uid and self._may_be_written(entry.uid, entry.gid, entry.mode):
            found.append(Mark(Risk.USER_WRITABLE))

    def _may_write(self, status: os.stat_result) -> bool:
        return self._may_be_written(status.st_uid, status.st_gid, status.st_mode)

    def _may_be_written(self, uid: int, gid: int, mode: int) -> bool:
        if uid == self._uid:  # path_resolution(7): the first class that fits decides
            return bool(mode & 0o200)
        if gid in self._gids:
            return bool(mode & 0o020)
        return bool(mode & 0o002)


SEARCHED = 10_000  # a whole machine as fat root has a million small files, and none of these gets into the image
_WRITABLE = frozenset({FileType.FILE, FileType.DIRECTORY, FileType.FIFO, FileType.SOCKET})
