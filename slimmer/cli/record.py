"""`slim record`: only the recording, to a file or stdout."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from slimmer.api import Recording, record
from slimmer.cli.described import recipe_from
from slimmer.cli.interrupts import interrupt_from
from slimmer.cli.options import Grouped, exercise_options, source_options, talk_options
from slimmer.cli.progress import ConsoleProgress
from slimmer.errors import IncompleteRecording, SlimmerError, UsageProblem
from slimmer.exercise.observer import Interrupt
from slimmer.pipeline.trace import explain
from slimmer.report.words import plural, shown


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


@click.command("record", cls=Grouped)
@source_options
@exercise_options
@click.option("-o", "--output", default="recording.json", metavar="FILE|-", help="Default recording.json.")
@click.option(
    "--watch",
    metavar="ROOT|PID|ENGINE:NAME|ID",
    help="Watch what runs there already (directory, process, podman:web, id of a container), by fanotify; needs root.",
)
@click.option(
    "--missing",
    metavar="OUT",
    help="With --watch of a container of OUT's image: what it looks for in vain and OUT removed, each with the "
    "--include that brings it back. Stops at each of its system calls, so it is slow meanwhile.",
)
@click.option("--explain", is_flag=True, help="Say which recorder is chosen, and why; alone, only that.")
@talk_options
def command(**options: Any) -> None:
    """Only record what an application touches. `slim build` makes an image of one or more recordings."""
    narrator = ConsoleProgress(quiet=options["quiet"], verbose=options["verbose"])
    target = options["output"]
    with interrupt_from(options).watching() as interrupt:
        if options["explain"] and not (options["run"] or options["watch"] or options["recipe"] or options["image"]):
            click.echo(explain(recipe_from(options)))
            return
        if options["missing"] and not options["watch"]:
            raise UsageProblem("--missing OUT asks what runs already", "add --watch PID or podman:NAME")
        if options["watch"]:
            recording = _watch(options, narrator, interrupt)
        else:
            recipe = recipe_from(options)
            by_hand = not any(run.exercised or run.seconds for run in recipe.runs)
            try:
                recorded = record(recipe, narrator.progress(interrupt, echo=by_hand))
            except IncompleteRecording as error:
                if target == "-":
                    sys.stdout.write(error.recording.dump())
                else:
                    write_file(Path(target), error.recording.dump())
                count = len(error.recording.accesses)
                said = f"{target} holds {count} paths, marked incomplete"
                raise IncompleteRecording(error.recording, said) from error
            recording = recorded.recording
            if options["explain"]:
                click.echo(recorded.explanation, err=True)
    if target == "-":
        sys.stdout.write(recording.dump())
        return
    write_file(Path(target), recording.dump())
    narrator.say(f"{len(recording.accesses)} paths, {len(recording.executions)} executions → {target}")
    for note in recording.notes:
        narrator.say(f"note: {note}")


def _watch(options: dict[str, Any], narrator: ConsoleProgress, interrupt: Interrupt) -> Recording:
    from dataclasses import replace

    from slimmer.report.missing import missing
    from slimmer.report.output import open_output
    from slimmer.root.container import names_process, process_of
    from slimmer.root.directory import DirectoryRoot
    from slimmer.root.fingerprint import fingerprint
    from tracer.watch import watch

    place = options["watch"]
    seconds = 60.0 if options["seconds"] is None else options["seconds"]
    pid = process_of(place) if names_process(place) or not os.path.isdir(place) else None
    output = open_output(options["missing"]) if options["missing"] else None
    # Before it is watched: a container may end meanwhile.
    watched = DirectoryRoot(place if pid is None else f"/proc/{pid}/root")
    root = fingerprint(watched)
    narrator.say(f"watching {place} for {seconds:g} s; Ctrl-C ends it")
    with interrupt.endable():
        recording = watch(place if pid is None else pid, seconds, interrupt.ended, vain=output is not None)
    if output is not None:
        rows = missing(recording.accesses, watched, output)
        for row in rows:
            click.echo(shown(row.line()), err=options["output"] == "-")
        narrator.say(f"{plural(len(rows), 'removed path')} looked for in vain")
    return replace(recording, root=root)
