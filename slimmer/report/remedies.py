"""What can be done about a warning: a line to paste. A warning without one is for --verbose and for programs."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from slimmer.closure.model import ClosureWarning

TELLING = 30  # from this weight on a behaviour may fail; below, something only could not be read
GRAVE = 60  # shown whether there is a remedy or not: it was seen to fail, or will
MOST = 5  # shown to a person at a time
_TARGET = re.compile(r"\((/[^()]+)\)|may start (/\S+?),")


def _include(warning: ClosureWarning) -> str:
    return f"--include {shlex.quote(warning.path)}" if warning.path not in ("", "/") else ""


def _target(warning: ClosureWarning) -> str:
    found = _TARGET.search(warning.text)
    return f"--include {shlex.quote(found[1] or found[2])}" if found else ""


def _mount(warning: ClosureWarning) -> str:
    return f"podman run --volume {shlex.quote(f'{warning.path}:{warning.path}')} …"


REMEDIES: Mapping[str, Callable[[ClosureWarning], str]] = {
    "start": _include,
    "healthcheck": _include,
    "heavy-plugin": _include,
    "optional-import": _include,
    "listed-directory": _include,
    "mentioned-directory": _include,
    "siblings": lambda each: f"--include {shlex.quote(posixpath.dirname(each.path))}",
    "dlopen-string": _target,
    "command": _target,
    "looked-at": lambda each: f"--exec {shlex.quote(f'{each.path} --version')}",
    "large-package": lambda each: "--keep packages",
    "mounted": _mount,
    "outside-socket": _mount,
}


def with_remedy(warning: ClosureWarning) -> ClosureWarning:
    """The warning with its line to paste, where there is one."""
    remedy = REMEDIES.get(warning.kind)
    return replace(warning, remedy=remedy(warning)) if remedy and not warning.remedy else warning


def actionable(warnings: Sequence[ClosureWarning]) -> tuple[ClosureWarning, ...]:
    """Those that name a behaviour that may fail and what to do, in the order given; one for each remedy."""
    found: dict[str, ClosureWarning] = {}
    for each in warnings:
        if each.weight >= GRAVE or (each.remedy and each.weight >= TELLING):
            found.setdefault(each.remedy or f"{each.kind} {each.path} {each.text}", each)
    return tuple(found.values())
