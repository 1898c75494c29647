"""Credentials in the URLs that are asked: known to the run, written to no recipe, and named again for another run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from slimmer.errors import UsageProblem
from slimmer.recipe import Recipe, Run
from slimmer.values import masked, withheld


def without_credentials(recipe: Recipe) -> Recipe:
    """The recipe as it may be published, signed and pushed: passwords and tokens of its URLs are `***`."""
    return replace(recipe, runs=tuple(map(_without, recipe.runs)))


def require_credentials(recipe: Recipe) -> None:
    """Raises UsageProblem when a URL that is to be asked was written without its credentials."""
    if missing := [option for run in recipe.runs for option in _missing(run)]:
        raise UsageProblem(
            "the recipe was written without the credentials of its URLs:\n  " + "\n  ".join(missing),
            "name these again, complete: each takes the place of the one that has *** there",
        )


def _without(run: Run) -> Run:
    return replace(
        run,
        ready=masked(run.ready),
        probes=tuple(replace(each, url=masked(each.url)) for each in run.probes),
        crawl=tuple(map(masked, run.crawl)),
        openapi=tuple(map(masked, run.openapi)),
    )


def _missing(run: Run) -> Iterator[str]:
    if withheld(run.ready):
        yield f"--ready {run.ready}"
    yield from (f"--probe {each.url}" for each in run.probes if withheld(each.url))
    yield from (f"--crawl {each}" for each in run.crawl if withheld(each))
    yield from (f"--openapi {each}" for each in run.openapi if withheld(each))
