"""`slim build`: closure and image from recordings."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from slimmer import recipe as recipes
from slimmer import reproduce as reproducing
from slimmer.cli.narrate import Narrator
from slimmer.cli.options import (
    closure_options,
    exercise_options,
    image_options,
    output_at,
    output_options,
    recipe_from,
    recipe_over,
    source_options,
    talk_options,
)
from slimmer.cli.trace import outputs_from, summary_json
from slimmer.errors import CheckFailed, UsageProblem
from slimmer.exercise.drive import Interrupt
from slimmer.pipeline import build
from slimmer.workspace import MARK
from tracer.recording import load


@click.command("build")
@click.argument("recordings", nargs=-1, type=click.Path(dir_okay=False))
@click.option("--reproduce", metavar="OUT", help="Build OUT again from its own recipe and recording, and compare.")
@source_options
@exercise_options
@closure_options
@image_options
@output_options
@talk_options
def command(recordings: tuple[str, ...], reproduce: str | None, **options: Any) -> None:
    """Build an image from one or more recordings of the same root, merged.

    With --run (or a recipe) and probes the image is checked as `slim trace` does.

    With --reproduce OUT nothing is written: bit for bit equal, or exit 3 and what differs.
    """
    if reproduce is not None:
        _reproduce(reproduce, recordings, options)
        return
    if not recordings:
        raise UsageProblem("no recording to build from", "name files that `slim record` wrote, or OUT/recording.json")
    began = time.monotonic()
    recipe = recipe_from(options)
    outputs = outputs_from(options)
    narrator = Narrator(quiet=options["quiet"], verbose=options["verbose"])
    loaded = [load(Path(each)) for each in recordings]
    with Interrupt().watching() as interrupt:
        result = build(loaded, recipe, outputs, narrator.teller(interrupt))
    seconds = time.monotonic() - began
    if options["as_json"]:
        click.echo(summary_json(result, seconds))
    narrator.summary(result, seconds)


def _reproduce(output: str, recordings: tuple[str, ...], options: dict[str, Any]) -> None:
    if recordings or options["recipe"]:
        raise UsageProblem("--reproduce takes OUT's own recording and recipe", "leave others away")
    place = output_at(output)
    narrator = Narrator(quiet=options["quiet"])
    found = reproducing.reproduce(place, recipe_over(recipes.load(place / MARK), options), narrator.say)
    if options["as_json"]:
        click.echo(json.dumps(reproducing.value(found), indent=1))
    else:
        click.echo("\n".join(reproducing.lines(found)))
    if not found.equal:
        raise CheckFailed(f"{place} could not be reproduced")
