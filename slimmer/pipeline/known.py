"""What a former run worked out of the same things: the closure, and the lists of the review.

Both follow from the root, the recording and the recipe alone. Where the root is as it was (`root.state`), and the
others are byte for byte the same, they are taken from the store of facts; what is packed and checked is packed and
checked anew all the same. Nothing is kept of a root that changed while it was read, nor of a closure in which a file
was given up for the time that it took.
"""

from __future__ import annotations

import contextlib
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
from slimmer.recipe import Miss, Recipe
from slimmer.root.model import Root
from slimmer.root.state import state
from tracer.recording import Recording

_CLOSURE, _REVIEW = "closure", "review"


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


class Known:
    """What is known of one root, recording and recipe; without `state`, nothing, and nothing is kept."""

    def __init__(self, root: Root | None = None, seen: bytes = b"", parts: tuple[bytes, ...] = ()) -> None:
        self._root = root
        self._state = seen
        self._parts = parts

    def closure(self, repairs: Sequence[Miss]) -> Grown | None:
        """As it was grown from the same, or None."""
        text = recall(_CLOSURE, self._of(repr(tuple(repairs)))) if self._state else None
        if text is not None:
            with contextlib.suppress(plain.Unfit, IndexError, ValueError):
                return _grown(plain.load(_Stored, text))
        return None

    def keep_closure(self, repairs: Sequence[Miss], grown: Grown) -> None:
        """For the next one."""
        if self._still() and not any(each.kind == "unread" for each in grown.closure.warnings):
            keep(_CLOSURE, self._of(repr(tuple(repairs))), plain.dump(_stored(grown)))

    def after(self, repairs: Sequence[Miss]) -> Known:
        """What is known when these are part of the plan."""
        return Known(self._root, self._state, self._of(repr(tuple(repairs)))[1:])

    def review(self, told: Sequence[str]) -> Mapping[str, str] | None:
        """Texts of files by name, as they were written of the same; `told` is all else that they say."""
        text = recall(_REVIEW, self._of(*told)) if self._state else None
        if text is None:
            return None
        return dict(json.loads(text))

    def keep_review(self, told: Sequence[str], files: Sequence[Path]) -> None:
        """For the next one. Where one of the files is not there (as it was too large), none is kept."""
        if self._still() and all(each.is_file() for each in files):
            texts = {each.name: each.read_text(encoding="ascii") for each in files}
            keep(_REVIEW, self._of(*told), json.dumps(texts).encode())

    def _still(self) -> bool:
        return bool(self._state) and self._root is not None and state(self._root) == self._state

    def _of(self, *more: str) -> tuple[bytes, ...]:
        return (self._state, *self._parts, *(each.encode("utf-8", "surrogatepass") for each in more))


def known(root: Root, recording: Recording, application: Application, recipe: Recipe) -> Known:
    """What may be known. Raises SlimmerError for a profile that cannot be read."""
    seen = state(root) if in_use() else b""
    if not seen:
        return Known()
    parts = (
        root.name.encode("utf-8", "surrogateescape"),
        replace(recording, notes=()).dump().encode("utf-8", "surrogatepass"),
        repr((application, recipe.reach, recipe.image)).encode("utf-8", "surrogatepass"),
        *load.texts(recipe.reach.profiles),
    )
    return Known(root, seen, parts)


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
