"""--reset: services that run already, and that slim does not start, begin anew before an exercise is done again."""

from __future__ import annotations

import shlex
import subprocess

from slimmer.errors import SlimmerError
from slimmer.exercise.observer import Observer
from slimmer.exercise.words import ending, last_lines
from slimmer.recipe import Recipe

TIMEOUT = 300.0  # seconds for one command


def reset(recipe: Recipe, observer: Observer) -> None:
    """Run the recipe's commands on the host, in order. Raises SlimmerError when one fails: nothing would be proved."""
    for argv in recipe.sandbox.reset:
        line = shlex.join(argv)
        observer.stage(f"resetting: {line}")
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT)
        except OSError as error:
            raise SlimmerError(f"--reset {line}: {error.strerror}", "it is a program of the host") from error
        except subprocess.TimeoutExpired as error:
            said = last_lines((error.stdout or b"") + b"\n" + (error.stderr or b""))
            raise SlimmerError(f"--reset {line} did not end within {TIMEOUT:g} s", said) from error
        if done.returncode:
            said = last_lines(done.stdout + b"\n" + done.stderr)
            raise SlimmerError(f"--reset {line} {ending(done.returncode)}", said or "it printed nothing")
