"""The fidelity fixture: a tree with everything that image builders lose, and how two trees are compared."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path

# VFS_CAP_REVISION_2 with the effective bit: cap_net_bind_service=ep; <linux/capability.h>
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)
NOT_UTF8 = b"caf\xe9 \xff\xfe"
BEFORE_1970 = -1_000_000_000
AFTER_2038 = 4_000_000_000
AFTER_2242 = 9_000_000_000  # more than ustar's eleven octal digits
SPARSE = 64 * 1024 * 1024
LONG = "n" * 200


def make(top: Path) -> Path:
    """Fill a directory; as an ordinary user without what only root may set."""
    root = os.geteuid() == 0
    place = os.fsencode(top)

    def file(
        name: bytes, content: bytes = b"content\n", mode: int = 0o644, owner: tuple[int, int] | None = None
    ) -> bytes:
        path = place + b"/" + name
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as stream:
            stream.write(content)
        if root and owner:
            os.chown(path, *owner)
        os.chmod(path, mode)
        return path

    file(b"usr/bin/setuid", b"#!/bin/sh\n", 0o4755, (0, 0))
    file(b"usr/bin/setgid", b"#!/bin/sh\n", 0o2755, (0, 42))
    file(b"usr/bin/both", b"#!/bin/sh\n", 0o6711, (1000, 1001))
    capable = file(b"usr/bin/capable", b"\x7fELF?", 0o755)
    linked_capable = file(b"usr/bin/capable-linked", b"linked", 0o755)
    os.link(linked_capable, place + b"/usr/bin/zz-capable-linked")
    if root:
        os.setxattr(capable, "security.capability", CAPABILITY)
        os.setxattr(linked_capable, "security.capability", CAPABILITY)
    os.setxattr(file(b"usr/share/attributed"), "user.comment", b"line\nwith = and \0 and \xff")
    os.setxattr(file(b"usr/share/dropped"), "user.overlay.opaque", b"y")

    first = file(b"usr/lib/linked/b", b"one file, three names")
    os.link(first, place + b"/usr/lib/linked/c")
    os.link(first, place + b"/usr/lib/a-linked")
    os.symlink("/usr/lib/linked/b", place + b"/usr/lib/absolute")
    os.symlink("linked/b", place + b"/usr/lib/relative")
    os.symlink("../nowhere/at all", place + b"/usr/lib/dangling")
    os.symlink("usr/lib", place + b"/lib")
    os.symlink("x" * 300, place + b"/usr/lib/long-target")
    os.symlink(b"to " + NOT_UTF8, place + b"/usr/lib/bytes-target")
    if root:
        os.chown(place + b"/usr/lib/relative", 1234, 4321, follow_symlinks=False)

    file(b"names/with space")
    file(b"names/with\nnewline\n and\ttab")
    file(b"names/" + NOT_UTF8)
    file("names/größe/日本".encode())
    file(b"names/" + b"/".join([LONG.encode()] * 2) + b"/" + NOT_UTF8)
    file(f"names/{LONG}/{'é' * 100}".encode())
    file(b"names/-rf")
    file(b"names/.dot")
    file(b"names/" + b"a" * 94)  # 100 bytes with "names/": the last that a plain header holds
    file(b"names/" + b"b" * 95)

    os.makedirs(place + b"/var/empty-that-is-listed")
    for name, mode, owner in (
        (b"var/odd-closed", 0o700, (5, 6)),
        (b"var/odd-sticky", 0o1777, (0, 0)),
        (b"var/odd-setgid", 0o2775, (7, 3_000_000)),
    ):
        file(name + b"/inside")
        if root:
            os.chown(place + b"/" + name, *owner)
        os.chmod(place + b"/" + name, mode)
    file(b"var/odd-closed/nobody", mode=0o400, owner=(4_000_000_000, 4_000_000_001))
    file(b"var/empty-file", b"")

    sparse = file(b"var/sparse", b"begin")
    with open(sparse, "r+b") as stream:
        stream.truncate(SPARSE)
    os.mkfifo(place + b"/var/fifo", 0o622)
    if root:
        os.mknod(place + b"/var/char", 0o020666, os.makedev(1, 3))
        os.mknod(place + b"/var/block", 0o060640, os.makedev(259, 70_000))

    for number, path in enumerate(sorted(_paths(place))):
        os.utime(path, ns=(0, (1_600_000_000 + number) * 1_000_000_000 + 123_456_789), follow_symlinks=False)
    for name, when in ((b"old", BEFORE_1970), (b"new", AFTER_2038), (b"far", AFTER_2242)):
        path = file(b"times/" + name)
        os.utime(path, ns=(0, when * 1_000_000_000))
    for name, when in ((b"times", BEFORE_1970 - 1), (b"var", 1_650_000_000), (b"usr", 0)):
        os.utime(place + b"/" + name, ns=(0, when * 1_000_000_000))
    return top


def _paths(top: bytes) -> Iterator[bytes]:
    for directory, names, files in os.walk(top):
        for name in (*names, *files):
            yield os.path.join(directory, name)


def listing(top: Path) -> dict[str, str]:
    """Everything that an image must keep of a tree, a line for each path: what differs is then easy to read."""
    place = os.fsencode(top)
    found: dict[str, str] = {}
    first: dict[tuple[int, int], bytes] = {}
    for path in sorted(_paths(place)):
        status = os.lstat(path)
        kind = stat.S_IFMT(status.st_mode)
        words = [f"{status.st_mode:o}", f"{status.st_uid}:{status.st_gid}", f"{status.st_mtime_ns // 10**9}"]
        if kind == stat.S_IFREG:
            with open(path, "rb") as stream:
                words.append(f"{status.st_size} {hashlib.sha256(stream.read()).hexdigest()[:16]}")
            if status.st_nlink > 1:
                words.append(f"same as {first.setdefault((status.st_dev, status.st_ino), path[len(place) :])!r}")
        elif kind == stat.S_IFLNK:
            words.append(f"-> {os.readlink(path)!r}")
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            words.append(f"{os.major(status.st_rdev)},{os.minor(status.st_rdev)}")
        for name in sorted(os.listxattr(path, follow_symlinks=False)):
            if name == "security.capability" or (name.startswith("user.") and not name.startswith("user.overlay.")):
                words.append(f"{name}={os.getxattr(path, name, follow_symlinks=False)!r}")
        found[os.fsdecode(path[len(place) :])] = " ".join(words)
    return found


def listing_of_tar(path: Path) -> dict[str, str]:
    """The same from a layer, as Python's tarfile reads it."""
    found: dict[str, str] = {}
    kinds = {
        tarfile.REGTYPE: stat.S_IFREG,
        tarfile.DIRTYPE: stat.S_IFDIR,
        tarfile.SYMTYPE: stat.S_IFLNK,
        tarfile.FIFOTYPE: stat.S_IFIFO,
        tarfile.CHRTYPE: stat.S_IFCHR,
        tarfile.BLKTYPE: stat.S_IFBLK,
    }
    files: dict[str, str] = {}
    groups: set[str] = set()
    with tarfile.open(path, encoding="utf-8", errors="surrogateescape") as archive:
        for member in archive:
            name = "/" + member.name
            kind = kinds.get(member.type, stat.S_IFREG)
            words = [f"{member.mode | kind:o}", f"{member.uid}:{member.gid}", f"{int(member.mtime)}"]
            if member.isreg():
                stream = archive.extractfile(member)
                assert stream is not None
                files[name] = f"{member.size} {hashlib.sha256(stream.read()).hexdigest()[:16]}"
                words.append(files[name])
            elif member.islnk():
                target = "/" + member.linkname
                groups.add(target)
                words.append(f"{files[target]} same as {os.fsencode(target)!r}")
            elif member.issym():
                words.append(f"-> {os.fsencode(member.linkname)!r}")
            elif member.ischr() or member.isblk():
                words.append(f"{member.devmajor},{member.devminor}")
            for key, value in sorted(member.pax_headers.items()):
                if key.startswith("SCHILY.xattr."):
                    words.append(f"{key[13:]}={value.encode('utf-8', 'surrogateescape')!r}")
            found[name] = " ".join(words)
    for target in groups:
        head, tail = found[target].split(files[target])
        found[target] = f"{head}{files[target]} same as {os.fsencode(target)!r}{tail}"
    return found
