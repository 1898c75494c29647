"""Layers by how often they change: what moves least lies lowest, so that a new release moves only its own.

A border is stable when nothing above it can change what lies below. So names of one
file (hard links) stay together in the lowest layer that wants one, and the highest
layer repeats every directory with its true time, which installing something there
has changed; below, all directories stand with time zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from slimmer.errors import SlimmerError
from slimmer.root.model import FileType, Root, sort_key

ORDER = ("os", "runtime", "application")


@dataclass(frozen=True, slots=True)
class Group:
    """One layer to be: its paths, sorted, and those directories of it whose time the highest group gives."""

    name: str
    paths: tuple[str, ...]
    carried: frozenset[str] = frozenset()


def split(
    root: Root, paths: Iterable[str], group_of: Callable[[str], str], order: Sequence[str] = ORDER
) -> tuple[Group, ...]:
    """Canonical paths in groups, lowest layer first; groups without a path are left out.

    `group_of` gives a path's group, one of `order`. A directory stands in its group,
    in every group that holds something below it (the writer adds parents), and in the highest.
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
    used = [rank for rank in range(len(order)) if members[rank]]
    if not used:
        return ()
    top = used.pop()
    everywhere = set().union(*(holds[rank] for rank in used))
    groups = [Group(order[rank], _sorted(members[rank]), frozenset(holds[rank])) for rank in used]
    return (*groups, Group(order[top], _sorted(everywhere.union(members[top]))))


def _sorted(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(paths, key=sort_key))


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
