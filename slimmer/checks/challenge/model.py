"""Questions, replies, and what a challenge found."""

from __future__ import annotations

import enum
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from slimmer.closure.model import ClosureWarning
from slimmer.recipe import Miss

QUESTIONS = 300  # asked at most where nobody says otherwise
SECONDS = 600.0  # in one root: the last net, for the number of questions is the budget that makes results repeatable
MOST_REPAIRED = 32 << 20  # bytes that one question may bring back; above, it stays a warning
MOST_FOR_LIBRARY = 1 << 20  # where it is about a part of a library that nobody is known to use


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be asked. `seconds`, in each root, is a last net."""

    questions: int = QUESTIONS
    seconds: float = SECONDS


class Topic(enum.StrEnum):
    """What a question is about."""

    FRAMEWORK = "framework"  # what profiles know to ask
    PROGRAM = "program"
    MODULE = "module"
    LIBRARY = "library"
    CLASS = "class"


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to ask: a command, or one `item` of a command that takes many (a driver that imports modules).

    `fallback_of` is another form of the same question: this one is asked where the fat root refused that one.
    """

    topic: Topic
    argv: tuple[str, ...]
    item: str = ""
    label: str = ""  # for a person, where the command itself would say little
    fallback_of: tuple[str, ...] = ()
    limit: int = MOST_REPAIRED  # bytes that it may bring back

    @property
    def what(self) -> str:
        """For a person."""
        return self.label or shlex.join(self.argv)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a question. `code` None: it did not end in time, which says nothing."""

    code: int | None
    output: bytes = b""
    errors: bytes = b""


Replies = Mapping[Question, Reply]


@dataclass(frozen=True, slots=True)
class Difference:
    """A question that the slim image answers in another way than the fat root."""

    question: Question
    fat: str
    slim: str
    problem: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What a challenge gave. Without `asked`, `why_not` says what stood in the way."""

    asked: int = 0
    not_asked: int = 0  # beyond the budget, or without an answer in time
    differences: tuple[Difference, ...] = ()
    mended: int = 0  # questions that an earlier image answered otherwise, and this one does not
    misses: tuple[Miss, ...] = ()  # what the questions that differ need and slim lacks
    why_not: str = ""
    notes: tuple[str, ...] = field(default=())
    futile: tuple[str, ...] = ()  # paths that were brought for questions that differ as they did before

    def warnings(self) -> tuple[ClosureWarning, ...]:
        """A warning for each question that differs."""
        return tuple(
            ClosureWarning(
                "challenge",
                each.question.argv[0],
                f"{each.question.what[:160]} answers otherwise than in the fat root: {each.problem}",
                UNTRAINED,
            )
            for each in self.differences
        )

    def summary(self) -> str:
        """For a person, in one line."""
        if self.why_not:
            return f"not asked: {self.why_not}"
        text = f"{self.asked} questions asked, {len(self.differences)} answered otherwise than in the fat root"
        text += f", {self.mended} mended by repair" if self.mended else ""
        return text + (f", {self.not_asked} not asked" if self.not_asked else "")


UNTRAINED = 58  # weight: it is missing indeed, and nobody said that it is needed
