"""What repairs came to: which paths were brought for questions that the image still answers as it did without them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from slimmer.checks.challenge.model import Question
from slimmer.root.model import sort_key


@dataclass(frozen=True, slots=True)
class Brought:
    """Questions whose needs were recorded together, and all that they needed and the image lacked."""

    questions: tuple[Question, ...]
    paths: frozenset[str]


def futile(brought: Iterable[Brought], before: Mapping[Question, str], now: Mapping[Question, str]) -> list[str]:
    """Paths that no question is the better for. `before` and `now`: problems of the questions that differ.

    Another problem than before is progress: what a question needs may come in several rounds.
    """
    useful: set[str] = set()
    vain: set[str] = set()
    for each in brought:
        unchanged = all(now.get(question) == before.get(question, "") for question in each.questions)
        (vain if unchanged else useful).update(each.paths)
    return sorted(vain - useful, key=sort_key)
