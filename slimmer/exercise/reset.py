"""--reset: services that run already, and that slim does not start, begin anew before each exercise.

Before the first one too: what an earlier session left in them would be recorded, and would make the fat root answer
otherwise than the slim one does after it.
"""

from __future__ import annotations

import shlex
import subprocess
import tempfile
import time

from slimmer.errors import SlimmerError
from slimmer.exercise.listening import age, listeners
from slimmer.exercise.observer import Observer
from slimmer.exercise.words import ending, last_lines
from slimmer.recipe import Recipe
from slimmer.root.container import process_of

TIMEOUT = 300.0  # seconds for one command
PATIENCE = 60.0  # seconds until services that were up before listen again
YOUNG = 10.0  # seconds from a process's start in which it may still be about to open its first port
PAUSE = 0.1  # seconds between two looks


def reset(recipe: Recipe, observer: Observer) -> None:
    """Run the recipe's commands on the host, in order, and wait until the network that it joins listens as before.

    Raises SlimmerError when one fails, or when a port stays shut: nothing would be proved.
    """
    joins = recipe.sandbox.joins
    before = _up(joins, observer) if joins else frozenset()
    for argv in recipe.sandbox.reset:
        line = shlex.join(argv)
        observer.stage(f"resetting: {line}")
        _run(argv, line)
    if before and recipe.sandbox.reset:
        _listen_again(joins, before)
    elif joins:
        _up(joins, observer)


def _run(argv: tuple[str, ...], line: str) -> None:
    # A file, not pipes: a service that the command leaves behind may hold what it was given, and is not waited for.
    with tempfile.TemporaryFile() as said:
        try:
            code = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=TIMEOUT).returncode
            problem = ending(code) if code else ""
        except OSError as error:
            raise SlimmerError(f"--reset {line}: {error.strerror}", "it is a program of the host") from error
        except subprocess.TimeoutExpired:
            problem = f"did not end within {TIMEOUT:g} s"
        if problem:
            said.seek(0)
            raise SlimmerError(f"--reset {line} {problem}", last_lines(said.read()) or "it printed nothing")


def _up(joins: str, observer: Observer) -> frozenset[int]:
    """The ports, awaited while what was started just now has none: an engine says "started" long before.

    None while it does not run: the commands may be what starts it.
    """
    told = False
    while True:
        try:
            pid = process_of(joins)
        except SlimmerError:
            return frozenset()
        if (ports := listeners(pid)) or age(pid) > YOUNG:
            return ports
        if not told:
            observer.stage(f"waiting until something listens in {joins}, which was started just now")
            told = True
        time.sleep(PAUSE)


def _listen_again(joins: str, before: frozenset[int]) -> None:
    """Wait for what a command may have started anew."""
    deadline = time.monotonic() + PATIENCE
    while missing := before - listeners(process_of(joins)):
        if time.monotonic() > deadline:
            ports = ", ".join(map(str, sorted(missing)))
            raise SlimmerError(
                f"after --reset nothing listens on port {ports} of {joins} for {PATIENCE:g} s, as something did before",
                "the commands have to leave its services running",
            )
        time.sleep(PAUSE)
