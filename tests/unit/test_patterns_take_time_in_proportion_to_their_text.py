"""Every pattern of slimmer ends soon on the texts that are made against it: a stranger's file never holds a run up.

A pattern that is asked about content sees 20,000 characters of each adversary; one that only ever sees a path or a
name sees what a path may have. Linear patterns need some milliseconds for all of that, quadratic ones seconds a text.
A text of 1,500 characters tells most of them apart: two million half steps take a millisecond at the very least, so
only patterns that take longer than half of that are asked about the long ones.
"""

from __future__ import annotations

import re
import signal
import time
from types import FrameType

import pytest

from tests.patterns import Used, adversaries, patterns

CONTENT, PATH = 20_000, 3_000  # characters
SHORT_TEXT, QUICK = 1_500, 0.0005  # characters, and seconds of the processor in which nothing quadratic is done
TICK = 0.05  # the timer's own steps are some milliseconds
LIMIT = 1.0  # seconds of the processor for one text; a hundred times what the slowest takes
# Patterns whose subjects are paths, names of files, or lines of the caller's own settings.
SHORT = (
    "slimmer.checks.challenge.programs:OBJECT",
    "slimmer.closure.commands.shebang:LIBRARIES",
    "slimmer.closure.languages.python.distributions:SITE_PLACE",
    "slimmer.closure.languages.python.path:",
    "slimmer.closure.languages.python.rule:",
    "slimmer.closure.languages.ruby.gems:",
    "slimmer.closure.languages.ruby.rule:",
    "slimmer.closure.languages.suites:COMPILED",
    "slimmer.closure.ownership.library_data:COMPILED",
    "slimmer.closure.profiles.position:",
    "slimmer.packages.java:_NAMED",
    "slimmer.packages.pypi:_",
)
CONTENT_OF_SHORT = ("NAME", "REQUIRE", "PLACED", "LOAD_PATH", "START", "DEPENDENCY", "LOCKED", "FEATURE")


class Slow(Exception):
    pass


def _size(used: Used) -> int:
    short = used.where.startswith(SHORT) and used.where.rpartition(":")[2] not in CONTENT_OF_SHORT
    return PATH if short else CONTENT


def _ask(used: Used, text: str | bytes) -> None:
    if used.how == "search":
        for _ in used.pattern.finditer(text):
            pass
    else:
        getattr(used.pattern, used.how)(text)


def _slow(used: Used, size: int, limit: float = LIMIT) -> str:
    """The beginning of a text that takes longer, "" when there is none."""

    def late(number: int, frame: FrameType | None) -> None:
        raise Slow

    before = signal.signal(signal.SIGVTALRM, late)
    try:
        for text in adversaries(used.pattern, size):
            # The matcher may come back before the handler runs: then it runs in what follows.
            try:
                try:
                    signal.setitimer(signal.ITIMER_VIRTUAL, max(limit, TICK))
                    began = time.process_time()
                    _ask(used, text)
                    if time.process_time() - began > limit:
                        raise Slow
                finally:
                    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            except Slow:
                return repr(text[:60])
    finally:
        signal.signal(signal.SIGVTALRM, before)
    return ""


def _suspected(used: Used) -> str:
    return _slow(used, SHORT_TEXT, QUICK)


def test_no_pattern_is_held_up() -> None:
    found = patterns()
    assert len(found) > 150
    slow = {
        f"{used.where}: {used.pattern.pattern!r}": text
        for used in found
        if _suspected(used) and (text := _slow(used, _size(used)))
    }
    assert slow == {}


@pytest.mark.parametrize("pattern", [r"(?m)^\s*export", r"a\s*\(?\s*b", r"\d+\d+x", r"(?:a|a)*b", r"x[^;]*;"])
def test_the_adversaries_find_what_is_not_linear(pattern: str) -> None:
    used = Used("here", re.compile(pattern), "search")
    assert _suspected(used)
    assert _slow(used, 40_000, 0.2)


def test_the_adversaries_let_linear_patterns_pass() -> None:
    assert not _slow(Used("here", re.compile(r"(?m)^[ \t]*+export|a\s*+\(?\s*+b|\bx[^;\n]{0,80};"), "search"), 200_000)
