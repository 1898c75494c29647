"""Who ends a run: Ctrl-C, and what --continue-on names."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from slimmer.errors import UsageProblem
from slimmer.exercise.observer import ContinueOn, Interrupt

continue_on_option = click.option(
    "--continue-on",
    type=click.Choice([each.value for each in ContinueOn]),
    help="After the exercise it runs until Enter, or SIGUSR1 to slim: meanwhile somebody else does the rest.",
)


def interrupt_from(options: Mapping[str, Any]) -> Interrupt:
    """Ctrl-C, and what --continue-on names. Raises UsageProblem where nobody could press Enter."""
    chosen = ContinueOn(options["continue_on"]) if options.get("continue_on") else None
    if chosen is ContinueOn.ENTER and not (sys.stdin and sys.stdin.isatty()):
        raise UsageProblem(
            "--continue-on enter reads a line of a terminal, and standard input is none",
            "say --continue-on signal (kill -USR1 of this process ends the run), or --for TIME",
        )
    return Interrupt(chosen)
