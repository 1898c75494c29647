"""An output built once more from its own recipe and recording, and held against what is there.

Nothing is run: the recording says what the application touched, the recipe says the
rest, repairs included. What can differ then is the fat root, this program, and the
library that compresses; each difference is named.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimmer.errors import SlimmerError
from slimmer.exercise.source import open_for
from slimmer.image.compress import Compression
from slimmer.image.layout import Layout, layout_in, read_layout, verify_layers
from slimmer.image.members import members
from slimmer.packages.index import index
from slimmer.pipeline.configuration import application_of
from slimmer.pipeline.output import write_image
from slimmer.pipeline.plan import make_plan
from slimmer.recipe import Recipe
from slimmer.report.output import Output
from slimmer.root.fingerprint import fingerprint
from slimmer.root.model import sort_key
from tracer.recording import load
from tracer.runner import session_directory

RECORDING = "recording.json"
PACKED = ", the same content packed"
MAKERS = ("compressor", "program")
IN_PLACE = "runs in the live root change it: what they changed then is not here to be packed again"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same. `before` or `now` is empty when that side has no such thing."""

    what: str  # "root", "path /etc/passwd", "config /config/User", "layer 1", "compressor", "program"
    before: str
    now: str

    def __str__(self) -> str:
        return f"{self.what}: {self.before or 'absent'}, now {self.now or 'absent'}"


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What came of it. `notes` explain; they are no differences."""

    before: str  # manifest digests
    now: str
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Bit for bit."""
        return self.before == self.now

    @property
    def same_content(self) -> bool:
        """Every file and the configuration are the same; at most the compressed bytes differ."""
        return all(each.what.endswith(PACKED) or each.what in MAKERS for each in self.differences)


def reproduce(directory: Path, recipe: Recipe, say: Callable[[str], None] = lambda text: None) -> Reproduction:
    """Build the image of an output again, aside, and compare. The environment has no say. Raises SlimmerError."""
    if recipe.source.image == "-":
        raise SlimmerError(
            f"{directory} was made from a stream, which is over",
            "name the image again: --image docker-archive:FILE",
        )
    old = read_layout(layout_in(directory))
    verify_layers(old)
    recording = load(directory / RECORDING)
    opened = open_for(recipe, hidden=[str(directory.absolute())], say=say)
    notes = [IN_PLACE] if opened.place.in_place else []
    here = fingerprint(opened.root)
    found: list[Difference] = []
    if recording.root and recording.root != here:
        found.append(Difference("root", recording.root, here))
    say("building it again")
    plan = make_plan(
        opened.root,
        index(opened.root),
        recording,
        application_of(opened, recipe),
        recipe,
        repairs=recipe.repairs,
        hidden=[str(directory.absolute())] if opened.place.in_place else [],
    )
    with session_directory.directory() as folder:
        write_image(plan, opened.config, opened.place, recipe, Path(folder), {})
        new = read_layout(Path(folder))
        if old.manifest.digest != new.manifest.digest:
            found += compare(old, new)
            found += _makers(directory, recipe)
    return Reproduction(old.manifest.digest, new.manifest.digest, tuple(found), tuple(notes))


def compare(old: Layout, new: Layout) -> Iterator[Difference]:
    """Two images, down to the path and the configuration's field."""
    before, now = json.loads(old.config_bytes), json.loads(new.config_bytes)
    yield from _values("config ", _without_layers(before), _without_layers(now))
    ids = [value["rootfs"]["diff_ids"] for value in (before, now)]
    if ids[0] != ids[1]:
        yield from _paths(old, new)
    for number in range(max(map(len, ids))):
        one, other = (each[number] if number < len(each) else "" for each in ids)
        packed = [each.layers[number].digest if number < len(each.layers) else "" for each in (old, new)]
        if one != other:
            yield Difference(f"layer {number + 1}", one, other)
        elif packed[0] != packed[1]:
            yield Difference(f"layer {number + 1}{PACKED}", packed[0], packed[1])


def _makers(directory: Path, recipe: Recipe) -> Iterator[Difference]:
    """Other versions of what made the bytes: an explanation, when nothing else is one."""
    from slimmer import __version__

    if not (directory / "report.json").is_file():
        return
    subject = Output(directory).report().subject
    compressor = Compression(recipe.image.compression).compressor
    if subject.compressor != compressor:
        yield Difference("compressor", subject.compressor or "not recorded", compressor)
    if subject.version != __version__:
        yield Difference("program", f"slimmer {subject.version}", f"slimmer {__version__}")


def _without_layers(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in ("rootfs", "history")}


def _values(where: str, before: Any, now: Any) -> Iterator[Difference]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in sorted({*before, *now}):
            yield from _values(f"{where}/{name}", before.get(name), now.get(name))
    elif before != now:
        yield Difference(where, *("" if each is None else json.dumps(each) for each in (before, now)))


@dataclass(frozen=True, slots=True)
class _Member:
    """What a layer says of one path."""

    layer: int
    header: tuple[tuple[str, str], ...]

    def against(self, other: _Member) -> tuple[str, str]:
        """The fields that differ, of both sides."""
        mine, theirs = dict(self.header) | {"layer": str(self.layer)}, dict(other.header) | {"layer": str(other.layer)}
        names = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]
        return tuple(", ".join(f"{name} {side.get(name) or '-'}" for name in names) for side in (mine, theirs))  # type: ignore[return-value]


def _paths(old: Layout, new: Layout) -> Iterator[Difference]:
    before, now = _members(old), _members(new)
    for path in sorted({*before, *now}, key=lambda each: sort_key(each)):
        one, other = before.get(path), now.get(path)
        if one is None or other is None:
            yield Difference(f"path {path}", "present" if one else "", "present" if other else "")
        elif one != other:
            yield Difference(f"path {path}", *one.against(other))


def _members(layout: Layout) -> dict[str, _Member]:
    found: dict[str, _Member] = {}
    for number, layer in enumerate(layout.layers):
        for info, digest in members(layout.blob(layer.digest)):
            pairs = [
                ("type", info.type.decode("ascii", "replace")),
                ("mode", f"{info.mode:04o}"),
                ("owner", f"{info.uid}:{info.gid}"),
                ("size", str(info.size)),
                ("time", str(int(info.mtime))),
                ("target", info.linkname),
                ("sha256", digest),
                *((key, value) for key, value in sorted(info.pax_headers.items()) if key.startswith("SCHILY.")),
            ]
            found[f"/{info.name.strip('/')}"] = _Member(number + 1, tuple(pairs))
    return found


def lines(found: Reproduction, most: int = 40) -> Sequence[str]:
    """For a person."""
    if found.equal:
        return [f"bit for bit equal: {found.now}", *found.notes]
    if found.same_content:
        said = [f"the same content; only the compressed bytes differ: {found.before}, now {found.now}"]
    else:
        said = [f"the content differs: {found.before}, now {found.now}"]
    said += [f"  {each}" for each in found.differences[:most]]
    if len(found.differences) > most:
        said.append(f"  and {len(found.differences) - most:,} more: --json has all")
    return [*said, *found.notes]


def value(found: Reproduction) -> dict[str, Any]:
    """For programs."""
    return {
        "format": "slimmer.reproduction/1",
        "equal": found.equal,
        "same_content": found.same_content,
        "before": found.before,
        "now": found.now,
        "differences": [{"what": each.what, "before": each.before, "now": each.now} for each in found.differences],
        "notes": list(found.notes),
    }
