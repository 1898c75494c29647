"""How the pipeline says what it does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

from slimmer.exercise.observer import Observer

Tell = Callable[[str], None]  # how far a phase has come: "1,204 paths", "12 of 33 MB"


class Phase(Protocol):
    """`starts_programs`: the phase forks."""

    def __call__(self, name: str, *, starts_programs: bool = False) -> AbstractContextManager[Tell]: ...


def _to_nobody(text: str) -> None:
    pass


def _untimed(name: str, *, starts_programs: bool = False) -> AbstractContextManager[Tell]:
    return nullcontext(_to_nobody)


@dataclass(frozen=True, slots=True)
class Progress:
    """How the pipeline says what it does: `say` for lines, `observer` for runs, `phase` around what takes its time."""

    say: Callable[[str], None] = lambda text: None
    observer: Observer = field(default_factory=Observer)
    phase: Phase = _untimed


def paths_to(tell: Tell) -> Callable[[int], None]:
    """Tells how many paths there are by now."""
    return lambda count: tell(f"{count:,} paths")


def bytes_to(tell: Tell, total: int) -> Callable[[int], None]:
    """Tells how many of all bytes are done, from how many more are each time."""
    done = 0

    def more(count: int) -> None:
        nonlocal done
        done += count
        tell(f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB")

    return more
