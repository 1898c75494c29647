"""`slim check`: an output's slim image against its fat root, by its own exercise or by a new one."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from slimmer import recipe as recipes
from slimmer.cli.narrate import Narrator
from slimmer.cli.options import exercise_options, output_at, recipe_over, source_options, talk_options
from slimmer.errors import CheckFailed, SlimmerError
from slimmer.exercise.drive import Interrupt
from slimmer.pipeline import check_output
from slimmer.workspace import MARK


@click.command("check")
@click.argument("output", metavar="OUT", default="slim-out")
@source_options
@exercise_options
@click.option("--repair", is_flag=True, help="Build OUT again with what was looked for in vain.")
@click.option("--rounds", type=click.IntRange(1, 20), default=4, metavar="N", help="Repairs at most; default 4.")
@talk_options
def command(output: str, **options: Any) -> None:
    """Run OUT's slim image and its fat root by the same exercise, and compare.

    With --probe, --exec or --crawl of your own, or the runs of another --recipe: does the image survive
    what it was not trained on? Exit 3 when it does not.
    """
    began = time.monotonic()
    place = output_at(output)
    recipe = recipes.load(place / MARK)
    if options["recipe"]:
        other = recipes.load(Path(options["recipe"]))
        recipe = replace(recipe, runs=other.runs, sandbox=other.sandbox)
    recipe = recipe_over(recipe, options)
    narrator = Narrator(quiet=options["quiet"], verbose=options["verbose"])
    with Interrupt().watching() as interrupt:
        verdict = check_output(
            place, recipe, narrator.teller(interrupt), rounds=options["rounds"] if options["repair"] else 0
        )
    narrator.clear()
    if options["as_json"]:
        click.echo(verdict.dump(), nl=False)
    else:
        for row in verdict.comparisons:
            mark = "FAIL" if row.problem else "varies" if row.varies else "same"
            click.echo(f"{mark:>6}  {row.what}" + (f": {row.problem}" if row.problem else f"  ({row.slim})"))
        for miss in verdict.misses:
            followed = verdict.followed(miss).partition(":")[0] if verdict.passed else ""
            click.echo(f"{'vain':>6}  {miss.path}  ({', '.join(miss.by) or 'a program'})" + f"  {followed}".rstrip())
        for miss in verdict.repaired:
            click.echo(f"{'added':>6}  {miss.path}  ({miss.why or 'looked for in vain'})")
    narrator.say(f"{verdict.word}, {time.monotonic() - began:.1f} s")
    if not verdict.performed:
        raise SlimmerError("the check could not be performed", verdict.why_not)
    if not verdict.passed:
        raise CheckFailed(
            "the slim image does not do what the fat root does",
            "" if options["repair"] else "`slim check --repair` adds what was looked for in vain",
        )
