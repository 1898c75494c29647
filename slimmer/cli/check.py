"""`slim check`: an output's slim image against its fat root, by its own exercise or by a new one."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from slimmer.api import Recipe, check, load_recipe
from slimmer.cli.described import recipe_over
from slimmer.cli.interrupts import interrupt_from
from slimmer.cli.options import (
    Grouped,
    challenge_budget,
    challenge_option,
    challenge_questions,
    exercise_options,
    named_in,
    output_at,
    source_options,
    talk_options,
    trust_option,
)
from slimmer.cli.progress import ConsoleProgress
from slimmer.errors import CheckFailed
from slimmer.pipeline import consent
from slimmer.pipeline.target import RECIPE
from slimmer.values import plain

# A repaired image is published with its proof, and by such a question there is none.
LEFT_OUT = "mend it or leave it out (--probe URL=STATUS, if that is right); until then --repair does nothing"


@click.command("check", cls=Grouped)
@click.argument("output", metavar="OUT", default="slim-out")
@source_options
@exercise_options
@click.option("--repair", is_flag=True, help="Build OUT again with what was looked for in vain.")
@challenge_option
@challenge_questions
@click.option("--rounds", type=click.IntRange(1, 20), default=4, metavar="N", help="Repairs at most; default 4.")
@trust_option
@talk_options
def command(output: str, **options: Any) -> None:
    """Run OUT's slim image and its fat root by the same exercise, and compare.

    With --probe, --exec or --crawl of your own, or the runs of another --recipe: does the image survive
    what it was not trained on? Exit 3 when it does not. What follows -- is a test-suite of this host's.
    """
    began = time.monotonic()
    place = output_at(output)
    recipe = load_recipe(place / RECIPE)
    theirs = recipe
    if options["recipe"]:
        other = load_recipe(Path(options["recipe"]))
        recipe = replace(recipe, runs=other.runs, sandbox=other.sandbox)
        theirs = Recipe(source=theirs.source)
    if not (options["trust"] or consent.remembered((place / RECIPE).read_bytes())):
        consent.require(theirs, named_in(options), str(place))
    recipe = recipe_over(recipe, options)
    narrator = ConsoleProgress(quiet=options["quiet"], verbose=options["verbose"])
    with interrupt_from(options).watching() as interrupt:
        verdict = check(
            place,
            recipe,
            narrator.progress(interrupt),
            rounds=options["rounds"] if options["repair"] else 0,
            challenge=challenge_budget(options, default=False),
        )
    narrator.clear()
    if options["as_json"]:
        click.echo(verdict.dump(), nl=False)
    else:
        for row in verdict.comparisons:
            mark = "FAIL" if row.problem else "unfit" if row.unusable else "varies" if row.varies else "same"
            said = row.problem or (f"not compared; in the fat root: {row.unusable}" if row.unusable else "")
            click.echo(plain(f"{mark:>6}  {row.what}" + (f": {said}" if said else f"  ({row.slim})")))
        for miss in verdict.misses:
            followed = verdict.followed(miss).partition(":")[0] if verdict.passed else ""
            by = ", ".join(miss.by) or "a program"
            click.echo(plain(f"{'vain':>6}  {miss.path}  ({by})" + f"  {followed}".rstrip()))
        for miss in verdict.repaired:
            click.echo(plain(f"{'added':>6}  {miss.path}  ({miss.why or 'looked for in vain'})"))
        for each in verdict.challenge.differences if verdict.challenge else ():
            click.echo(plain(f"{'differs':>7}  {each.question.what[:120]}: {each.problem}"))
    if verdict.challenge:
        narrator.say(f"challenge: {verdict.challenge.summary()}")
    narrator.say(f"{verdict.word}, {time.monotonic() - began:.1f} s")
    if not verdict.performed:
        raise CheckFailed(f"the slim image is not proved: {verdict.why_not}")
    unusable = len(verdict.unusable)
    if verdict.failed:
        raise CheckFailed(
            "the slim image does not do what the fat root does"
            + (f"; {unusable} of {len(verdict.comparisons)} could not be compared" if unusable else ""),
            LEFT_OUT
            if unusable
            else ""
            if options["repair"]
            else "`slim check --repair` adds what was looked for in vain",
        )
    if unusable:
        raise CheckFailed(
            f"the slim image is not proved: the fat root itself fails at {unusable} of {len(verdict.comparisons)} "
            "comparisons, and all others are the same",
            LEFT_OUT,
        )
    if verdict.challenge and verdict.challenge.differences:
        raise CheckFailed(
            "the slim image does what it was trained to do, and answers other questions than the fat root does",
            "" if options["repair"] else "`slim check --challenge --repair` adds what they need",
        )
