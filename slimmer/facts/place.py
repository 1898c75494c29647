"""Where is kept what can be made again: unpacked images, and facts."""

from __future__ import annotations

import os
import stat
from pathlib import Path

APART = Path("/var/tmp")


def cache_place() -> Path:
    """`$XDG_CACHE_HOME/slimmer`, or `~/.cache/slimmer` as the basedir specification says when that is unset.

    Who has no home, or one that cannot be written (a daemon's user, a container's, a build's) has a directory of
    their own in /var/tmp, which is as lasting. What else of that name is there is not used.
    """
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    if chosen.startswith("/"):
        return Path(chosen) / "slimmer"
    try:
        home = Path.home()
    except RuntimeError:  # nobody knows this user
        return _apart() or Path("/nonexistent/.cache/slimmer")
    place = home / ".cache" / "slimmer"
    return place if _writable(place, home) else _apart() or place


def _writable(place: Path, home: Path) -> bool:
    """Whether a place below a home is there or can be made. A home is nobody's to make."""
    if not os.access(home, os.X_OK) or not home.is_dir():
        return False
    return os.access(next(each for each in (place, *place.parents) if os.path.lexists(each)), os.W_OK | os.X_OK)


def _apart() -> Path | None:
    place = APART / f"slimmer-{os.geteuid()}"
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        found = os.lstat(place)
    except OSError:
        return None
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
    return place if own else None
