"""What to do about a run that went wrong, where its end tells what it lacked."""

from __future__ import annotations

import posixpath

from slimmer.exercise.model import RunOutcome
from slimmer.exercise.services import unreached
from slimmer.recipe import Recipe

_SYSTEMD = {"/sbin/init", "/usr/sbin/init", "/bin/systemd", "/lib/systemd/systemd", "/usr/lib/systemd/systemd"}


def advice(outcome: RunOutcome, recipe: Recipe) -> str:
    """In a sentence; empty where nothing is known."""
    if said := unreached(outcome, recipe):
        return said
    # systemd mounts filesystems before it says a word, and ends without one where it may not.
    first = posixpath.normpath(outcome.command[0]) if outcome.command else ""
    if first in _SYSTEMD and "SYS_ADMIN" not in {each.upper().removeprefix("CAP_") for each in recipe.sandbox.cap_add}:
        return "if this is systemd: it needs --allow-nested --cap-add SYS_ADMIN, as in a container"
    return ""
