"""Narration on stderr: lines, one progress line while a run goes on, and the summary at the end."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from slimmer.checks.compare import Verdict
from slimmer.cli.phases import Phases
from slimmer.closure.model import ClosureWarning
from slimmer.exercise.observer import Interrupt, Observer
from slimmer.pipeline.outputs import SWITCHED_OFF
from slimmer.pipeline.progress import Progress
from slimmer.pipeline.trace import Result
from slimmer.report.output import Output
from slimmer.report.remedies import actionable
from slimmer.report.vulnerabilities import load_vulnerabilities
from slimmer.report.vulnerability_views import summary
from slimmer.report.words import about
from slimmer.values import plain

WIDTH = 78
LAST = 3  # warnings that a run ends with


class ConsoleProgress:
    """stderr as a terminal or a log. The progress line is only for terminals."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._terminal = sys.stderr.isatty() and not quiet
        self._open = False  # a progress line stands there unfinished
        self._stage = ""
        self._last = 0.0
        self._phases = Phases(self.say, live=self._terminal and not verbose)

    def progress(self, interrupt: Interrupt, *, echo: bool = False) -> Progress:
        """For the pipeline. With `echo` what the application prints goes through to stderr."""
        return Progress(
            self.say,
            Observer(
                stage=self.stage,
                tick=self.tick,
                echo=self.echo if (echo or self._verbose) and not self._quiet else None,
                interrupt=interrupt,
            ),
            self._phases.phase,
        )

    def say(self, text: str) -> None:
        if not self._quiet:
            self.clear()
            click.echo(click.style("slim: ", dim=True) + plain(text), err=True)

    def stage(self, name: str) -> None:
        self._stage = name
        if not self._terminal and not self._quiet:
            click.echo(f"slim: {plain(name)}", err=True)

    def tick(self, seconds: float, paths: int) -> None:
        now = time.monotonic()
        if self._terminal and not self._verbose and now - self._last > 0.1:
            self._last = now
            stage = "running; Ctrl-C ends the run and builds" if self._stage == "running" else self._stage
            line = f"slim: {plain(stage)} … {seconds:5.1f} s, {paths} paths"
            click.echo("\r" + line.ljust(WIDTH), err=True, nl=False)
            self._open = True

    def echo(self, data: bytes) -> None:
        self.clear()
        sys.stderr.buffer.write(_harmless(data) if sys.stderr.isatty() else data)
        sys.stderr.buffer.flush()

    def clear(self) -> None:
        """Take an unfinished progress line away."""
        if self._open:
            click.echo("\r" + " " * WIDTH + "\r", err=True, nl=False)
            self._open = False

    def summary(self, result: Result, seconds: float) -> None:
        """What a person wants to know when it is over."""
        self.clear()
        if self._quiet:
            self._unproved(result.verdict)
            return
        report, image, verdict = result.report, result.image, result.verdict
        fat, slim = report.fat, report.slim
        share = 100 * slim.bytes / fat.bytes if fat.bytes else 0
        levels = ", ".join(f"{each.level} {about(each)}{megabytes(each.bytes)}" for each in report.levels)
        transfer = megabytes(report.subject.image_bytes)
        weight = f"{megabytes(slim.bytes)} ({share:.1f} %, {transfer} packed)"
        scanned = load_vulnerabilities(Output(result.directory))
        rows = [
            ("fat root", f"{megabytes(fat.bytes)} in {fat.files} files, {fat.packages} packages"),
            ("slim image", f"{weight} in {slim.files} files, {slim.packages} packages"),
            ("removed", f"{fat.files - slim.files} files, {megabytes(fat.bytes - slim.bytes)}"),
            ("by --keep", levels),
            ("image id", image.image_id),
            ("check", _check(verdict)),
            *([("challenge", verdict.challenge.summary())] if verdict.challenge else []),
            *([("findings", summary(scanned))] if scanned else []),
            *_warned(report.warnings),
            ("written to", f"{result.directory}  ({seconds:.1f} s)"),
            *([("time", self._phases.summary())] if self._phases.summary() else []),
            ("next", f"{program()} report {result.directory}"),
        ]
        for name, text in rows:
            click.echo(click.style(f"{name:>12}  ", bold=True) + plain(text), err=True)
        self._unproved(result.verdict)

    def _unproved(self, verdict: Verdict) -> None:
        """The last line, whoever asked for quiet: an image that nothing proved is not to be taken for one that is."""
        if not verdict.performed and verdict.why_not != SWITCHED_OFF:
            click.echo(f"slim: NOT PROVED: {plain(verdict.why_not)}", err=True)


# What moves a cursor, names a window or asks the terminal something; colours (CSI … m) are let through.
_OBEYED = re.compile(rb"\x1b(?!\[[0-9;]{0,32}m)|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]|\xc2[\x80-\x9f]")


def _harmless(data: bytes) -> bytes:
    """An application's output as a terminal may have it: escapes as text, all but colours."""
    return _OBEYED.sub(lambda found: "".join(f"\\x{each:02x}" for each in found.group()).encode(), data)


def _warned(warnings: Sequence[ClosureWarning]) -> Iterator[tuple[str, str]]:
    """The warnings that matter most, each with what to do about it."""
    shown = actionable(warnings)
    more = f"; {len(shown) - LAST} more in the report" if len(shown) > LAST else ""
    yield "warnings", f"{len(shown)} to act on{more}" if shown else "none to act on"
    for each in shown[:LAST]:
        yield "", f"{each.text}" if each.path in each.text else f"{each.path}: {each.text}"
        if each.remedy:
            yield "", f"    {each.remedy}"


def _check(verdict: Verdict) -> str:
    if not verdict.performed:
        return f"not performed: {verdict.why_not}"
    good = sum(not each.problem for each in verdict.comparisons)
    text = f"{verdict.word}: {good} of {len(verdict.comparisons)} comparisons equal"
    if verdict.misses:
        text += f", {len(verdict.misses)} lookups in vain without effect"
    if verdict.repaired:
        text += f", {len(verdict.repaired)} paths added by repair"
    return text


def program() -> str:
    """How a person starts slim here: by its name where a shell finds it."""
    if shutil.which("slim"):
        return "slim"
    beside = Path(sys.executable).with_name("slim")
    if not beside.is_file():
        return f"{sys.executable} -m slimmer"
    return os.path.relpath(beside) if beside.is_relative_to(Path.cwd()) else str(beside)


def megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
