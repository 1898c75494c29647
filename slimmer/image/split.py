"""Layers by how often they change: what moves least lies lowest, so that a new release moves only its own.

A border is stable when nothing above it can change what lies below: names of one
file (hard links) stay together in the lowest layer that wants one, and the time of
a directory that several layers hold is given by the highest of them only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from slimmer.errors import SlimmerError
from slimmer.root.model import FileType, Root, sort_key

ORDER = ("os", "runtime", "application")


@dataclass(frozen=True, slots=True)
class Group:
    """One layer to be: its paths, sorted, and the directories whose time a later group gives."""

    name: str
    paths: tuple[str, ...]
    carried: frozenset[str] = frozenset()


def split(
    root: Root, paths: Iterable[str], group_of: Callable[[str], str], order: Sequence[str] = ORDER
) -> tuple[Group, ...]:
    """Canonical paths in groups, lowest layer first; groups without a path are left out.

    `group_of` gives a path's group, one of `order`. A directory goes to the lowest group
    and stands again in every group that holds something below it (the writer adds parents).
    Raises SlimmerError for a group that is not in `order`.
    """
    ranks = {name: rank for rank, name in enumerate(order)}
    rank_of: dict[str, int] = {}
    lowest: dict[tuple[int, int], int] = {}
    for path in paths:
        name = group_of(path)
        if name not in ranks:
            raise SlimmerError(f"{path} is in the layer {name!r}, which is none of {', '.join(order)}")
        rank_of[path] = ranks[name]
        identity = _shared(root, path)
        if identity is not None:
            lowest[identity] = min(ranks[name], lowest.get(identity, ranks[name]))
    members: list[list[str]] = [[] for _ in order]
    holds: list[set[str]] = [set() for _ in order]
    for path, rank in rank_of.items():
        identity = _shared(root, path)
        chosen = rank if identity is None else lowest[identity]
        members[chosen].append(path)
        _add_parents(path, holds[chosen])
    for rank, own in enumerate(members):
        holds[rank].update(path for path in own if _is_directory(root, path))
    groups: list[Group] = []
    above: set[str] = set()
    for rank in reversed(range(len(order))):
        if members[rank]:
            groups.append(
                Group(order[rank], tuple(sorted(members[rank], key=sort_key)), frozenset(holds[rank] & above))
            )
            above |= holds[rank]
    return tuple(reversed(groups))


def _shared(root: Root, path: str) -> tuple[int, int] | None:
    entry = root.entry(path)
    if entry is None or entry.type is not FileType.FILE or entry.links < 2 or entry.identity == (0, 0):
        return None
    return entry.identity


def _is_directory(root: Root, path: str) -> bool:
    entry = root.entry(path)
    return entry is not None and entry.type is FileType.DIRECTORY


def _add_parents(path: str, into: set[str]) -> None:
    parent = path.rpartition("/")[0]
    while parent and parent not in into:
        into.add(parent)
        parent = parent.rpartition("/")[0]
