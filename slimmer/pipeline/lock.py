"""The lock's part in a build: written anew on request, or held against what is about to be published."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slimmer.errors import CheckFailed
from slimmer.recipe import Recipe
from slimmer.report.model import Report
from slimmer.report.output import Output
from slimmer.trust.lock import NAME, Lock, Origin, deviations, lines, make_lock, read_lock, unlike, write_lock
from slimmer.trust.statements import profiles_digest, recipe_digest


class LockMode(enum.StrEnum):
    OFF = "off"
    UPDATE = "update"
    LOCKED = "locked"


@dataclass(frozen=True, slots=True)
class LockOptions:
    """`allow` are globs of paths that may vary, beside the recipe's own."""

    mode: LockMode = LockMode.OFF
    file: Path = Path(NAME)
    allow: tuple[str, ...] = ()


def try_lock(options: LockOptions) -> None:
    """Raises SlimmerError when a build is to be locked and there is no lock: before the work."""
    if options.mode is LockMode.LOCKED:
        read_lock(options.file)


def held(options: LockOptions, output: Output, report: Report, recipe: Recipe, say: Callable[[str], None]) -> None:
    """Hold what an output is about to be against the lock. Raises CheckFailed with the deviations."""
    if options.mode is LockMode.OFF:
        return
    allow = (*recipe.lock.allow, *options.allow)
    subject = report.subject
    recording = output.directory / "recording.json"
    origin = Origin(
        source=subject.source_digest or _root(recording),
        recipe=f"sha256:{recipe_digest(recipe.dump().encode('utf-8', 'surrogateescape'))}",
        profiles=profiles_digest(recipe.reach.profiles),
        version=subject.version,
        compressor=subject.compressor,
        image=subject.image,
    )
    if options.mode is LockMode.UPDATE:
        write_lock(make_lock(output.manifest(), origin, allow), options.file)
        say(f"locked in {options.file}")
        return
    lock = read_lock(options.file)
    found = deviations(lock, output.manifest(), allow)
    if found:
        because = [f"  {line}" for line in unlike(lock.origin, origin) if not line.startswith("image:")]
        raise CheckFailed(
            f"{len(found)} paths are not as {options.file} has them:\n  " + "\n  ".join(lines(found)),
            "\n".join(
                [
                    *(["what it is made of differs too:", *because] if because else []),
                    "nothing was published; --update-lock takes the new content, --allow GLOB lets it vary",
                ]
            ),
        )
    say(_kept(lock, origin, options.file))


def _kept(lock: Lock, origin: Origin, file: Path) -> str:
    if lock.origin.image == origin.image:
        return f"as {file} has it: the same image, so there is nothing new to push"
    if lock.origin.source != origin.source:
        return f"as {file} has it, though the source has changed: every file is the same"
    return f"as {file} has it"


def _root(recording: Path) -> str:
    return str(json.loads(recording.read_text(encoding="utf-8")).get("root", ""))
