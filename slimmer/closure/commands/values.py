"""Texts with holes and lists of them, and what Python's operators make of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from slimmer.closure.commands.literals import HOLE

Value = str | tuple[str, ...]  # a text, or the words of a list
MOST = 12  # values of one expression; further ones are not followed
LONGEST = 4000  # characters of a text; longer ones are no command lines


def split(text: str) -> list[str]:
    """The words of a text; those that hold a hole are unknown, unless they only end in one."""
    return ["" if word.startswith(HOLE) else word.strip("'\"") for word in text.split()]


def elements(values: Iterable[Value], place: int) -> list[Value]:
    """The elements of lists; only those at a place when one is given (-1: all)."""
    found: list[Value] = []
    for value in values:
        if isinstance(value, tuple) and value:
            found += value if place < 0 else value[place : place + 1]
    return [each for each in found if each]


def grow(base: Value, ends: Iterable[Value], how: str) -> Iterator[Value]:
    """What `+=` makes of a text or a list, and `append` of a list."""
    for end in ends:
        if isinstance(base, tuple):
            yield (*base, *(end if isinstance(end, tuple) else (end,)))
        elif isinstance(end, str) and how == "+=":
            yield (base + end)[:LONGEST]


def combined(parts: Sequence[Sequence[str]]) -> list[list[str]]:
    """One choice of each part, as far as there are not too many."""
    found: list[list[str]] = [[]]
    for part in parts:
        found = [[*each, more] for each in found for more in part][:MOST]
    return found


def product(parts: Sequence[Sequence[str]]) -> Iterator[str]:
    """The texts that one choice of each part gives."""
    for each in combined(parts):
        text = "".join(each)
        if len(text) <= LONGEST:
            yield text


def few(values: Iterable[Value], most: int = MOST) -> tuple[Value, ...]:
    """The first distinct values."""
    found: dict[Value, None] = {}
    for value in values:
        found.setdefault(value)
        if len(found) >= most:
            break
    return tuple(found)
