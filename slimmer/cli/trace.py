"""`slim trace`: the whole way."""

from __future__ import annotations

import json
import sys
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
from slimmer.errors import UsageProblem
from slimmer.exercise.drive import Interrupt
from slimmer.pipeline import Outputs, Result, trace


def outputs_from(options: dict[str, Any]) -> Outputs:
    """Where a verb's results go. Raises UsageProblem."""
    rootfs = options.get("rootfs") or ""
    if rootfs and Path(rootfs).exists() and (not Path(rootfs).is_dir() or any(Path(rootfs).iterdir())):
        raise UsageProblem(f"--rootfs {rootfs} exists and is not empty", "name a new directory")
    if options.get("archive") == "-" and (options.get("as_json") or sys.stdout.isatty()):
        raise UsageProblem(
            "--archive - writes the image to stdout", "redirect it (… | docker load), and leave --json away"
        )
    return Outputs(
        directory=Path(options["output"]),
        archive=options.get("archive") or "",
        rootfs=rootfs,
        push=options.get("push") or "",
        check=options.get("check", True),
        repair=options.get("repair", True),
        rounds=options.get("rounds", 4),
    )


def summary_json(result: Result, seconds: float) -> str:
    """The summary for programs."""
    report, image = result.product.report, result.product.image
    return json.dumps(
        {
            "format": "slimmer.summary/1",
            "output": str(result.directory),
            "image_id": image.image_id,
            "manifest_digest": image.manifest_digest,
            "fat": {"bytes": report.fat.bytes, "files": report.fat.files},
            "slim": {"bytes": report.slim.bytes, "files": report.slim.files},
            "levels": {each.level: each.bytes for each in report.levels},
            "check": result.verdict.word,
            "repaired": [miss.path for miss in result.verdict.repaired],
            "unsure": len(report.unsure),
            "seconds": round(seconds, 3),
        },
        indent=1,
    )


@click.command("trace")
@source_options
@exercise_options
@closure_options
@image_options
@output_options
@talk_options
def command(**options: Any) -> None:
    """Record an application, build its slim image, check it, and report.

    \b
    slim trace --run "python3 app.py" --probe http://127.0.0.1:8000/
    slim trace --root rootfs --run "nginx -g 'daemon off;'" --ready 80 --probe http://127.0.0.1/
    slim trace --image docker-archive:app.tar --probe http://127.0.0.1:8080/healthz
    """
    began = time.monotonic()
    recipe = recipe_from(options)
    outputs = outputs_from(options)
    narrator = Narrator(quiet=options["quiet"], verbose=options["verbose"])
    by_hand = not any((run.probes or run.exec or run.client or run.seconds) for run in recipe.runs)
    with Interrupt().watching() as interrupt:
        result = trace(recipe, outputs, narrator.teller(interrupt, echo=by_hand))
    seconds = time.monotonic() - began
    if options["as_json"]:
        click.echo(summary_json(result, seconds))
    narrator.summary(result, seconds)
