"""Narration on stderr: lines, one progress line while a run goes on, and the summary at the end."""

from __future__ import annotations

import sys
import time

import click

from slimmer.check import Verdict
from slimmer.exercise.drive import Interrupt, Observer
from slimmer.pipeline import Result, Teller

WIDTH = 78


class Narrator:
    """stderr as a terminal or a log. The progress line is only for terminals."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._terminal = sys.stderr.isatty() and not quiet
        self._open = False  # a progress line stands there unfinished
        self._stage = ""
        self._last = 0.0

    def teller(self, interrupt: Interrupt, *, echo: bool = False) -> Teller:
        """For the pipeline. With `echo` what the application prints goes through to stderr."""
        return Teller(
            self.say,
            Observer(
                stage=self.stage,
                tick=self.tick,
                echo=self.echo if (echo or self._verbose) and not self._quiet else None,
                interrupt=interrupt,
            ),
        )

    def say(self, text: str) -> None:
        if not self._quiet:
            self.clear()
            click.echo(click.style("slim: ", dim=True) + text, err=True)

    def stage(self, name: str) -> None:
        self._stage = name
        if not self._terminal and not self._quiet:
            click.echo(f"slim: {name}", err=True)

    def tick(self, seconds: float, paths: int) -> None:
        now = time.monotonic()
        if self._terminal and not self._verbose and now - self._last > 0.1:
            self._last = now
            line = f"slim: {self._stage} … {seconds:5.1f} s, {paths} paths"
            click.echo("\r" + line.ljust(WIDTH), err=True, nl=False)
            self._open = True

    def echo(self, data: bytes) -> None:
        self.clear()
        sys.stderr.buffer.write(data)
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
            return
        report, image, verdict = result.product.report, result.product.image, result.verdict
        fat, slim = report.fat, report.slim
        share = 100 * slim.bytes / fat.bytes if fat.bytes else 0
        levels = ", ".join(f"{each.level} {megabytes(each.bytes)}" for each in report.levels)
        transfer = megabytes(report.subject.image_bytes)
        weight = f"{megabytes(slim.bytes)} ({share:.1f} %, {transfer} packed)"
        rows = [
            ("fat root", f"{megabytes(fat.bytes)} in {fat.files} files, {fat.packages} packages"),
            ("slim image", f"{weight} in {slim.files} files, {slim.packages} packages"),
            ("removed", f"{fat.files - slim.files} files, {megabytes(fat.bytes - slim.bytes)}"),
            ("by --keep", levels),
            ("image id", image.image_id),
            ("check", _check(verdict)),
            ("unsure", f"{len(report.unsure)} things to look at" if report.unsure else "nothing"),
            ("written to", f"{result.directory}  ({seconds:.1f} s)"),
            ("next", f"slim report {result.directory}"),
        ]
        for name, text in rows:
            click.echo(click.style(f"{name:>12}  ", bold=True) + text, err=True)


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


def megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
