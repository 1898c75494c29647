"""The output directory: written beside its place, renamed into it whole, or not there at all.

    .slim-out.part-XXXXXXXX/     while it is written; its lock file is held as long as the run lives
    slim-out/                    afterwards

A killed run leaves its part directory behind without a lock holder: the next run removes it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from slimmer.errors import SlimmerError

MARK = "recipe.toml"  # what every output has, and what makes a directory ours
LOCK = ".lock"


class Workspace:
    """A directory being written. `publish` puts it in place; without that it vanishes."""

    def __init__(self, part: Path, target: Path) -> None:
        self.path = part
        self.target = target

    def publish(self) -> Path:
        """Rename into place; what was there (ours: checked at the start) goes away afterwards."""
        (self.path / LOCK).unlink(missing_ok=True)
        self.path.chmod(0o777 & ~_umask())
        old: Path | None = None
        refuse_foreign(self.target)
        if self.target.is_symlink() or self.target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{self.target.name}.part-", dir=self.target.parent))
            self.target.rename(old / "old")
        try:
            self.path.rename(self.target)
        except OSError:
            if old is not None:
                (old / "old").rename(self.target)
            raise
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)
        return self.target


@contextlib.contextmanager
def workspace(target: Path) -> Iterator[Workspace]:
    """A workspace for an output directory. Raises SlimmerError when the place is not ours or not writable."""
    target = Path(os.path.abspath(target))
    refuse_foreign(target)
    try:
        with beside(target, "the output", "-o DIR") as part:
            yield Workspace(part, target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SlimmerError(
                f"the disk is full: {error.filename or target.parent}",
                "nothing was published; make room, or name another place with -o DIR and TMPDIR",
            ) from error
        raise


@contextlib.contextmanager
def beside(target: Path, what: str, option: str) -> Iterator[Path]:
    """A new directory beside a place, for what is renamed into it when it is whole; it vanishes afterwards.

    Removes what killed runs left there. Raises SlimmerError, with `what` and `option` for a person.
    """
    target = Path(os.path.abspath(target))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        clean(target)
        part = Path(tempfile.mkdtemp(prefix=f".{target.name}.part-", dir=target.parent))
    except OSError as error:
        raise SlimmerError(
            f"cannot write {what} beside {target}: {error.strerror}", f"name another place with {option}"
        ) from error
    lock = os.open(part / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield part
    finally:
        os.close(lock)
        shutil.rmtree(part, ignore_errors=True)


def refuse_foreign(target: Path) -> None:
    """Raises SlimmerError when something stands there that is not an output of slimmer."""
    if target.is_dir() and not target.is_symlink():
        names = {entry.name for entry in os.scandir(target)}
        if not names or MARK in names:
            return
        raise SlimmerError(
            f"{target} exists and is not an output of slimmer (no {MARK} in it)",
            "move it away, or name another place with -o DIR",
        )
    if target.is_symlink() or target.exists():
        raise SlimmerError(f"{target} exists and is not a directory", "move it away, or name another place with -o DIR")


def clean(target: Path) -> tuple[str, ...]:
    """Remove what killed runs left beside a place; says what it removed."""
    removed = []
    for part in [each for each in target.parent.iterdir() if each.name.startswith(f".{target.name}.part-")]:
        try:
            lock = os.open(part / LOCK, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            lock = -1  # an old output that was moved aside, or a part killed before its lock: nobody works in it
        except OSError:
            continue
        try:
            if lock >= 0:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # alive
        else:
            shutil.rmtree(part, ignore_errors=True)
            removed.append(str(part))
        finally:
            if lock >= 0:
                os.close(lock)
    return tuple(removed)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
