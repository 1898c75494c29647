"""`slim build`: closure and image from recordings."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from slimmer.api import build, load_recording
from slimmer.cli.described import recipe_from
from slimmer.cli.interrupts import interrupt_from
from slimmer.cli.options import (
    Grouped,
    closure_options,
    exercise_options,
    image_options,
    output_options,
    source_options,
    talk_options,
)
from slimmer.cli.progress import ConsoleProgress
from slimmer.cli.trace import outputs_from, summary_json
from slimmer.errors import UsageProblem
from slimmer.pipeline.incomplete import accepted


@click.command("build", cls=Grouped)
@click.argument("recordings", nargs=-1, type=click.Path(dir_okay=False))
@click.option("--accept-incomplete", is_flag=True, help="Build from a recording whose recorder failed, too.")
@source_options
@exercise_options
@closure_options
@image_options
@output_options
@talk_options
def command(recordings: tuple[str, ...], accept_incomplete: bool, **options: Any) -> None:
    """Build an image from one or more recordings of the same root, merged.

    With --run (or a recipe) and probes the image is checked as `slim trace` does.
    """
    if not recordings:
        raise UsageProblem("no recording to build from", "name files that `slim record` wrote, or OUT/recording.json")
    for name in recordings:
        if not Path(name).exists() and not name.endswith(".json"):
            raise UsageProblem(
                f"{name} is no recording: there is no such file",
                f"`slim build` takes what `slim record` wrote; from an image: slim trace --image docker://{name}",
            )
    began = time.monotonic()
    recipe = recipe_from(options)
    outputs = outputs_from(options, challenged=True)
    narrator = ConsoleProgress(quiet=options["quiet"], verbose=options["verbose"])
    loaded = [accepted(load_recording(Path(each)), accept_incomplete) for each in recordings]
    with interrupt_from(options).watching() as interrupt:
        result = build(loaded, recipe, outputs, narrator.progress(interrupt))
    seconds = time.monotonic() - began
    if options["as_json"]:
        click.echo(summary_json(result, seconds))
    narrator.summary(result, seconds)
