"""`slim build`: closure and image from recordings."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from slimmer.cli.narrate import Narrator
from slimmer.cli.options import (
    closure_options,
    exercise_options,
    image_options,
    output_options,
    recipe_from,
    source_options,
    talk_options,
)
from slimmer.cli.trace import outputs_from, summary_json
from slimmer.exercise.drive import Interrupt
from slimmer.pipeline import build
from tracer.recording import load


@click.command("build")
@click.argument("recordings", nargs=-1, required=True, type=click.Path(dir_okay=False))
@source_options
@exercise_options
@closure_options
@image_options
@output_options
@talk_options
def command(recordings: tuple[str, ...], **options: Any) -> None:
    """Build an image from one or more recordings of the same root, merged.

    With --run (or a recipe) and probes the image is checked as `slim trace` does.
    """
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
