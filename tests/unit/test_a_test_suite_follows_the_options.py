"""`-- pytest tests/`: what follows -- is a command of the host that exercises the application, its words untouched."""

from __future__ import annotations

import click
import pytest

from slimmer.cli.check import command as check
from slimmer.cli.described import recipe_over
from slimmer.cli.record import command as record
from slimmer.cli.trace import command as trace
from slimmer.errors import UsageProblem
from slimmer.recipe import Recipe, Run

SUITE = ["pytest", "-k", "a b", "--", "tests/"]


@pytest.mark.parametrize("verb", [trace, record, check], ids=["trace", "record", "check"])
def test_the_words_become_the_last_client_of_the_recipe(verb: click.Command) -> None:
    options = verb.make_context("slim", ["--client", "curl -f x", "--ready", "80", "--", *SUITE]).params
    recipe = recipe_over(Recipe(runs=(Run(command=("app",)),)), options)
    assert recipe.runs[0].client == (("curl", "-f", "x"), tuple(SUITE))


def test_the_output_that_check_is_about_comes_before_it() -> None:
    context = check.make_context("slim", ["out", "--", "pytest"])
    assert (context.params["output"], context.params["clients"]) == ("out", ("pytest",))


def test_nothing_after_it_is_said() -> None:
    with pytest.raises(UsageProblem, match="nothing follows --"):
        trace.make_context("slim", ["--ready", "80", "--"])
