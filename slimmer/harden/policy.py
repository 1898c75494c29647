"""The whole policy of an output's image, as files and as reasons that can be asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slimmer.errors import SlimmerError
from slimmer.harden import apparmor, documents
from slimmer.harden.calls import Possible, Reason, possible
from slimmer.harden.needs import Needs, needs
from slimmer.harden.seccomp import Level, Profile, safe, strict
from slimmer.image.config import ImageConfig
from slimmer.recipe import Recipe
from slimmer.report.model import KeptPath
from slimmer.report.output import Output
from slimmer.root.model import Root
from slimmer.root.source import open_image
from tracer.recording import Recording, load
from tracer.runner import session_directory
from tracer.runner.confinement import Confinement

FORMAT = "slimmer.harden/1"


@dataclass(frozen=True, slots=True)
class Policy:
    """What an image may do at run time. `name` is that of its profiles; `made` are the calls that its exercise made.

    `made` is None where none was watched.
    """

    name: str
    seccomp: Profile
    needs: Needs
    rows: tuple[KeptPath, ...]
    recording: Recording
    possible: Possible
    level: Level = Level.SAFE
    made: frozenset[str] | None = None

    def knowing(self, made: frozenset[str]) -> Policy:
        """The same, where the exercise made these calls."""
        return replace(
            self, seccomp=_profile(self.possible, self.seccomp.architecture, self.level, made, self.needs), made=made
        )

    def files(self) -> Mapping[str, str]:
        """Name to text of everything that is written."""
        lines = documents.flags(self.needs, documents.FOLDER)
        return {
            documents.SECCOMP: self.seccomp.dump(),
            documents.APPARMOR: apparmor.profile(self.name, self.rows, self.needs, self.recording),
            documents.CONTEXT: documents.context(self.needs, self.name),
            documents.FLAGS: "\n".join(lines) + "\n",
            documents.REASONS: json.dumps(self._reasons(), indent=1) + "\n",
        }

    def confinement(self) -> Confinement:
        """The same for the sandbox of this machine. Raises SlimmerError where calls have no known numbers."""
        writable = tuple(each.path for each in self.needs.writable) if documents.read_only(self.needs) else None
        return Confinement(self.seccomp.program(), tuple(self.needs.capabilities), writable, not self.needs.gains)

    def _reasons(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "level": self.level.value,
            "made": None if self.made is None else sorted(self.made),
            "allowed": {call: [_row(each) for each in reasons] for call, reasons in self.seccomp.allowed.items()},
            "refused": list(self.seccomp.refused),
            "untold": [_row(each) for each in self.seccomp.untold],
            "capabilities": {name: _row(reason) for name, reason in self.needs.capabilities.items()},
            "writable": {place.path: place.why for place in self.needs.writable},
            "gains": [_row(each) for each in self.needs.gains],
        }


def _row(reason: Reason) -> dict[str, str]:
    return {"path": reason.path, "text": reason.text}


def policy(
    output: Output,
    recipe: Recipe,
    say: Callable[[str], None] = lambda text: None,
    level: Level = Level.SAFE,
    made: frozenset[str] | None = None,
) -> Policy:
    """Of an output, from its image as it lies in its layers. Raises SlimmerError.

    `made` are the names of the calls that its exercise made, without which there is no strict one.
    """
    with session_directory.directory() as scratch:
        say("unpacking the image")
        image = open_image(f"oci:{output.directory / 'image'}", cache=Path(scratch))
        try:
            config, _ = ImageConfig.parse(image.config_json)
            rows = tuple(output.manifest())
            recording = load(output.directory / "recording.json")
            say("looking into every object for the calls that it can make")
            found = possible(image, [row.entry.path for row in rows], say)
            name = profile_name(recipe.image.tag, config)
            return of(image, rows, config, recording, found, name, recipe, level, made)
        finally:
            image.close()


def of(
    root: Root,
    rows: Sequence[KeptPath],
    config: ImageConfig,
    recording: Recording,
    found: Possible,
    name: str,
    recipe: Recipe,
    level: Level = Level.SAFE,
    made: frozenset[str] | None = None,
) -> Policy:
    """From its parts."""
    sandbox = recipe.sandbox
    wanted = needs(root, rows, config, recording, found, sandbox.cap_add, sandbox.allow_nested)
    profile = _profile(found, config.architecture, level, made, wanted)
    return Policy(name, profile, wanted, tuple(rows), recording, found, level, made)


def _profile(found: Possible, architecture: str, level: Level, made: frozenset[str] | None, wanted: Needs) -> Profile:
    if level is Level.SAFE:
        return safe(found, architecture, made or (), wanted.beyond)
    if made is None:
        raise SlimmerError("a strict profile is made of the calls of an exercise, and none was watched")
    return strict(found, architecture, made, wanted.beyond)


def profile_name(tag: str, config: ImageConfig) -> str:
    """A name for profiles: the image's own, or what it starts."""
    base = tag if tag != "latest" else (config.argv or ("image",))[0].rpartition("/")[2]
    return "slimmer-" + (re.sub(r"[^a-z0-9.-]+", "-", base.lower()).strip("-.") or "image")


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one call: allowed with reasons, or refused."""

    call: str
    allowed: bool
    reasons: tuple[Reason, ...]


def why_call(directory: Path, call: str) -> Answer:
    """From the reasons that `slim harden` left in an output. Raises SlimmerError."""
    place = directory / documents.FOLDER / documents.REASONS
    try:
        value = json.loads(place.read_text(encoding="utf-8"))
        if value["format"] != FORMAT:
            raise ValueError(f"its format is {value['format']!r}")
        if call in value["allowed"]:
            rows = value["allowed"][call]
            return Answer(call, True, tuple(Reason(str(row["path"]), str(row["text"])) for row in rows))
        known = call in value["refused"]
    except FileNotFoundError as error:
        raise SlimmerError(f"{directory} has no policy yet", f"`slim harden {directory}` writes it") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SlimmerError(f"{place} is not of format {FORMAT}: {error}", "`slim harden` writes it anew") from error
    if known:
        text = "neither the C library by itself nor any kept object makes it"
        if value.get("level") == Level.STRICT:
            text = "the exercise did not make it, and not every program needs it"
        return Answer(call, False, (Reason("", text),))
    return Answer(call, False, (Reason("", "the runtimes' own default refuses it, or there is no such call"),))
