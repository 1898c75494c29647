"""From one round of a build to the next: what is added to the image, and what is taken out again."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from slimmer.checks.compare import Verdict
from slimmer.recipe import Miss
from slimmer.report.words import plural


class Repairs:
    """The repairs of one build. `added` is what the next image holds beyond its closure.

    `asks`: whether that image is put to the challenge. `note` tells what the review is to say of the challenge.
    """

    def __init__(self, known: Iterable[Miss], *, rounds: int, note: Callable[[str], None]) -> None:
        self.added = [*known]
        self.asks = True
        self._rounds = rounds
        self._note = note
        self._turn = 0
        self._proven: list[Miss] | None = None  # what made the exercise go well, before the challenge added to it
        self._whole: list[Miss] | None = None  # all of it, before something was taken out
        self._differed = 0
        self._last = False

    def follow(self, verdict: Verdict) -> str:
        """Take in what the check said of an image: what the next round does, for a person; empty when it is the last.

        No `rounds`: nothing is repaired.
        """
        self._turn += 1
        if self._last or not verdict.performed:
            return ""
        if self._whole is not None:
            return self._kept_out(verdict)
        if self._proven is not None and not verdict.passed:
            # What the challenge added does harm: without it, then, and without asking.
            self.added, self._proven, self.asks = self._proven, None, False
            return "the check fails with what the challenge added: once more without it"
        fresh = verdict.repairs(self.added, last=self._turn + 1 == self._rounds)
        if not fresh or self._turn >= self._rounds:
            return self._take_out(verdict)
        if verdict.passed and self._proven is None:
            self._proven = [*self.added]
        self.added.extend(fresh)
        return f"repairing: {len(fresh)} paths, e.g. {fresh[0].path} {fresh[0].why or 'was looked for in vain'}"

    def _take_out(self, verdict: Verdict) -> str:
        """What changed nothing is not for an image; whether the rest does without it, a last check says."""
        if self._proven is None or verdict.challenge is None:
            return ""
        vain = {*verdict.challenge.futile} - {each.path for each in self._proven}
        left = [each for each in self.added if each.path not in vain]
        if len(left) == len(self.added):
            return ""
        self._whole, self._differed = self.added, len(verdict.challenge.differences)
        count, self.added = len(self.added) - len(left), left
        text = f"{plural(count, 'path')} brought for questions changed no answer: taken out again"
        self._note(text)
        return text

    def _kept_out(self, verdict: Verdict) -> str:
        said = verdict.challenge
        if verdict.passed and said and not said.why_not and len(said.differences) <= self._differed:
            return ""
        self.added, self._last = self._whole or self.added, True
        return "they are needed together with others: once more with them"
