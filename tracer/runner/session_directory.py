"""Temporary directories of sessions: made with a lock that lives as long as a process of the session, removed by
whoever comes next when their owner was killed.

    TMPDIR/slimmer-session-XXXXXXXX/
      lock     flock'ed by the caller and the keeper; free when both are dead
      lower    a symbolic link to the root
      upper/ work/ root/   the overlay
      etc/     hosts, hostname, resolv.conf
      saved/   copies of what a run in the live root changed
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator

from tracer.errors import TracerError
from tracer.kernel import signals, userns

PREFIX = "slimmer-session-"
_YOUNG = 5.0  # seconds in which a directory may be without its lock: its maker is about to make it


def create() -> tuple[str, int]:
    """A new session directory (a real path) and the descriptor that locks it. Raises TracerError."""
    place = ""
    try:
        place = os.path.realpath(tempfile.mkdtemp(prefix=PREFIX))
        lock = os.open(f"{place}/making", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.rename(f"{place}/making", f"{place}/lock")  # so that it is never seen free
    except OSError as error:
        with contextlib.suppress(OSError):  # without a descriptor: there may be none to be had
            os.rmdir(place)
        raise TracerError(
            f"cannot make a temporary directory: {error}", "free some space, or name another place with TMPDIR"
        ) from error
    return place, lock


@contextlib.contextmanager
def directory() -> Iterator[str]:
    """A temporary directory for any use, which goes away with its user, however that one ends. Raises TracerError.

    What killed users left goes first.
    """
    clean()
    place, lock = "", -1
    try:
        with signals.held_back():  # a signal between the making and its being known here would leave it
            place, lock = create()
        yield place
    finally:
        with signals.held_back():
            if lock >= 0:
                os.close(lock)
                remove(place)


def clean() -> tuple[str, ...]:
    """Remove what sessions of this user left that nobody holds any more. Gives what was removed."""
    removed = []
    try:
        candidates = [each for each in os.scandir(tempfile.gettempdir()) if each.name.startswith(PREFIX)]
    except OSError:
        return ()
    for each in sorted(candidates, key=lambda entry: entry.name):
        try:
            status = each.stat(follow_symlinks=False)
        except OSError:
            continue
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and _free(each.path, status.st_ctime):
            remove(each.path)
            if not os.path.lexists(each.path):
                removed.append(each.path)
    return tuple(removed)


def _free(place: str, changed: float) -> bool:
    try:
        lock = os.open(f"{place}/lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return time.time() - changed > _YOUNG
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


def remove(place: str) -> None:
    """Remove a session directory; what belongs to ids of /etc/subuid is removed in a user namespace that has them."""
    empty(place)
    if os.path.lexists(place):
        chosen = userns.plan(0, 0)
        if chosen.map is userns.Map.RANGES:
            with contextlib.suppress(OSError, TracerError):
                within(chosen, lambda: empty(place))
    if os.path.lexists(place):
        with contextlib.suppress(OSError):  # to list a directory takes a descriptor; this takes none
            os.unlink(f"{place}/lock")
            os.rmdir(place)


def empty(place: str) -> None:
    """Remove a tree as far as this process may. An overlay's work directory has mode 000."""

    def open_up(_: Callable[..., object], path: str, __: object) -> None:
        with contextlib.suppress(OSError):
            if path != place:  # above it is everybody's, and another process may be removing it too
                os.chmod(os.path.dirname(path), 0o700)
            if os.path.isdir(path) and not os.path.islink(path):
                os.chmod(path, 0o700)
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.unlink(path)

    for _ in range(3):
        shutil.rmtree(place, onerror=open_up)
        if not os.path.lexists(place):
            return
        with contextlib.suppress(OSError):
            os.rmdir(place)


def within(chosen: userns.Plan, work: Callable[[], None]) -> None:
    """Do something in a forked process with a user namespace that has a plan's ids. Raises OSError, TracerError."""
    ready, made = os.pipe2(os.O_CLOEXEC)
    go, mapped = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            os.close(ready)
            os.close(mapped)
            userns.unshare(userns.NEWUSER)
            os.write(made, b"x")
            if os.read(go, 1):
                work()
        finally:
            os._exit(0)
    try:
        os.close(made)
        os.close(go)
        if os.read(ready, 1):
            userns.write_maps(child, chosen)
            os.write(mapped, b"x")
    finally:
        os.close(ready)
        os.close(mapped)
        os.waitpid(child, 0)
