"""Whether one text differs from another only as two of the same source differ: times, ids, tokens, orders."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from dataclasses import dataclass

# A random text is one token, whatever letters and digits it is of: in parts, some of them would be alike by chance. So
# is a time, or a number with its point.
TOKEN = re.compile(
    rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?|\d+(?:[.:]\d+)+(?![A-Za-z0-9])|[A-Za-z0-9]+|\s+|.", re.DOTALL
)
MAX_TOKENS = 20_000
NOISE = 200  # tokens of which hardly any is the same in two fat runs: random bytes, something encrypted


def varies_alike(fat: bytes, again: bytes, slim: bytes) -> bool:
    """Whether slim differs from one fat run only where two fat runs differ from each other: times, ids, ports."""
    if again == slim:
        return True
    if fat == again:
        return False
    one, two, three = (TOKEN.findall(text) for text in (fat, again, slim))
    if max(map(len, (one, two, three))) > MAX_TOKENS:
        return _of_like_size(fat, again, slim)
    loose = _changes(one, two)
    if len(one) > NOISE and len(loose.tokens) > len(one) * 4 / 5 and not any(map(_is_text, (fat, again, slim))):
        return _of_like_size(fat, again, slim)
    if loose.allow(_changes(one, three)) or _another_order(one, two, three, len(one) - len(loose.tokens)):
        return True
    if not _measures(fat, again):
        return False
    # Of measurements any number may differ: by token, where the random texts beside them stay what they are, or whole.
    if loose.allow(_changes(_without_numbers(one), _without_numbers(three))):
        return True
    one, two, three = (TOKEN.findall(without_numbers(text)) for text in (fat, again, slim))
    return _changes(one, two).allow(_changes(one, three))


@dataclass(frozen=True, slots=True)
class _Changes:
    """Which tokens of one text another has not, and before which of them it has more."""

    tokens: frozenset[int]
    points: frozenset[int]

    def allow(self, others: _Changes) -> bool:
        """With a token on each side: what stands in a random text between letters and digits may be alike by chance."""
        room, points = (
            {at + step for at in found for step in (-1, 0, 1)} for found in (self.tokens, self.tokens | self.points)
        )
        return others.tokens <= room and others.points <= points


def _without_numbers(tokens: list[bytes]) -> list[bytes]:
    return [b"0" if MEASURE.fullmatch(token) else token for token in tokens]


def without_numbers(text: bytes) -> bytes:
    """A text in which all numbers are 0."""
    return MEASURE.sub(b"0", text)


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _of_like_size(fat: bytes, again: bytes, slim: bytes) -> bool:
    """All that can be asked of noise, and of texts that are too long to be compared by token."""
    return abs(len(slim) - len(fat)) <= max(64, 4 * abs(len(again) - len(fat)))


def _another_order(one: list[bytes], two: list[bytes], three: list[bytes], in_order: int) -> bool:
    """Whether two fat runs say the same in another order, as tables of Lua and Perl are walked, and slim does too.

    What both say, slim must say as often; what only one of them says is an id or a time. `in_order`: how many tokens
    of both stand in the same order.
    """
    both = Counter(one) & Counter(two)
    return in_order < both.total() - ROOM and both <= Counter(three) and len(three) <= max(len(one), len(two)) + ROOM


ROOM = 2  # tokens that may be equal by chance


NUMBER = re.compile(rb"0x[0-9a-fA-F]+|[0-9]+")
# Addresses, and numbers that are no part of a name, with their unit.
MEASURE = re.compile(rb"0x[0-9a-fA-F]+|(?<![0-9A-Za-z])[0-9]+(?:[.,:][0-9]+)*(?=[A-Za-z]{0,3}(?![0-9A-Za-z]))")
ENOUGH = 3


def _measures(fat: bytes, again: bytes) -> bool:
    """Whether a text tells of measurements: so many of its numbers differ that another may be equal by chance."""
    return (Counter(MEASURE.findall(fat)) - Counter(MEASURE.findall(again))).total() >= ENOUGH


def _changes(one: list[bytes], two: list[bytes]) -> _Changes:
    codes = difflib.SequenceMatcher(None, one, two, autojunk=False).get_opcodes()
    tokens = {at for tag, begin, end, _, _ in codes if tag != "equal" for at in range(begin, end)}
    return _Changes(frozenset(tokens), frozenset(begin for tag, begin, *_ in codes if tag == "insert"))
