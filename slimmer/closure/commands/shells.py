"""Shells that a reviewer refuses (`--no-profile shell`): none stays but those that the run itself started."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence

from slimmer.closure.commands.wrappers import SHELLS
from slimmer.closure.model import ClosureWarning, Reason
from slimmer.root.model import Root
from tracer.recording import Kind, Recording

PROFILE = "shell"  # whose absence refuses them
NAMES = SHELLS | {"zsh", "fish", "csh", "tcsh", "pwsh", "busybox", "toybox"}
USED = frozenset({Kind.EXEC, Kind.READ})
REFUSED = "a shell that the run did not start, and --no-profile shell is given"
WEIGHT = 60


class Refusal:
    """Answers for one recording."""

    def __init__(self, root: Root, recording: Recording) -> None:
        self._used: set[str] = set()
        named = [each.path for each in recording.executions]
        named += [each.path for each in recording.accesses if not USED.isdisjoint(each.kinds)]
        for path in named:
            found = root.resolve(path)
            self._used.update((found.path, *found.links))

    def why(self, path: str) -> str:
        """Why a canonical path, or a link's own, must not enter; empty when it may."""
        folder, name = posixpath.split(path)
        return REFUSED if name in NAMES and folder.endswith("bin") and path not in self._used else ""


def missed(refused_paths: Mapping[str, Sequence[Reason]]) -> Iterator[ClosureWarning]:
    """Who would have started a shell that was refused."""
    for path, reasons in refused_paths.items():
        name = posixpath.basename(path)
        for reason in reasons if name in NAMES else ():
            if reason.rule != "link":
                yield ClosureWarning("refused-shell", reason.needed_by or path, _sentence(path, reason), WEIGHT)


def _sentence(path: str, reason: Reason) -> str:
    return f"cannot start {path} ({reason.text}): --no-profile shell leaves it out"


def refused(without: Sequence[str]) -> bool:
    """Whether the profiles that are left out refuse shells."""
    return PROFILE in without
