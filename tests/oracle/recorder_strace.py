"""Which paths a run touched, by strace's word: its output parsed on its own, without the tables of the recorder.

strace prints strings as hex (-xx), whole (-s), with the paths of descriptors (-y), one
line a call in the order in which they happened. Working directories and roots are
followed from the calls that change them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_FIRST = """open creat execve uselib stat lstat stat64 lstat64 oldstat oldlstat access readlink statfs statfs64 chdir
    chroot mkdir mknod rmdir unlink chmod chown lchown chown32 lchown32 utime utimes truncate truncate64 setxattr
    lsetxattr getxattr lgetxattr listxattr llistxattr removexattr lremovexattr umount umount2 swapon swapoff
    acct""".split()  # noqa: SIM905
_AT = """openat openat2 newfstatat fstatat64 statx faccessat faccessat2 readlinkat mkdirat mknodat unlinkat fchmodat
    fchmodat2 fchownat futimesat utimensat execveat name_to_handle_at open_tree fspick
    mount_setattr""".split()  # noqa: SIM905

# name: (position of the directory descriptor or None, position of the path), …
CALLS: dict[str, tuple[tuple[int | None, int], ...]] = {
    **dict.fromkeys(_FIRST, ((None, 0),)),
    **dict.fromkeys(_AT, ((0, 1),)),
    "rename": ((None, 0), (None, 1)),
    "link": ((None, 0), (None, 1)),
    "renameat": ((0, 1), (2, 3)),
    "renameat2": ((0, 1), (2, 3)),
    "linkat": ((0, 1), (2, 3)),
    "move_mount": ((0, 1), (2, 3)),
    "symlink": ((None, 1),),
    "symlinkat": ((1, 2),),
    "pivot_root": ((None, 0), (None, 1)),
    "mount": ((None, 1),),
    "inotify_add_watch": ((None, 1),),
    "fanotify_mark": ((3, 4),),
    "quotactl": ((None, 1),),
}
ADDRESSES = {"bind": 1, "connect": 1, "sendto": 4}
FOLLOWED = "fchdir,clone,clone3,fork,vfork"
OPTIONS = ("-f", "-qq", "-xx", "-y", "-s", "5000", "--signal=none")

_LINE = re.compile(r"^(\d+) +(.*)$")
_UNFINISHED = re.compile(r"^(\w+)\((.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>(.*)$")
_WHOLE = re.compile(r"^(\w+)\((.*)$")
_UNIX = re.compile(r'sun_path="((?:\\x[0-9a-f]{2})+)"')
_BORN = re.compile(r"= (\d+)(?:<.*>)?$")


def command(output: Path, argv: Sequence[str]) -> list[str]:
    """The command line that writes what `touched` reads."""
    calls = ",".join("?" + name for name in (*CALLS, *ADDRESSES))
    return ["strace", *OPTIONS, "-e", f"trace={calls},{FOLLOWED}", "-o", str(output), "--", *argv]


@dataclass(slots=True)
class _Place:
    """Where a process stands; shared by threads."""

    root: str
    cwd: str


@dataclass(slots=True)
class Touched:
    """What strace saw."""

    paths: set[str] = field(default_factory=set)
    calls: int = 0


def touched(output: Path, cwd: str) -> Touched:
    """Every path that was named: absolute, inside the root that strace itself ran in, not normalised."""
    result = Touched()
    places: dict[str, _Place] = {}
    started: dict[str, str] = {}
    orphans: list[str] = []  # children whose parent's clone has not returned yet
    for line in output.read_text(errors="surrogateescape").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        tid, text = match.groups()
        if tid not in places:
            if not places:
                places[tid] = _Place("", cwd)
            else:
                orphans.append(tid)
                places[tid] = _parent(started, places)
        unfinished = _UNFINISHED.match(text)
        if unfinished:
            started[tid] = f"{unfinished[1]}({unfinished[2]}"
            _named(unfinished[1], unfinished[2], places[tid], result)
            continue
        resumed = _RESUMED.match(text)
        if resumed:
            text = started.pop(tid, resumed[1] + "(") + resumed[2]
        whole = _WHOLE.match(text)
        if whole is None:
            continue
        name, rest = whole.groups()
        if not resumed or name == "openat2":
            _named(name, rest, places[tid], result)
        _moved(name, rest, tid, places, orphans)
    return result


def _parent(started: dict[str, str], places: dict[str, _Place]) -> _Place:
    """A child that spoke before its parent's clone returned: of one whose clone is under way."""
    for tid, text in started.items():
        if text.startswith(("clone", "fork", "vfork")):
            mine = places[tid]
            return mine if "CLONE_FS" in text else _Place(mine.root, mine.cwd)
    raise ValueError("a child without a parent")


def _moved(name: str, rest: str, tid: str, places: dict[str, _Place], orphans: list[str]) -> None:
    place = places[tid]
    if name in ("clone", "clone3", "fork", "vfork"):
        born = _BORN.search(rest)
        if born and born[1] not in places:
            places[born[1]] = place if "CLONE_FS" in rest else _Place(place.root, place.cwd)
    elif rest.rstrip().endswith("= 0"):
        arguments = list(split(rest))
        if name == "chdir":
            place.cwd = os.path.realpath(_join(place, place.cwd, _text(arguments[0]) or "."))
        elif name == "fchdir":
            place.cwd = _of_descriptor(arguments[0]) or place.cwd
        elif name == "chroot":
            place.root = os.path.realpath(_join(place, place.cwd, _text(arguments[0]) or ".")).rstrip("/")


def _named(name: str, rest: str, place: _Place, result: Touched) -> None:
    result.calls += 1
    arguments = list(split(rest))
    if name in ADDRESSES:
        unix = _UNIX.search(rest)
        if unix:
            result.paths.add(_join(place, place.cwd, _unhex(unix[1])))
        return
    for directory, position in CALLS.get(name, ()):
        if position >= len(arguments):
            continue
        raw = _text(arguments[position])
        if not raw:
            continue
        base: str | None = place.cwd
        if directory is not None and not arguments[directory].startswith("AT_FDCWD") and not raw.startswith("/"):
            base = _of_descriptor(arguments[directory])
            if base is None or not base.startswith("/"):
                continue  # a bad descriptor, or one that is no directory
        result.paths.add(_join(place, base or "/", raw))


def _join(place: _Place, base: str, raw: str) -> str:
    if raw.startswith("/"):
        return place.root + raw
    return f"{base.rstrip('/')}/{raw}"


def split(text: str) -> Iterator[str]:
    """The arguments of a call, at the commas that are not inside anything."""
    depth, begin, quoted = 0, 0, False
    for place, letter in enumerate(text):
        if letter == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif letter in "([{<":
            depth += 1
        elif letter in ")]}>":
            if letter == ")" and depth == 0:
                yield text[begin:place].strip()
                return
            depth -= letter != ">" or text[place - 1] != "-"
        elif letter == "," and depth == 0:
            yield text[begin:place].strip()
            begin = place + 1
    yield text[begin:].strip()


def _text(argument: str) -> str | None:
    match = re.match(r'^"((?:\\x[0-9a-f]{2})*)"', argument)
    return _unhex(match[1]) if match else None


def _of_descriptor(argument: str) -> str | None:
    match = re.match(r"^\w+<([^>]*)>", argument)
    return _unhex(match[1]) if match else None


def _unhex(text: str) -> str:
    if "\\x" not in text:
        return text
    return os.fsdecode(bytes.fromhex(text.replace("\\x", "")))
