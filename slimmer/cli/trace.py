"""`slim trace`: the whole way."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import click

from slimmer.api import Outputs, Result, trace
from slimmer.checks.challenge.model import Findings
from slimmer.cli.debug_image import write
from slimmer.cli.described import recipe_from
from slimmer.cli.interrupts import interrupt_from
from slimmer.cli.options import (
    Grouped,
    challenge_budget,
    check_mode,
    closure_options,
    exercise_options,
    image_options,
    output_options,
    source_options,
    talk_options,
)
from slimmer.cli.progress import ConsoleProgress
from slimmer.cli.scans import findings_of
from slimmer.errors import UsageProblem
from slimmer.image.layout import check_ref
from slimmer.pipeline.debug_image import Selection
from slimmer.pipeline.lock import LockMode, LockOptions
from slimmer.pipeline.signing import Signing
from slimmer.trust.lock import NAME
from slimmer.trust.statements import LOCAL_BUILDER


def outputs_from(options: dict[str, Any], *, challenged: bool = False) -> Outputs:
    """Where a verb's results go; `challenged` unless the options say otherwise. Raises UsageProblem."""
    rootfs = options.get("rootfs") or ""
    if rootfs and Path(rootfs).exists() and (not Path(rootfs).is_dir() or any(Path(rootfs).iterdir())):
        raise UsageProblem(f"--rootfs {rootfs} exists and is not empty", "name a new directory")
    if options.get("archive") == "-" and (options.get("as_json") or sys.stdout.isatty()):
        raise UsageProblem(
            "--archive - writes the image to stdout", "redirect it (… | docker load), and leave --json away"
        )
    if options.get("locked") and options.get("update_lock"):
        raise UsageProblem("--locked and --update-lock exclude each other", "give one of them")
    return Outputs(
        lock=_lock(options),
        signing=_signing(options),
        directory=Path(options["output"]),
        archive=options.get("archive") or "",
        rootfs=rootfs,
        push=options.get("push") or "",
        check=check_mode(options, os.environ),
        repair=options.get("repair", True),
        rounds=options.get("rounds", 4),
        challenge=challenge_budget(options, default=challenged),
        findings=findings_of(options["scans"]) if options.get("scans") else None,
    )


def _lock(options: dict[str, Any]) -> LockOptions:
    chosen = (
        LockMode.LOCKED if options.get("locked") else LockMode.UPDATE if options.get("update_lock") else LockMode.OFF
    )
    recipe = options.get("recipe")
    file = Path(options.get("lock_file") or (Path(recipe).parent / NAME if recipe else NAME))
    return LockOptions(chosen, file, tuple(options.get("allows") or ()))


def _signing(options: dict[str, Any]) -> Signing | None:
    name = options.get("sign_key")
    if not name:
        return None
    from slimmer.cli.passphrase import load_key  # loads the cryptography

    key = load_key(name, options.get("passphrase_file"))
    return Signing(key, options.get("builder") or LOCAL_BUILDER)


def _challenge(found: Findings | None) -> dict[str, object] | None:
    if found is None:
        return None
    return {
        "asked": found.asked,
        "not_asked": found.not_asked,
        "differ": len(found.differences),
        "mended": found.mended,
        "why_not": found.why_not,
    }


def summary_json(result: Result, seconds: float) -> str:
    """The summary for programs."""
    report, image = result.report, result.image
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
            "check_why_not": result.verdict.why_not,
            "challenge": _challenge(result.verdict.challenge),
            "repaired": [miss.path for miss in result.verdict.repaired],
            "unsure": len(report.warnings),
            "seconds": round(seconds, 3),
        },
        indent=1,
    )


@click.command("trace", cls=Grouped)
@source_options
@exercise_options
@closure_options
@image_options
@output_options
@click.option("--debug-tag", metavar="NAME", help="Also a twin with the removed files on top, in OUT-debug.")
@talk_options
def command(**options: Any) -> None:
    """Record an application, build its slim image, check it, and report.

    \b
    slim trace --run "python3 app.py" --probe http://127.0.0.1:8000/
    slim trace --root rootfs --run "nginx -g 'daemon off;'" --ready 80 --probe http://127.0.0.1/
    slim trace --image docker-archive:app.tar --probe http://127.0.0.1:8080/healthz
    slim trace --image docker-archive:app.tar --ready 8080 -- pytest tests/
    slim trace --image docker-archive:app.tar --ready 80 --publish 8080:80 -- pytest tests/

    \b
    What follows -- is a command of this host, run in the sandbox's network: its tests find the application at
    127.0.0.1. With --publish it runs in this host's own network, and finds the application at the published port.
    It has to exit with 0, with the fat root and with the slim image.
    """
    began = time.monotonic()
    recipe = recipe_from(options)
    outputs = outputs_from(options, challenged=True)
    if options["debug_tag"]:
        check_ref(options["debug_tag"])
    narrator = ConsoleProgress(quiet=options["quiet"], verbose=options["verbose"])
    by_hand = not any(run.exercised or run.seconds for run in recipe.runs)
    with interrupt_from(options).watching() as interrupt:
        result = trace(recipe, outputs, narrator.progress(interrupt, echo=by_hand))
        if options["debug_tag"]:
            twin = Path(f"{result.directory}-debug")
            write(result.directory, recipe, Selection(everything=True), twin, options["debug_tag"], None, narrator.say)
    seconds = time.monotonic() - began
    if options["as_json"]:
        click.echo(summary_json(result, seconds))
    narrator.summary(result, seconds)
