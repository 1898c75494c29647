"""What a reference run must have done before a slim image may be measured by it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slimmer.errors import SlimmerError
from slimmer.exercise.expectation import expect
from slimmer.exercise.model import Answer, Executed, Found, RunOutcome
from slimmer.exercise.perform import Performed
from slimmer.recipe import Probe, Recipe, Run

DONE = RunOutcome(("/app",), 0, False, b"", b"")
GOOD = Answer("GET /", 200, b"")
BAD = Answer("GET /", 500, b"", problem="status 500")
NONE = Answer("GET /", None, b"")


def performed(*outcomes: RunOutcome) -> Performed:
    return Performed(outcomes, None, {}, "", "")


@pytest.mark.parametrize(
    ("runs", "outcomes", "said"),
    [
        ([Run()], [replace(DONE, exit_code=3)], "exited with 3, not 0"),
        ([Run(expect_exit=3)], [DONE], "exited with 0, not 3"),
        ([Run()], [replace(DONE, exit_code=None, failure=SlimmerError("not ready"))], "not ready"),
        ([Run(probes=(Probe("http://x"),))], [replace(DONE, answers=(BAD,))], "status 500"),
        ([Run(probes=(Probe("http://x"),))], [DONE], "0 of 1 things were asked"),
        ([Run(exec=(("a",), ("b",)))], [replace(DONE, executed=(Executed("a", 0, b"", b""),))], "1 of 2 things"),
        ([Run(crawl=("http://x",))], [replace(DONE, answers=(NONE,))], "no page answered"),
        (
            [Run()],
            [replace(DONE, stopped=True, found=Found(answers=(BAD, BAD)))],
            "every answer was an error",
        ),
        ([Run(), Run()], [DONE], "1 of 2 runs"),
        ([Run()], [], "0 of 1 runs"),
    ],
)
def test_less_than_what_the_recipe_expects_is_refused(runs: list[Run], outcomes: list[RunOutcome], said: str) -> None:
    with pytest.raises(SlimmerError, match=said):
        expect(performed(*outcomes), Recipe(runs=tuple(runs)))


def test_a_message_says_how_many_problems_it_does_not_show() -> None:
    run = Run(probes=(Probe("http://x"),) * 8)
    with pytest.raises(SlimmerError, match="and 2 more\n"):
        expect(performed(replace(DONE, answers=(BAD,) * 8)), Recipe(runs=(run,)))


def test_a_check_goes_on_while_one_question_of_the_fat_root_went_well() -> None:
    asked = Recipe(runs=(Run(probes=(Probe("http://x"), Probe("http://y"))), Run()))
    one = replace(DONE, stopped=True, answers=(GOOD, BAD))
    none = replace(DONE, stopped=True, answers=(BAD, BAD))
    expect(performed(one, DONE), asked, whole=False)
    own = replace(asked, runs=asked.runs[:1])
    expect(performed(replace(none, stopped=False)), own, whole=False)  # what ends by itself has its end and its output
    expect(performed(none, DONE), asked, whole=False)  # the other run's output can be compared
    with pytest.raises(SlimmerError, match="failed in the fat root:\n  GET /: status 500"):
        expect(performed(one, DONE), asked)
    with pytest.raises(SlimmerError, match="failed in the fat root"):
        expect(performed(none), own, whole=False)
    with pytest.raises(SlimmerError, match="exited with 3"):
        expect(performed(one, replace(DONE, exit_code=3)), asked, whole=False)


def test_what_the_recipe_expects_is_taken() -> None:
    asked = Run(probes=(Probe("http://x"),), exec=(("a",),))
    did = replace(DONE, answers=(GOOD,), executed=(Executed("a", 0, b"", b""),))
    expect(performed(did), Recipe(runs=(asked,)))
    expect(performed(replace(DONE, stopped=True, exit_code=-15)), Recipe(runs=(Run(),)))
    expect(performed(replace(DONE, stopped=True, found=Found(answers=(BAD, GOOD)))), Recipe(runs=(Run(),)))
    expect(performed(replace(DONE, exit_code=3)), Recipe(runs=(Run(expect_exit=3),)))
