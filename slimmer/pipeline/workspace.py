"""Outputs: written beside their places, put there whole and all at once, or not there at all.

    .slim-out.part-XXXXXXXX/     a holder: while it is written, its lock is held as long as the run lives
      lock                       "slimmer.part/1"
      new/                       what is written
      old/                       what was replaced, where the file system cannot exchange two names
    slim-out/                    afterwards

What is replaced is exchanged with the new, and deleted when everything is in place. A killed run
leaves its holder behind without a lock holder: the next run puts back what was moved aside, and removes it.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import errno
import fcntl
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import assert_never

from slimmer.errors import Interrupted, SlimmerError
from slimmer.pipeline.target import mark, refuse_foreign
from tracer.kernel import signals
from tracer.runner import session_directory

LOCK = "lock"
LOCKED = b"slimmer.part/1\n"
NEW = "new"
OLD = "old"
HOLDER = re.compile(r"\.(?P<name>.+)\.part-[A-Za-z0-9_]{8}")
STALE = 3600.0  # seconds after which what a dead run left is anybody's to remove
YOUNG = 60.0  # seconds, of a holder that has no lock: its maker needs a moment for it
FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be too big",
}


class Workspace:
    """A directory being written. `publish` puts it in place; without that it vanishes."""

    def __init__(self, part: Path, target: Path) -> None:
        self.path = part
        self.target = target
        self.published = False

    def publish(self, others: Sequence[tuple[Path, Path]] = ()) -> Path:
        """Put it in its place, and `others` (what, where) in theirs: all of them or none.

        What was there (ours: checked at the start, and once more here) goes away afterwards.
        """
        self.path.chmod(0o777 & ~_umask())
        mark(self.path)
        refuse_foreign(self.target)
        place_all([(self.path, self.target), *others])
        self.published = True
        return self.target


class _Placed(enum.Enum):
    """How something came into its place, and so how it is taken back."""

    NEW = enum.auto()
    EXCHANGED = enum.auto()
    MOVED_ASIDE = enum.auto()


def place_all(moves: Sequence[tuple[Path, Path]]) -> None:
    """Move each into its place; when one cannot be, take the others back. Signals wait until it is over."""
    with signals.held_back():
        done: list[tuple[Path, Path, _Placed]] = []
        try:
            for new, target in moves:
                done.append((new, target, _place(new, target)))
        except BaseException:
            for new, target, how in reversed(done):
                with contextlib.suppress(OSError):
                    _take_back(new, target, how)
            raise


def _place(new: Path, target: Path) -> _Placed:
    """The new one at `target`, and what was there in its stead, or beside it as `old`."""
    if not os.path.lexists(target):
        new.rename(target)
        return _Placed.NEW
    if _exchange(new, target):
        return _Placed.EXCHANGED
    old = new.with_name(OLD)
    target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        old.rename(target)
        raise
    return _Placed.MOVED_ASIDE


def _take_back(new: Path, target: Path, how: _Placed) -> None:
    match how:
        case _Placed.NEW:
            target.rename(new)
        case _Placed.EXCHANGED:
            _exchange(new, target)
        case _Placed.MOVED_ASIDE:
            target.rename(new)
            new.with_name(OLD).rename(target)
        case _:
            assert_never(how)


_libc = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # renameat2(2)


def _exchange(new: Path, target: Path) -> bool:
    """Exchange two names in one step; False where the kernel or the file system cannot."""
    sys.audit("os.rename", str(new), str(target), -1, -1)
    try:
        call = _libc.renameat2
    except AttributeError:  # an old C library
        return False
    if call(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(target), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number), str(target))


@contextlib.contextmanager
def workspace(target: Path) -> Iterator[Workspace]:
    """A workspace for an output directory. Raises SlimmerError when the place is not ours or not writable."""
    target = Path(os.path.abspath(target))
    refuse_foreign(target)
    space: Workspace | None = None
    try:
        with named_causes(), beside(target, "the output", "-o DIR") as part:
            part.mkdir(mode=0o700)
            space = Workspace(part, target)
            yield space
    except KeyboardInterrupt as stop:
        if space is None or not space.published:
            raise
        number = getattr(stop, "number", signal.SIGINT)
        raise Interrupted(number, f"it came late: {target} is published, and whole") from None
    except MemoryError:
        if space is None or not space.published:
            raise
        raise SlimmerError("out of memory", f"it came late: {target} is published, and whole") from None


@contextlib.contextmanager
def named_causes() -> Iterator[None]:
    """Turns what the machine lacks (room, descriptors) into a SlimmerError that says what, and what to do."""
    try:
        yield
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        if error.errno in FULL:
            raise SlimmerError(
                f"{FULL[error.errno]}{where}",
                "nothing was published; make room, or name another place with -o DIR and TMPDIR",
            ) from error
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise SlimmerError(
                f"too many open files{where}", "nothing was published; allow more with `ulimit -n`"
            ) from error
        raise


@contextlib.contextmanager
def beside(target: Path, what: str, option: str) -> Iterator[Path]:
    """A name beside a place, for what is put there when it is whole; it and what it replaced vanish afterwards.

    Removes what killed runs left there. Raises SlimmerError, with `what` and `option` for a person.
    """
    target = Path(os.path.abspath(target))
    holder: Path | None = None
    lock = -1
    try:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            clean(target)
            with signals.held_back():  # a signal between the making and its being known here would leave it
                holder = Path(tempfile.mkdtemp(prefix=f".{target.name}.part-", dir=target.parent))
                making = holder / "making"
                lock = os.open(making, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                fcntl.flock(lock, fcntl.LOCK_EX)
                os.write(lock, LOCKED)
                making.rename(holder / LOCK)  # so that it is never seen free
        except OSError as error:
            raise SlimmerError(
                f"cannot write {what} beside {target}: {error.strerror}", f"name another place with {option}"
            ) from error
        yield holder / NEW
    finally:
        if holder is not None:
            _remove(holder)
        if lock >= 0:
            os.close(lock)


@contextlib.contextmanager
def emptied_on_failure(target: Path) -> Iterator[None]:
    """For an empty directory that is filled where it stands: it is empty again when that, or what follows, fails."""
    try:
        yield
    except BaseException:
        for each in target.iterdir():
            if each.is_dir() and not each.is_symlink():
                session_directory.empty(str(each))
            else:
                each.unlink(missing_ok=True)
        raise


def clean(target: Path) -> tuple[str, ...]:
    """Remove what killed runs left beside a place: theirs of the same name at once, others' after an hour."""
    removed = []
    for found in _holders(target.parent):
        match = HOLDER.fullmatch(found.name)
        same = match is not None and match["name"] == target.name
        lock = _claim(Path(found.path), STALE if not same else 0.0)
        if lock < 0:
            continue
        try:
            _put_back(Path(found.path), target.parent / match["name"] if match else target)
            _remove(Path(found.path))
            removed.append(found.path)
        finally:
            os.close(lock)
    session_directory.clean()
    return tuple(removed)


def _holders(directory: Path) -> list[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        return [
            each
            for each in entries
            if HOLDER.fullmatch(each.name) and each.is_dir(follow_symlinks=False) and _own(each)
        ]


def _own(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.stat(follow_symlinks=False).st_uid == os.geteuid()
    except OSError:
        return False


def _claim(holder: Path, age: float) -> int:
    """The lock of a dead run's holder, taken; negative when it is alive, young, or no holder of ours."""
    try:
        lock = os.open(holder / LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        _remove_unlocked(holder)
        return -1
    except OSError:
        return -1
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(lock)
        # Nobody else has removed it, it is what `beside` wrote, and old enough.
        if status.st_nlink and os.read(lock, 64) == LOCKED and time.time() - status.st_mtime >= age:
            return lock
    except OSError:
        pass
    os.close(lock)
    return -1


def _remove_unlocked(holder: Path) -> None:
    """One whose maker was killed before it had its lock is empty but for the beginning of one."""
    with contextlib.suppress(OSError):
        if time.time() - holder.stat().st_mtime > YOUNG and set(os.listdir(holder)) <= {"making"}:
            (holder / "making").unlink(missing_ok=True)
            holder.rmdir()


def _put_back(holder: Path, target: Path) -> None:
    """A run that was killed between two renames: what it had moved aside is what stood there."""
    old = holder / OLD
    if os.path.lexists(old) and not os.path.lexists(target):
        old.rename(target)


def _remove(holder: Path) -> None:
    """All of it, whatever comes between: a signal that came meanwhile is heard afterwards."""
    came: BaseException | None = None
    with signals.held_back():
        for _ in range(3):
            try:
                _clear(holder)
            except (KeyboardInterrupt, MemoryError) as error:
                came = error
            if not os.path.lexists(holder):
                break
    if came is not None:
        raise came


def _clear(holder: Path) -> None:
    """The lock goes last: until then whoever is killed leaves something that is known for what it is."""
    for name in (NEW, OLD, "making"):
        place = holder / name
        with contextlib.suppress(OSError):
            if place.is_dir() and not place.is_symlink():
                session_directory.empty(str(place))  # a tree may hold directories that nobody may enter
            else:
                place.unlink()
    shutil.rmtree(holder, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
