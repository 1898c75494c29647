"""What the recipe expects of the fat root itself: a slim image that fails alike proves nothing."""

from __future__ import annotations

import shlex

from slimmer.errors import SlimmerError
from slimmer.exercise.advice import advice
from slimmer.exercise.model import RunOutcome
from slimmer.exercise.perform import Performed
from slimmer.exercise.words import ending, last_lines
from slimmer.recipe import Recipe

SHOWN = 6  # problems that a message tells of


def expect(performed: Performed, recipe: Recipe, *, whole: bool = True) -> None:
    """Raises SlimmerError unless the fat root did every run, and as the recipe expects.

    Not `whole`: single questions may have failed, as long as one has not. They are the comparison's to tell.
    """
    partly = not whole and any(_has_proof(each) for each in performed.outcomes)
    for outcome, run in zip(performed.outcomes, recipe.runs, strict=False):
        if outcome.failure is not None:
            raise outcome.failure
        if outcome.problems and not partly:
            more = len(outcome.problems) - SHOWN
            shown = [*outcome.problems[:SHOWN], *([f"and {more} more"] if more > 0 else [])]
            raise SlimmerError(
                "the exercise failed in the fat root:\n  " + "\n  ".join(shown),
                "\n  ".join(filter(None, [_words(outcome), advice(outcome, recipe)]))
                or "mend the exercise or the application first",
            )
        if not outcome.stopped and outcome.exit_code != run.expect_exit:
            raise SlimmerError(
                f"{shlex.join(outcome.command)[:200]} {ending(outcome.exit_code)}, not {run.expect_exit}",
                (_words(outcome) + "\n  " if _words(outcome) else "")
                + (advice(outcome, recipe) or f"--expect-exit {outcome.exit_code} if that is as it should be"),
            )
        asked = len(run.probes) + len(run.exec) + len(run.client)
        if (done := len(outcome.answers) + len(outcome.executed)) < asked:
            raise SlimmerError(
                f"{shlex.join(outcome.command)[:200]}: {done} of {asked} things were asked in the fat root",
                _words(outcome) or "the exercise did not get to its end",
            )
        if (run.crawl or run.openapi) and not any(each.status is not None for each in outcome.answers):
            raise SlimmerError(
                f"{shlex.join(outcome.command)[:200]}: no page answered in the fat root",
                _words(outcome) or "mend the exercise or the application first",
            )
        found = outcome.found.answers if outcome.found else ()
        if found and all((each.status or 0) >= 500 for each in found):
            # A broken image would answer alike: what is equal then is the failure.
            raise SlimmerError(
                f"{shlex.join(outcome.command)[:200]}: every answer was an error of the server "
                f"({found[0].probe}: status {found[0].status})",
                "\n  ".join(filter(None, [_words(outcome), advice(outcome, recipe)]))
                or f"what does it lack? If that is right: --probe URL={found[0].status}",
            )
    if len(performed.outcomes) < len(recipe.runs):
        raise SlimmerError(
            f"{len(performed.outcomes)} of {len(recipe.runs)} runs were done in the fat root",
            "the exercise did not get to its end",
        )


def _has_proof(outcome: RunOutcome) -> bool:
    """Whether a run holds something that a slim image can be measured by."""
    asked = [each.problem for each in outcome.answers] + [each.problem for each in outcome.executed]
    return not outcome.stopped or not asked or not all(asked)  # what ends by itself has its end and its output


def _words(outcome: RunOutcome) -> str:
    return last_lines(outcome.errors + b"\n" + outcome.output[-4096:])
