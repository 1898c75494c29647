"""Are the files of a directory, a mounted container or a running process those of a signed manifest.

Without the fat root. Reading is spread over all cores; nothing below the directory is followed out of it.
"""

from __future__ import annotations

import enum
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from slimmer.errors import SlimmerError
from slimmer.report.model import KeptPath
from slimmer.root.model import FileType, sort_key

BLOCK = 1 << 20  # bytes that one read asks for: hashing gives up the interpreter's lock for as long
BATCH = 64  # files that one task reads
# What runtimes write or mount into every container (runc and crun, docker's and podman's own files).
RUNTIME = (
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/tmp",
    "/var/tmp",
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/etc/mtab",
    "/.dockerenv",
)
_TYPES = {
    stat.S_IFREG: FileType.FILE,
    stat.S_IFDIR: FileType.DIRECTORY,
    stat.S_IFLNK: FileType.SYMLINK,
    stat.S_IFIFO: FileType.FIFO,
    stat.S_IFCHR: FileType.CHAR,
    stat.S_IFBLK: FileType.BLOCK,
    stat.S_IFSOCK: FileType.SOCKET,
}


class Problem(enum.StrEnum):
    MISSING = "missing"
    EXTRA = "extra"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class FileDeviation:
    """A path that is not as the manifest says. `what` names the fields that differ."""

    path: str
    problem: Problem
    what: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of it. `apart` paths lay where the image may be written, and were not compared."""

    compared: int
    bytes: int
    apart: int
    deviations: tuple[FileDeviation, ...]


def compare_files(top: str, manifest: Sequence[KeptPath], writable: Iterable[str] = ()) -> Comparison:
    """A directory tree against a manifest; `writable` are paths below which the image may be written.

    Owners are compared only where the caller is root: in a user namespace they show otherwise. Raises SlimmerError.
    """
    spared = tuple(path.rstrip("/") or "/" for path in (*RUNTIME, *writable))
    wanted = {row.entry.path: row for row in manifest if row.entry.type is not FileType.SOCKET}
    deviations: list[FileDeviation] = []
    due: list[KeptPath] = []
    compared = apart = 0
    owners = os.geteuid() == 0
    try:
        descriptor = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SlimmerError(f"cannot read {top}: {error.strerror}", "name a directory, or PID:N of a process") from error
    os.close(descriptor)
    for path, status, target in _walk(top):
        row = wanted.pop(path, None)
        if _below(path, spared):
            apart += 1
            continue
        if row is None:
            deviations.append(FileDeviation(path, Problem.EXTRA))
            continue
        compared += 1
        what = _header(row, status, target, owners)
        if what:
            deviations.append(FileDeviation(path, Problem.DIFFERS, what))
        elif row.entry.type is FileType.FILE:
            due.append(row)
    deviations += [FileDeviation(path, Problem.MISSING) for path in wanted if path != "/" and not _below(path, spared)]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        parts = [due[at : at + BATCH] for at in range(0, len(due), BATCH)]
        for found in pool.map(lambda part: _contents(top, part), parts):
            deviations += found
    deviations.sort(key=lambda each: sort_key(each.path))
    return Comparison(compared, sum(row.entry.size for row in due), apart, tuple(deviations))


def _below(path: str, places: Sequence[str]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


def _walk(top: str) -> Iterator[tuple[str, os.stat_result, str]]:
    """Every path below a directory by descriptors, so that no link leads out; what cannot be listed is skipped."""
    pending = [("", os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))]
    while pending:
        here, descriptor = pending.pop()
        try:
            below = []
            with os.scandir(descriptor) as found:
                names = sorted(each.name for each in found)
            for name in names:
                path = f"{here}/{name}"
                try:
                    status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                    target = os.readlink(name, dir_fd=descriptor) if stat.S_ISLNK(status.st_mode) else ""
                except FileNotFoundError:
                    continue  # a running system removes files
                yield path, status, target
                if stat.S_ISDIR(status.st_mode) and not _below(path, ("/proc", "/sys", "/dev")):
                    below.append((path, name))
            for path, name in reversed(below):
                try:
                    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                    pending.append((path, os.open(name, flags, dir_fd=descriptor)))
                except OSError:
                    continue
        finally:
            os.close(descriptor)


def _header(row: KeptPath, status: os.stat_result, target: str, owners: bool) -> tuple[str, ...]:
    entry, found = row.entry, []
    if _TYPES.get(stat.S_IFMT(status.st_mode)) is not entry.type:
        return ("type",)
    if entry.type is FileType.SYMLINK:
        if target != entry.target:
            found.append("target")
    elif stat.S_IMODE(status.st_mode) != entry.mode:
        found.append("mode")
    if owners and (status.st_uid, status.st_gid) != (entry.uid, entry.gid):
        found.append("owner")
    if entry.type is FileType.FILE and status.st_size != entry.size:
        found.append("content")
    return tuple(found)


def _contents(top: str, rows: Sequence[KeptPath]) -> list[FileDeviation]:
    found = []
    buffer = bytearray(BLOCK)
    view = memoryview(buffer)
    for row in rows:
        hasher = hashlib.sha256()
        try:
            descriptor = _open_below(top, row.entry.path)
            try:
                while size := os.readv(descriptor, [buffer]):
                    hasher.update(view[:size])
            finally:
                os.close(descriptor)
        except OSError as error:
            found.append(FileDeviation(row.entry.path, Problem.DIFFERS, (f"unreadable: {error.strerror}",)))
            continue
        if hasher.hexdigest() != row.sha256:
            found.append(FileDeviation(row.entry.path, Problem.DIFFERS, ("content",)))
    return found


def _open_below(top: str, path: str) -> int:
    """A file by its components, no link followed."""
    here = os.open(top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    *parents, name = path.strip("/").split("/")
    try:
        for part in parents:
            following = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = following
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=here)
    finally:
        os.close(here)


def value(comparison: Comparison) -> dict[str, object]:
    """For programs."""
    return {
        "format": "slimmer.files/1",
        "equal": not comparison.deviations,
        "compared": comparison.compared,
        "apart": comparison.apart,
        "deviations": [
            {"path": each.path, "problem": each.problem.value, "what": list(each.what)}
            for each in comparison.deviations
        ],
    }
