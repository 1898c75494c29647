"""slim.lock: what an image is to hold, for review in a pull request, and for a build that stops when it deviates.

One JSON value a line, so that a diff shows a path as a line: first what the image was made of, then every path.

    {"format": "slimmer.lock/1"}
    {"source": "sha256:…", "recipe": "sha256:…", "profiles": "sha256:…", …}
    {"allow": ["/usr/share/zoneinfo/*"]}
    {"path": "/bin/sh", "type": "symlink", "target": "dash", …}

A changed source with an unchanged closure is no deviation; it is said.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from slimmer.errors import SlimmerError
from slimmer.report.model import KeptPath
from slimmer.report.words import package_words
from slimmer.root.model import FileType, sort_key

FORMAT = "slimmer.lock/1"
NAME = "slim.lock"
LARGEST = 512 * 1024 * 1024  # bytes
_HINT = "`slim trace --update-lock` writes it"


@dataclass(frozen=True, slots=True)
class Origin:
    """What an image was made of: digests and versions by name, in a fixed order."""

    source: str  # the image's digest, or a directory's fingerprint
    recipe: str
    profiles: str
    version: str  # of slimmer
    compressor: str
    image: str  # image id


@dataclass(frozen=True, slots=True)
class Locked:
    """A path as the lock has it. `value` is the text that is compared: a digest, a link's target, a device's number."""

    path: str
    type: FileType
    mode: int
    owner: tuple[int, int]
    value: str = ""


@dataclass(frozen=True, slots=True)
class Lock:
    origin: Origin
    paths: tuple[Locked, ...]  # sorted
    allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deviation:
    """A path that is not as locked. `what`: "added", "removed", or the fields that changed; `why` it is kept now."""

    path: str
    what: str
    package: str = ""
    why: str = ""


def locked(row: KeptPath) -> Locked:
    """A manifest's row as the lock keeps it. Times are no part of it: a rebuild of the same files is the same."""
    entry = row.entry
    value = row.sha256 or entry.target or (str(entry.device) if entry.device else "")
    return Locked(entry.path, entry.type, entry.mode, (entry.uid, entry.gid), value)


def make_lock(rows: Iterable[KeptPath], origin: Origin, allow: Sequence[str] = ()) -> Lock:
    paths = sorted(map(locked, rows), key=lambda each: sort_key(each.path))
    return Lock(origin, tuple(paths), tuple(sorted(set(allow))))


def dump(lock: Lock) -> str:
    """The file's text; the same for the same lock."""
    origin = {name: getattr(lock.origin, name) for name in Origin.__slots__}
    lines = [_line({"format": FORMAT}), _line(origin)]
    if lock.allow:
        lines.append(_line({"allow": list(lock.allow)}))
    for each in lock.paths:
        row: dict[str, Any] = {"path": each.path, "type": each.type.value, "mode": f"{each.mode:04o}"}
        row["owner"] = f"{each.owner[0]}:{each.owner[1]}"
        if each.value:
            row["value"] = each.value
        lines.append(_line(row))
    return "\n".join(lines) + "\n"


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=True)


def write_lock(lock: Lock, place: Path) -> None:
    """Replace the file whole. Raises SlimmerError."""
    part = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        part.write_text(dump(lock), encoding="utf-8")
        os.replace(part, place)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise SlimmerError(f"cannot write the lock {place}: {error.strerror}") from error


def read_lock(place: Path) -> Lock:
    """Raises SlimmerError with the line that is wrong."""
    try:
        if place.stat().st_size > LARGEST:
            raise SlimmerError(f"{place} is larger than {LARGEST} bytes", _HINT)
        text = place.read_text(encoding="utf-8")
    except OSError as error:
        raise SlimmerError(f"cannot read the lock {place}: {error.strerror}", _HINT) from error
    except UnicodeDecodeError as error:
        raise SlimmerError(f"the lock {place} is not UTF-8", _HINT) from error
    return parse(text, str(place))


def parse(text: str, where: str) -> Lock:
    """A lock from its text. Raises SlimmerError."""
    number = 0
    try:
        values = []
        for line in text.splitlines():
            number += 1
            values.append(json.loads(line))
        number = 1
        if values[0].get("format") != FORMAT:
            raise ValueError(f"its format is {values[0].get('format')!r}; this version reads {FORMAT}")
        number = 2
        origin = Origin(**{name: str(values[1][name]) for name in Origin.__slots__})
        at = 2
        allow: tuple[str, ...] = ()
        if len(values) > 2 and "allow" in values[2]:
            allow, at = tuple(map(str, values[2]["allow"])), 3
        paths = []
        for number, row in enumerate(values[at:], at + 1):  # noqa: B007  the message of an error names it
            uid, _, gid = row["owner"].partition(":")
            owner = int(uid), int(gid)
            kind = FileType(row["type"])
            paths.append(Locked(str(row["path"]), kind, int(row["mode"], 8), owner, str(row.get("value", ""))))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise SlimmerError(f"{where}, line {number}: {type(error).__name__}: {error}", _HINT) from error
    return Lock(origin, tuple(paths), allow)


def deviations(lock: Lock, rows: Iterable[KeptPath], allow: Sequence[str] = ()) -> tuple[Deviation, ...]:
    """Where what is kept now is not what was locked, in the order of paths. `allow` are globs beside the lock's own."""
    may_vary = (*lock.allow, *allow)
    before = {each.path: each for each in lock.paths}
    found: list[Deviation] = []
    for row in rows:
        path = row.entry.path
        old = before.pop(path, None)
        if any(fnmatchcase(path, pattern) for pattern in may_vary):
            continue
        new = locked(row)
        if old == new:
            continue
        package = package_words(row.package) if row.package else ""
        why = row.reasons[0].text if row.reasons else ""
        found.append(Deviation(path, "added" if old is None else _changes(old, new), package, why))
    found += [
        Deviation(path, "removed") for path in before if not any(fnmatchcase(path, pattern) for pattern in may_vary)
    ]
    found.sort(key=lambda each: sort_key(each.path))
    return tuple(found)


def _changes(old: Locked, new: Locked) -> str:
    words = {"type": "type", "mode": "mode", "owner": "owner", "value": "content"}
    return ", ".join(word for name, word in words.items() if getattr(old, name) != getattr(new, name))


def lines(found: Sequence[Deviation], most: int = 60) -> list[str]:
    """For a person: a sign, the path, what changed, its package and why it is there."""
    said = []
    for each in found[:most]:
        sign = {"added": "+", "removed": "-"}.get(each.what, "~")
        detail = "" if sign in "+-" else f"  {each.what}"
        package = f"  [{each.package}]" if each.package else ""
        why = f"  {each.why}" if each.why else ""
        said.append(f"{sign} {each.path}{detail}{package}{why}")
    if len(found) > most:
        said.append(f"  and {len(found) - most:,} more")
    return said


def unlike(old: Origin, new: Origin) -> list[str]:
    """What differs of where two images come from, for a person."""
    return [
        f"{name}: {getattr(old, name)[:71]}, now {getattr(new, name)[:71]}"
        for name in Origin.__slots__
        if getattr(old, name) != getattr(new, name)
    ]
