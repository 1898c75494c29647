"""`slim record`: only the recording, to a file or stdout."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from slimmer.cli.narrate import Narrator
from slimmer.cli.options import exercise_options, recipe_from, source_options, talk_options
from slimmer.errors import SlimmerError
from slimmer.exercise.drive import Interrupt
from slimmer.pipeline import explain, record
from tracer.recording import Recording


def write_file(target: Path, text: str) -> None:
    """Write a file whole or not at all."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.part-", dir=target.parent)
    except OSError as error:
        raise SlimmerError(f"cannot write {target}: {error.strerror}") from error
    try:
        with open(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(name, 0o644)
        os.rename(name, target)
    except OSError as error:
        os.unlink(name)
        raise SlimmerError(f"cannot write {target}: {error.strerror}") from error


@click.command("record")
@source_options
@exercise_options
@click.option("-o", "--output", default="recording.json", metavar="FILE|-", help="Default recording.json.")
@click.option("--watch", metavar="ROOT|PID", help="Watch what already runs there (--for 1h), by fanotify; needs root.")
@click.option("--explain", is_flag=True, help="Say which recorder is chosen, and why; alone, only that.")
@talk_options
def command(**options: Any) -> None:
    """Only record what an application touches. `slim build` makes an image of one or more recordings."""
    narrator = Narrator(quiet=options["quiet"], verbose=options["verbose"])
    target = options["output"]
    with Interrupt().watching() as interrupt:
        if options["explain"] and not (options["run"] or options["watch"] or options["recipe"] or options["image"]):
            click.echo(explain(recipe_from(options)))
            return
        if options["watch"]:
            recording = _watch(options, narrator, interrupt)
        else:
            recipe = recipe_from(options)
            by_hand = not any((run.probes or run.exec or run.client or run.seconds) for run in recipe.runs)
            recording, performed = record(recipe, narrator.teller(interrupt, echo=by_hand))
            if options["explain"]:
                click.echo(performed.explanation, err=True)
    if target == "-":
        sys.stdout.write(recording.dump())
        return
    write_file(Path(target), recording.dump())
    narrator.say(f"{len(recording.accesses)} paths, {len(recording.executions)} executions → {target}")
    for note in recording.notes:
        narrator.say(f"note: {note}")


def _watch(options: dict[str, Any], narrator: Narrator, interrupt: Interrupt) -> Recording:
    from dataclasses import replace

    from slimmer.root.directory import DirectoryRoot
    from slimmer.root.fingerprint import fingerprint
    from tracer.watch import watch

    place = options["watch"]
    seconds = 60.0 if options["seconds"] is None else options["seconds"]
    narrator.say(f"watching {place} for {seconds:g} s; Ctrl-C ends it")
    recording = watch(int(place) if place.isdigit() else place, seconds, lambda: interrupt.asked)
    top = f"/proc/{place}/root" if place.isdigit() else place
    return replace(recording, root=fingerprint(DirectoryRoot(top)))
