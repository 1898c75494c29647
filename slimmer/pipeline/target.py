"""What may be replaced: an output that says itself what it is, an archive, nothing else.

    slim-out/.slimmer-output      "slimmer.output/1", then every file of the output, one a line

A directory is an output when its marker reads so and names every file that is in it: what somebody
laid there meanwhile, or what the marker's directory became, is not ours to delete.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from slimmer.errors import SlimmerError

MARKER = ".slimmer-output"
FORMAT = "slimmer.output/1"
RECIPE = "recipe.toml"
# What an output held before it had a marker: all of it, and nothing beside it.
UNMARKED = frozenset(
    {
        "image/oci-layout",
        "image/index.json",
        "manifest.json",
        "removed.json",
        "report.json",
        "report.html",
        "recording.json",
        "check.json",
        RECIPE,
    }
)
BLOBS = "image/blobs/sha256/"
ELSEWHERE = "move it away, or name another place with {option}"


def mark(directory: Path) -> None:
    """Write the marker of an output that is complete."""
    names = sorted(name for name in _files(directory) if name != MARKER)
    (directory / MARKER).write_text("\n".join([FORMAT, *names, ""]), encoding="utf-8", errors="surrogateescape")


def mark_folder(directory: Path, folder: str) -> None:
    """Bring a marker up to date where one folder of an output was made anew. What else lies there is still not ours."""
    held = _marked(directory)
    if held is None:
        return
    names = {name for name in held if not name.startswith(f"{folder}/")}
    names |= {f"{folder}/{name}" for name in _files(directory / folder)}
    text = "\n".join([FORMAT, *sorted(names), ""])
    (directory / MARKER).write_text(text, encoding="utf-8", errors="surrogateescape")


def is_output(directory: Path) -> bool:
    """Whether it calls itself an output, or is one of the time before markers."""
    return _marked(directory) is not None or (directory / RECIPE).is_file()


def refuse_foreign(target: Path, option: str = "-o DIR") -> None:
    """Raises SlimmerError unless nothing is there, an empty directory, or an output and nothing but it."""
    elsewhere = ELSEWHERE.format(option=option)
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise SlimmerError(f"{target} exists and is not a directory", elsewhere)
    if not target.is_dir():
        return
    if why := _guarded(target):
        raise SlimmerError(f"{target} is {why}, which is never replaced", f"name a directory in it with {option}")
    if os.listdir(target):
        refuse_more(target, elsewhere)


def replaceable(target: Path) -> bool:
    """Whether an empty directory may give way to another one."""
    return not target.is_symlink() and not _guarded(target)


def refuse_more(target: Path, elsewhere: str) -> None:
    """Raises SlimmerError when a directory holds more than an output does."""
    held = _marked(target)
    found = set(_files(target))
    if held is None and found >= UNMARKED:
        held = frozenset({*UNMARKED, *(name for name in found if name.startswith(BLOBS))})
    if held is None:
        raise SlimmerError(f"{target} exists and is not an output of slimmer (no {MARKER} in it)", elsewhere)
    if foreign := sorted(found - held - {MARKER}):
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise SlimmerError(
            f"{target} exists and is not only an output of slimmer: {foreign[0]}{more} is not of it",
            "move that away, or name another place" + elsewhere.partition("another place")[2],
        )


def refuse_file(target: Path, option: str = "--archive FILE") -> None:
    """Raises SlimmerError unless nothing is there, an empty file, or an archive: what a file may be replaced by one."""
    if target.is_dir():
        raise SlimmerError(f"{target} is a directory", f"name a file in it with {option}")
    try:
        found = os.stat(target)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SlimmerError(f"cannot look at {target}: {error.strerror}", f"name another place with {option}") from error
    if not stat.S_ISREG(found.st_mode):
        raise SlimmerError(f"{target} is no ordinary file", "write to stdout with -, or name a file")
    with contextlib.suppress(PermissionError), open(target, "rb") as stream:
        head = stream.read(512)
        if head and head[257:262] != b"ustar":
            raise SlimmerError(f"{target} exists and is not an archive", ELSEWHERE.format(option=option))


def _guarded(target: Path) -> str:
    """Why a directory is never replaced, whatever is in it."""
    place = os.path.realpath(target)
    here = os.path.realpath(os.curdir)
    if here == place:
        return "the directory you stand in"
    if os.path.commonpath([here, place]) == place:
        return "above the directory you stand in"
    if place in _homes():
        return "a home directory"
    if os.path.lexists(f"{place}/.git"):
        return "a repository"
    if os.path.ismount(place):
        return "a mount point"
    return ""


def _homes() -> frozenset[str]:
    homes = {os.path.realpath(each) for each in (os.environ.get("HOME", ""), "/root") if each}
    with contextlib.suppress(KeyError):
        homes.add(os.path.realpath(pwd.getpwuid(os.geteuid()).pw_dir))
    return frozenset(homes)


def _marked(directory: Path) -> frozenset[str] | None:
    """The files that a marker names; None when there is no marker or it is none."""
    place = directory / MARKER
    try:
        if place.is_symlink() or not place.is_file():
            return None
        lines = place.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    except OSError:
        return None
    return frozenset(filter(None, lines[1:])) if lines[0] == FORMAT else None


def _files(directory: Path) -> Iterator[str]:
    """Everything in it that is no directory, relative; directories that are empty, too."""
    for top, folders, names in os.walk(directory, onerror=_unreadable):
        links = [name for name in folders if os.path.islink(os.path.join(top, name))]
        for name in (*names, *links):
            yield os.path.relpath(os.path.join(top, name), directory)
        if not folders and not names and top != str(directory):
            yield os.path.relpath(top, directory) + "/"


def _unreadable(error: OSError) -> None:
    raise SlimmerError(f"cannot look into {error.filename}: {error.strerror}", "what is in it may not be slimmer's")
