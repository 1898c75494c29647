"""Paths that a run looked for and nothing has: kept in a recording as far as they explain it, and bounded.

A program can look for any number of names of any length. What exists in the fat root, and what the run wrote or
executed, is never left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from slimmer.root.model import Root, sort_key
from tracer.recording import Access, Kind, Recording

_FOUND = {Kind.WRITE, Kind.EXEC}


@dataclass(frozen=True, slots=True)
class Limits:
    """Of names in one directory of the fat root, of their bytes, and of the bytes of all."""

    names: int = 5_000
    bytes: int = 1 << 20
    total: int = 8 << 20


DEFAULT = Limits()


@dataclass(slots=True)
class _Place:
    """A directory of the root, reached by the same links: what is kept of the lookups below it."""

    directory: str
    names: int = 0
    bytes: int = 0
    dropped: int = 0


def bounded(recording: Recording, root: Root, limits: Limits = DEFAULT) -> Recording:
    """The same with so many failed lookups below each directory of the root, and a note of how many others there were.

    Those that come first in the recording's order stay, so that it does not depend on the run's; of each directory at
    least one, so that its being looked in is never forgotten.
    """
    if len(recording.accesses) <= limits.names and sum(len(each.path) for each in recording.accesses) <= limits.bytes:
        return recording
    kept: list[Access] = []
    places: dict[tuple[tuple[str, ...], str], _Place] = {}
    total = 0
    for access in recording.accesses:
        found = root.resolve(access.path, follow=False)
        if found.entry is None and not access.kinds & _FOUND:
            directory = _existing(found.path, root)
            place = places.setdefault((found.links, directory), _Place(directory))
            size = len(sort_key(access.path))
            full = place.names >= limits.names or place.bytes + size > limits.bytes or total + size > limits.total
            if place.names and full:
                place.dropped += 1
                continue
            place.names, place.bytes, total = place.names + 1, place.bytes + size, total + size
        kept.append(access)
    notes = (
        f"{place.dropped:,} more names that nothing has were looked for below {place.directory}: "
        "they are left out of the recording"
        for place in places.values()
        if place.dropped
    )
    return replace(recording, accesses=tuple(kept), notes=tuple(sorted({*recording.notes, *notes})))


def _existing(path: str, root: Root) -> str:
    """The deepest part of a canonical path that the root has."""
    above = path.rpartition("/")[0]
    while above and root.entry(above) is None:
        above = above.rpartition("/")[0]
    return above or "/"
