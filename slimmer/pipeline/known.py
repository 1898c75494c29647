"""What a former run worked out of the same things: the closure, and the lists of the review.

Both follow from the root, the recording and the recipe alone. Where the root is as it was (`root.state`), and the
others are byte for byte the same, they are taken from the store of facts; what is packed and checked is packed and
checked anew all the same. Where files of the root have changed, the closure still is what it was if all that it asked
of them has the same answer (`root.noting`): an application's source of which the rules read the same.

Nothing is kept of a root that changed while it was read, nor of a closure in which a file was given up for the time
that it took.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slimmer.closure.model import Application, ClosureWarning, Level, Omission, Reason
from slimmer.closure.profiles import load
from slimmer.closure.profiles.drops import Dropped
from slimmer.closure.worklist import Closure, Kept
from slimmer.facts import plain
from slimmer.facts.remember import in_use, keep, recall
from slimmer.packages.index import Index
from slimmer.recipe import Miss, Recipe
from slimmer.report.build import RemovedSums
from slimmer.root.model import FileType, Root
from slimmer.root.noting import NotingRoot, holds, noting
from slimmer.root.state import MOST, State, changed, seen
from tracer.recording import Recording

_CLOSURE, _REVIEW, _NOTES, _TABLE, _LATEST = "closure", "review", "notes", "table", "latest"
_REMOVED, _SUMS = "removed", "removed's sums"
MOST_CHANGED = 64  # files; where more have changed it is rather another root
NOTHING = State()


@dataclass(frozen=True, slots=True)
class Grown:
    """A closure, and what of the application's own files was left out of it."""

    closure: Closure
    dropped: tuple[Dropped, ...]


@dataclass(frozen=True, slots=True)
class _Stored:
    """The same as plain data. Reasons are told once each; a path has their numbers, and the level of each."""

    reasons: tuple[Reason, ...]
    kept: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    warnings: tuple[ClosureWarning, ...]
    omissions: tuple[Omission, ...]
    refused: tuple[tuple[str, tuple[Reason, ...]], ...]
    dropped: tuple[Dropped, ...]


@dataclass(frozen=True, slots=True)
class Removed:
    """What does not stay, of the same kept paths: the text of removed.json, and what else the report says of it."""

    text: str
    sums: RemovedSums
    rows: int
    unsearched: int  # see Rows
    unreadable: tuple[str, ...]


class Known:
    """What is known of one root, recording and recipe; without a state, nothing, and nothing is kept.

    `reading` and `packages` are roots that note what they are asked: by the one the closure is to be grown, by the
    other the packages were read.
    """

    def __init__(
        self,
        root: Root | None = None,
        state: State = NOTHING,
        parts: tuple[bytes, ...] = (),
        reading: Root | None = None,
        packages: Root | None = None,
        waiting: dict[tuple[str, tuple[bytes, ...]], bytes] | None = None,
    ) -> None:
        self._root = root
        self._state = state
        self._parts = parts
        self.reading = reading
        self._packages = packages
        self._waiting = {} if waiting is None else waiting  # what is kept as soon as the root is seen to be the same

    def closure(self, repairs: Sequence[Miss]) -> Grown | None:
        """As it was grown from the same, or from what gives the same answers; None where neither is known."""
        if not self._state.digest:
            return None
        parts = self._of(repr(tuple(repairs)))
        text = recall(_CLOSURE, parts)
        if text is None:
            text = self._former(parts)
        if text is not None:
            with contextlib.suppress(plain.Unfit, IndexError, ValueError):
                return _grown(plain.load(_Stored, text))
        return None

    def _former(self, parts: tuple[bytes, ...]) -> bytes | None:
        """The closure of the same root as it was last, if all that the closure asked it has the same answer now."""
        was, notes, _ = self._as_before(parts)
        if not was:
            return None
        text = recall(_CLOSURE, was)
        if text is not None:
            self._wait(parts, text, notes)
        return text

    def _as_before(self, parts: tuple[bytes, ...]) -> tuple[tuple[bytes, ...], bytes, list[str]]:
        """Under which name something is kept of the root as it was, by which notes, and what has changed since.

        No name where nothing is, or where it may be another thing now.
        """
        nothing: tuple[tuple[bytes, ...], bytes, list[str]] = ((), b"", [])
        state = recall(_LATEST, parts[1:])
        if state is None or self._root is None:
            return nothing
        was = (state, *parts[1:])
        table, notes = recall(_TABLE, (state,)), recall(_NOTES, was)
        differing = changed(table, self._state.table) if table and notes else None
        if notes is None or differing is None or len(differing) > MOST_CHANGED:
            return nothing
        try:
            return (was, notes, differing) if holds(notes, differing, self._root) else nothing
        except (ValueError, TypeError, LookupError, AttributeError):  # no notes
            return nothing

    def keep_closure(self, repairs: Sequence[Miss], grown: Grown) -> None:
        """For the next one, as soon as `write` sees that the root did not change."""
        if self._state.digest and not any(each.kind == "unread" for each in grown.closure.warnings):
            notes = b""
            if isinstance(self.reading, NotingRoot) and isinstance(self._packages, NotingRoot):
                notes = self.reading.notes(self._packages)
            self._wait(self._of(repr(tuple(repairs))), plain.dump(_stored(grown)), notes)

    def _wait(self, parts: tuple[bytes, ...], text: bytes, notes: bytes) -> None:
        self._waiting[_CLOSURE, parts] = text
        if notes and self._state.table:
            self._waiting[_NOTES, parts] = notes
            self._waiting[_TABLE, parts[:1]] = self._state.table
            self._waiting[_LATEST, parts[1:]] = self._state.digest

    def after(self, repairs: Sequence[Miss]) -> Known:
        """What is known when these are part of the plan."""
        parts = self._of(repr(tuple(repairs)))[1:]
        return Known(self._root, self._state, parts, self.reading, self._packages, self._waiting)

    def review(self, told: Sequence[str]) -> Mapping[str, str] | None:
        """Texts of files by name, as they were written of the same; `told` is all else that they say."""
        text = recall(_REVIEW, self._of(*told)) if self._state.digest else None
        if text is None:
            return None
        return dict(json.loads(text))

    def keep_review(self, told: Sequence[str], files: Sequence[Path]) -> None:
        """For the next one, as `keep_closure`."""
        if self._state.digest:
            texts = {each.name: each.read_text(encoding="ascii") for each in files}
            self._waiting[_REVIEW, self._of(*told)] = json.dumps(texts).encode()

    def removed(self, told: str, kept: Sequence[str]) -> Removed | None:
        """As the rows were written of the same removed files, packages and kept paths. `told` is all else they say."""
        if not self._state.digest or self._root is None:
            return None
        parts = self._removed_of(told, kept)
        text, sums = recall(_REMOVED, parts), recall(_SUMS, parts)
        if text is None or sums is None:
            was, notes, differing = self._as_before(parts)
            stays = {path for path in kept if path in set(differing)}
            text, sums = (recall(_REMOVED, was), recall(_SUMS, was)) if was else (None, None)
            if text is None or sums is None or not all(each in stays or self._is_directory(each) for each in differing):
                return None
            self._wait_removed(parts, text, sums, notes)
        with contextlib.suppress(plain.Unfit, ValueError):
            found: Removed = plain.load(Removed, sums)
            return replace(found, text=text.decode("ascii"))
        return None

    def keep_removed(self, told: str, kept: Sequence[str], removed: Removed) -> None:
        """For the next one, as `keep_closure`."""
        if self._state.digest and isinstance(self._packages, NotingRoot):
            sums = plain.dump(replace(removed, text=""))  # the text is kept as it is, beside them
            parts = self._removed_of(told, kept)
            self._wait_removed(parts, removed.text.encode("ascii"), sums, self._packages.notes())

    def _wait_removed(self, parts: tuple[bytes, ...], text: bytes, sums: bytes, notes: bytes) -> None:
        self._waiting[_REMOVED, parts] = text
        self._waiting[_SUMS, parts] = sums
        if self._state.table:
            self._waiting[_NOTES, parts] = notes
            self._waiting[_TABLE, parts[:1]] = self._state.table
            self._waiting[_LATEST, parts[1:]] = self._state.digest

    def _removed_of(self, told: str, kept: Sequence[str]) -> tuple[bytes, ...]:
        paths = hashlib.blake2b("\0".join(kept).encode("utf-8", "surrogateescape"), digest_size=24).digest()
        return (self._state.digest, self._parts[0], _REMOVED.encode(), told.encode("utf-8", "surrogatepass"), paths)

    def _is_directory(self, path: str) -> bool:
        entry = self._root.entry(path) if self._root is not None else None
        return entry is not None and entry.type is FileType.DIRECTORY

    def write(self) -> None:
        """Keep what is to be kept, unless the root has changed since the beginning."""
        if self._waiting and self._root is not None and seen(self._root).digest == self._state.digest:
            for (name, parts), value in self._waiting.items():
                keep(name, parts, value)
        self._waiting.clear()

    def _of(self, *more: str) -> tuple[bytes, ...]:
        return (self._state.digest, *self._parts, *(each.encode("utf-8", "surrogatepass") for each in more))


def known(
    root: Root, recording: Recording, application: Application, recipe: Recipe, packages: Index | None = None
) -> Known:
    """What may be known. `packages`: read from a root as Known says. Raises SlimmerError for a profile that is none."""
    # Shared directories are listed again and again; with so many the root is too large in any case.
    large = packages is not None and packages.listed() > 2 * MOST
    state = seen(root) if in_use() and not large else NOTHING
    if not state.digest:
        return Known()
    parts = (
        root.name.encode("utf-8", "surrogateescape"),
        replace(recording, notes=()).dump().encode("utf-8", "surrogatepass"),
        repr((application, recipe.reach, recipe.image)).encode("utf-8", "surrogatepass"),
        *load.texts(recipe.reach.profiles),
    )
    return Known(root, state, parts, noting(root), packages.root if packages is not None else None)


def _stored(grown: Grown) -> _Stored:
    closure = grown.closure
    numbers: dict[Reason, int] = {}
    kept = tuple(
        (path, tuple(numbers.setdefault(each, len(numbers)) for each in found.reasons), tuple(map(int, found.since)))
        for path, found in closure.paths.items()
    )
    refused = tuple(closure.refused.items())
    return _Stored(tuple(numbers), kept, closure.warnings, closure.left_out, refused, grown.dropped)


def _grown(stored: _Stored) -> Grown:
    """Raises IndexError, ValueError."""
    paths = {
        path: Kept(tuple(stored.reasons[each] for each in numbers), tuple(Level(each) for each in since))
        for path, numbers, since in stored.kept
    }
    return Grown(Closure(paths, stored.warnings, stored.omissions, dict(stored.refused)), stored.dropped)
