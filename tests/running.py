"""What tests of sessions share: a small real root, commands with their output, another user, what is left running."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import pickle
import shutil
import stat
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.support import root_of
from tracer.kernel import mounts, userns
from tracer.session import Command, Identity, Session

T = TypeVar("T")
NOBODY = 65534
ENV = {"PATH": "/usr/bin:/bin"}
_PROGRAMS = """
    sh bash cat ls id pwd env true false sleep touch rm mv mkdir mknod mkfifo chmod chown ln stat kill
    setsid mount umount df tail head wc printf date readlink perl ps seq cp dd hostname unshare
"""


@contextlib.contextmanager
def readable_directory() -> Iterator[Path]:
    """A temporary directory that other users can enter (pytest's own cannot be)."""
    made = tempfile.mkdtemp(prefix="slimmer-test-")
    os.chmod(made, 0o755)
    try:
        yield Path(made)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def open_to_others(*places: Path) -> None:
    """Let other users enter these, and pytest's own directories above them."""
    top = Path(tempfile.gettempdir())
    for each in {above for place in places for above in (place, *place.parents)}:
        if each != top and each.is_relative_to(top):
            each.chmod(0o755)


def small_root(place: Path) -> Path:
    """The programs above, and what they load, out of a Debian root: about 10 MB. Its owner is who runs this."""
    subprocess.run(["cp", "-a", "--reflink=auto", _model(), place], check=True)
    return place


@functools.cache
def _model() -> Path:
    made = tempfile.mkdtemp(prefix="slimmer-test-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return _assemble(Path(made, "root"))


def _assemble(place: Path) -> Path:
    source = root_of()
    place.mkdir()
    for directory in ("usr/bin", "etc", "tmp", "var/lib/app", "proc", "home/user dir"):
        (place / directory).mkdir(parents=True)
    (place / "tmp").chmod(0o1777)
    (place / "bin").symlink_to("usr/bin")
    for name in ("lib", "lib64", "sbin"):
        (place / name).symlink_to(f"usr/{name}")
    wanted = {Path(f"/usr/bin/{name}") for name in _PROGRAMS.split() if (source / "usr/bin" / name).exists()}
    loads = subprocess.run(
        ["chroot", source, "/bin/sh", "-c", 'for each; do ldd "$each"; done', "sh", *map(str, wanted)],
        capture_output=True,
        text=True,
    )
    for word in loads.stdout.split():
        if word.startswith("/lib"):
            wanted.add(Path("/usr" + word))
    for each in wanted | {Path("/").joinpath(p.relative_to(source)) for p in (source / "usr/lib").rglob("perl-base")}:
        target = place / each.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        origin = source / each.relative_to("/")
        if origin.is_dir():
            shutil.copytree(origin, target, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(origin, target)
    (place / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nwww:x:33:33::/:/bin/sh\n")
    (place / "etc/group").write_text("root:x:0:\nwww:x:33:\n")
    (place / "var/lib/app/data").write_text("before\n")
    return place


def own(place: Path, uid: int) -> None:
    """Give a whole tree to a user."""
    for directory, names, files in os.walk(place):
        for each in (directory, *(os.path.join(directory, name) for name in (*names, *files))):
            os.lchown(each, uid, uid)


def run(session: Session, *argv: str, identity: Identity | None = None, workdir: str = "/") -> tuple[int | None, str]:
    """Run a command to its end: exit status, and what it wrote to both streams."""
    with tempfile.TemporaryFile() as output:
        process = session.spawn(
            Command(argv, ENV, workdir, identity or Identity()), stdout=output.fileno(), stderr=output.fileno()
        )
        status = process.wait(30)
        output.seek(0)
        return status, output.read().decode(errors="surrogateescape")


def shell(session: Session, script: str) -> str:
    """What a shell script prints."""
    return run(session, "sh", "-c", script)[1]


def needs_reachable_python() -> None:
    """Skip where another user cannot start this Python: it may lie in a home directory that is shut."""
    place = Path(sys.executable).resolve()
    shut = [str(each) for each in (place, *place.parents) if not each.stat().st_mode & stat.S_IXOTH]
    if shut:
        pytest.skip(f"another user may not enter {shut[-1]}, where this Python is")


def as_user(uid: int, work: Callable[[], T]) -> T:
    """What `work` gives in a forked process that is an ordinary user; its exception fails the test."""
    with tempfile.TemporaryFile() as answer:
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
                value: object = work()
                answer.write(pickle.dumps((True, value)))
            except BaseException:
                answer.write(pickle.dumps((False, traceback.format_exc())))
            finally:
                answer.flush()
                os._exit(0)
        os.waitpid(child, 0)
        answer.seek(0)
        good, given = pickle.loads(answer.read())
    assert good, given
    return given  # type: ignore[no-any-return]


def running(marker: str) -> list[str]:
    """Command lines of all processes that name the marker."""
    found = []
    for pid in os.listdir("/proc"):
        if pid.isdigit() and int(pid) != os.getpid():
            with contextlib.suppress(OSError):
                line = Path("/proc", pid, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if marker in line:
                    found.append(line)
    return found


def session_directories() -> set[str]:
    return {each for each in os.listdir(tempfile.gettempdir()) if each.startswith("slimmer-session-")}


def photograph(place: Path) -> dict[str, tuple[object, ...]]:
    """Everything that lstat says of a tree, times included, without touching it more than lstat does."""
    seen: dict[str, tuple[object, ...]] = {}
    pending = [str(place)]
    while pending:
        here = pending.pop()
        status = os.lstat(here)
        seen[here] = (
            *(status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_ino, status.st_nlink),
            *(status.st_mtime_ns, status.st_ctime_ns, status.st_atime_ns),
        )
        if stat.S_ISDIR(status.st_mode):
            with opened(here) as descriptor:
                pending += [os.path.join(here, name) for name in os.listdir(descriptor)]
    return seen


@contextlib.contextmanager
def opened(directory: str) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOATIME)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def as_user_with_ranges(uid: int, work: Callable[[], T]) -> T:
    """The same for a user with 65,536 ids in /etc/subuid and /etc/subgid.

    Bound over the machine's own in a mount namespace of this call; newuidmap(1) reads them.
    """

    def bound() -> T:
        userns.unshare(userns.NEWNS)
        mounts.mount("", "/", flags=mounts.REC | mounts.PRIVATE)
        with tempfile.NamedTemporaryFile("w") as ranges:
            ranges.write(f"{uid}:200000:65536\n")
            ranges.flush()
            os.chmod(ranges.name, 0o644)
            for name in ("/etc/subuid", "/etc/subgid"):
                mounts.mount(ranges.name, name, flags=mounts.BIND)
            return as_user(uid, work)

    return as_user(0, bound)
