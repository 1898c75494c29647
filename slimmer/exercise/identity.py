"""`--user NAME|UID[:GROUP|GID]` in the root's own /etc/passwd and /etc/group, as container runtimes read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from slimmer.errors import SlimmerError, UsageProblem
from slimmer.root.model import Root
from slimmer.values import IDS, natural
from tracer.session import Identity


@dataclass(frozen=True, slots=True)
class Account:
    """Who a run is: numbers, and the home directory for $HOME."""

    identity: Identity
    home: str = "/"
    name: str = ""


def account(root: Root, user: str) -> Account:
    """The account that `user` names ("" is root). Raises UsageProblem when the root does not know a name."""
    name, _, group = user.partition(":")
    row = next((each for each in _rows(root, "/etc/passwd", 7) if name in (each[0], each[2])), None) if name else None
    number = natural(name or "0", IDS)
    if not name:
        row = next((each for each in _rows(root, "/etc/passwd", 7) if each[2] == "0"), None)
    if row is not None:
        uid, gid, home, login = int(row[2]), int(row[3]), row[5] or "/", row[0]
    elif number is not None:
        uid, gid, home, login = number, 0, "/", ""
    else:
        raise UsageProblem(f"no user {name!r} in {root.name}'s /etc/passwd", "name one that is there, or a number")
    if group:
        gid = _group(root, group)
        return Account(Identity(uid, gid, ()), home, login)
    extra = {int(each[2]) for each in _rows(root, "/etc/group", 4) if login and login in each[3].split(",")}
    return Account(Identity(uid, gid, tuple(sorted(extra - {gid}))), home, login)


def _group(root: Root, group: str) -> int:
    for row in _rows(root, "/etc/group", 4):
        if row[0] == group:
            return int(row[2])
    number = natural(group, IDS)
    if number is not None:
        return number
    raise UsageProblem(f"no group {group!r} in {root.name}'s /etc/group", "name one that is there, or a number")


def _rows(root: Root, path: str, width: int) -> Iterator[list[str]]:
    try:
        text = root.read(path, 1 << 22).decode("utf-8", "surrogateescape")
    except SlimmerError:
        return
    for line in text.splitlines():
        fields = line.split(":")
        numbers = fields[2:4] if width == 7 else fields[2:3]
        if len(fields) >= width and all(natural(each, IDS) is not None for each in numbers):
            yield fields
