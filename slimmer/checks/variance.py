"""Whether one text differs from another only as two of the same source differ: times, ids, tokens, orders."""

from __future__ import annotations

import bisect
import calendar
import difflib
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

# A random text is one token, whatever letters and digits it is of: in parts, some of them would be alike by chance. So
# is a time, or a number with its point.
TOKEN = re.compile(
    rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?|\d+(?:[.:]\d+)+(?![A-Za-z0-9])|[A-Za-z0-9]+|\s+|.", re.DOTALL
)
MAX_TOKENS = 100_000
MAX_COST = 400_000  # equal pairs of tokens; a page of measurements (15,000 tokens) has 10 million, and took minutes
RUN = 6  # tokens that are alike by chance nowhere
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
    return _changes(one, two).allow(_changes(one, three)) or _of_like_words(one, two, three)


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


def _of_like_words(one: list[bytes], two: list[bytes], three: list[bytes]) -> bool:
    """Whether a table of measurements, of whose rows two fat runs have others, says in slim what they say.

    As a server's status page tells of each worker: each word that both have must be there, and none that neither has.
    """
    words, others, found = ({token for token in text if WORD.fullmatch(token)} for text in (one, two, three))
    rows = Counter(one) != Counter(two)
    return rows and words & others <= found <= words | others and len(one) <= 2 * len(three) <= 4 * len(one)


DATED = re.compile(
    rb"(?P<year>\d{4})[-:/](?P<month>\d\d)[-:/](?P<day>\d\d)[T ](?P<time>\d\d:\d\d:\d\d)(?:\.\d+)?"
    rb"|\b(?:[A-Z][a-z]{2},? )?(?P<name>[A-Z][a-z]{2}) {1,2}(?P<date>\d{1,2}) (?P<clock>\d\d:\d\d:\d\d)"
    rb"(?: [A-Z]{3,4})? (?P<of>\d{4})\b"
)
ZONE = 900  # seconds: times of two zones are multiples of it apart (the IANA database, for dates of our days)
EARLIER = 3600  # seconds; the fat root's run, which reads files, may end after the slim tree was unpacked


def of_other_files(fat: bytes, slim: bytes) -> bool:
    """Whether nothing but dates differ, as those of files do that were unpacked anew.

    No archive keeps when a file was read, changed its owner or was born, and a layer's times are whole seconds (stat,
    exiftool, the head of a diff). Where dates are apart as time zones are, the zone is missing. A date long before the
    fat root's, as the epoch, is no file's that was unpacked anew, but what is said where one is missing.
    """
    if DATED.sub(b"", fat) != DATED.sub(b"", slim):
        return False
    pairs = list(zip(map(_seconds, DATED.finditer(fat)), map(_seconds, DATED.finditer(slim)), strict=True))
    return all(
        one == two
        or (isinstance(one, int) and isinstance(two, int) and one - two < EARLIER and (one - two) % ZONE != 0)
        for one, two in pairs
    )


def _seconds(found: re.Match[bytes]) -> int | bytes:
    """Since 1970, without what is below a second; as it is written where that only looks like a date."""
    year, month, day, clock = found.group("year", "month", "day", "time")
    form = "%Y %m %d %H:%M:%S"
    if year is None:
        year, month, day, clock = found.group("of", "name", "date", "clock")
        form = "%Y %b %d %H:%M:%S"
    try:
        return calendar.timegm(time.strptime(b" ".join((year, month, day, clock)).decode(), form))
    except ValueError:
        return found[0]


ROOM = 2  # tokens that may be equal by chance
WORD = re.compile(rb"[A-Za-z]{2,}")


NUMBER = re.compile(rb"0x[0-9a-fA-F]+|[0-9]+")
# Addresses, and numbers that are no part of a name, with their exponent (8.5e-05) or their unit.
MEASURE = re.compile(
    rb"0x[0-9a-fA-F]+"
    rb"|(?<![0-9A-Za-z])[0-9]+(?:[.,:][0-9]+)*(?:[eE][+-]?[0-9]+(?![0-9A-Za-z])|(?=[A-Za-z]{0,3}(?![0-9A-Za-z])))"
)
ENOUGH = 3


def _measures(fat: bytes, again: bytes) -> bool:
    """Whether a text tells of measurements: so many of its numbers differ that another may be equal by chance."""
    return (Counter(MEASURE.findall(fat)) - Counter(MEASURE.findall(again))).total() >= ENOUGH


def _changes(one: list[bytes], two: list[bytes]) -> _Changes:
    tokens: set[int] = set()
    points: set[int] = set()
    at = other = 0
    for begin, beyond, length in (*_shared(one, two), (len(one), len(two), 0)):
        for tag, first, last in _between(one[at:begin], two[other:beyond]):
            tokens.update(range(at + first, at + last))
            points.update([at + first] if tag == "insert" else ())
        at, other = begin + length, beyond + length
    return _Changes(frozenset(tokens), frozenset(points))


def _between(one: list[bytes], two: list[bytes]) -> Iterator[tuple[str, int, int]]:
    """What is not equal: tag, begin and end in `one`."""
    shortest = min(len(one), len(two))
    begin = next((at for at in range(shortest) if one[at] != two[at]), shortest)
    rest = shortest - begin
    end = next((at for at in range(rest) if one[-1 - at] != two[-1 - at]), rest)
    one, two = one[begin : len(one) - end], two[begin : len(two) - end]
    if not one or not two or _cost(one, two) <= MAX_COST:
        codes = difflib.SequenceMatcher(None, one, two, autojunk=False).get_opcodes()
        yield from ((tag, begin + first, begin + last) for tag, first, last, _, _ in codes if tag != "equal")
    elif len(one) == len(two):
        yield from (("replace", begin + at, begin + at + 1) for at, token in enumerate(one) if token != two[at])
    else:
        yield "replace", begin, begin + len(one)


def _cost(one: list[bytes], two: list[bytes]) -> int:
    """Pairs of equal tokens: SequenceMatcher looks at each for every block that it finds."""
    often = Counter(two)
    return sum(times * often[token] for token, times in Counter(one).items())


def _shared(one: list[bytes], two: list[bytes]) -> list[tuple[int, int, int]]:
    """Where long texts are the same for sure, in order: begin in each, and length. None for short ones.

    As in Cohen's patience diff, by what is in both texts once; here that is a run of tokens instead of a line.
    """
    if _cost(one, two) <= MAX_COST:
        return []
    places, others = (_unique(text) for text in (one, two))
    pairs = [(at, others[run]) for run, at in places.items() if run in others]  # in the order of `one`
    found: list[tuple[int, int, int]] = []
    for at, other in _rising(pairs):
        begin, beyond, length = found[-1] if found else (0, 0, 0)
        if found and at - begin == other - beyond and at <= begin + length:
            found[-1] = (begin, beyond, at + RUN - begin)
        elif at >= begin + length and other >= beyond + length:
            found.append((at, other, RUN))
    return found


def _unique(text: list[bytes]) -> dict[tuple[bytes, ...], int]:
    """The runs of tokens that are in a text once, and where."""
    runs = [tuple(text[at : at + RUN]) for at in range(len(text) - RUN + 1)]
    often = Counter(runs)
    return {run: at for at, run in enumerate(runs) if often[run] == 1}


def _rising(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The most pairs, of those in the order of their first numbers, that are in the order of their second too."""
    ends: list[int] = []  # the smallest second number that ends so many pairs
    last: list[int] = []  # the pair that it is of
    before: list[int] = []
    for number, (_, other) in enumerate(pairs):
        place = bisect.bisect_left(ends, other)
        before.append(last[place - 1] if place else -1)
        ends[place : place + 1] = [other]
        last[place : place + 1] = [number]
    found = []
    number = last[-1] if last else -1
    while number >= 0:
        found.append(pairs[number])
        number = before[number]
    return found[::-1]
