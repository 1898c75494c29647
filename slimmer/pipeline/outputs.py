"""What a trace or a build is to leave where, and what it takes to be published."""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass, field
from pathlib import Path

from slimmer.checks.challenge.model import Budget
from slimmer.image.archive import split_tag
from slimmer.image.layout import check_ref
from slimmer.pipeline.lock import LockOptions, try_lock
from slimmer.pipeline.signing import Signing
from slimmer.pipeline.target import refuse_file
from slimmer.pipeline.workspace import Workspace, beside
from slimmer.recipe import Recipe
from slimmer.registry.reference import Reference
from slimmer.report.findings import Finding

SWITCHED_OFF = "--no-check was given"


class CheckMode(enum.StrEnum):
    """Whether an image may be published that nothing proved."""

    AUTO = "auto"  # where it cannot be run: yes, said aloud
    REQUIRED = "required"  # no
    OFF = "off"  # it is not tried


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where results go."""

    directory: Path
    archive: str = ""  # a file, or "-" for stdout
    rootfs: str = ""
    push: str = ""
    check: CheckMode = CheckMode.AUTO
    repair: bool = True
    rounds: int = 4
    challenge: Budget | None = None  # None: nothing is asked beyond the exercise
    lock: LockOptions = field(default_factory=LockOptions)
    signing: Signing | None = None
    findings: tuple[Finding, ...] | None = None  # of scans of the fat root: what became of them is told

    def __post_init__(self) -> None:
        if self.push:
            Reference.parse(self.push)  # a name that is none is said before the work, not after it

    def try_places(self, recipe: Recipe) -> None:
        """Raises SlimmerError when something cannot be written where, or as what, it is to go: before the work."""
        check_ref(recipe.image.tag)
        try_lock(self.lock)
        if self.archive:
            split_tag(archive_name(recipe))
        if self.rootfs:
            with beside(Path(self.rootfs), "the tree", "--rootfs DIR"):
                pass
        if self.archive not in ("", "-"):
            refuse_file(Path(self.archive))
            with beside(Path(self.archive), "the archive", "--archive FILE"):
                pass

    def hidden(self, space: Workspace) -> list[str]:
        """Places that are no part of a live root."""
        places = [str(space.path), str(space.target), self.rootfs, self.archive if self.archive != "-" else ""]
        return [os.path.realpath(each) for each in places if each]


def archive_name(recipe: Recipe) -> str:
    return recipe.image.tag if recipe.image.tag != "latest" else "slimmer:latest"
