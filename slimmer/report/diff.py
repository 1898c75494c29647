"""What changed between two outputs or images: paths, packages, risks, config, sizes. Times of files do not count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

from slimmer.image.config import ImageConfig
from slimmer.packages.model import PackageType
from slimmer.report.model import KeptPath, Mark
from slimmer.report.sides import Side
from slimmer.root.model import FileType, sort_key


@dataclass(frozen=True, slots=True)
class PathChange:
    """A path on one side only, or one that differs. `what` names the fields that differ ("content", "mode")."""

    path: str
    before: KeptPath | None
    after: KeptPath | None
    what: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        return _size(self.after) - _size(self.before)


@dataclass(frozen=True, slots=True)
class PackageChange:
    """A package whose versions differ; empty on the side that has none."""

    type: PackageType
    name: str
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RiskChange:
    """Marks that a path gained or lost, with the path or without it."""

    path: str
    gained: tuple[Mark, ...]
    lost: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class ConfigChange:
    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Diff:
    """Everything that differs; each list in the order of paths or names."""

    old: str
    new: str
    old_bytes: int
    new_bytes: int
    added: tuple[PathChange, ...]
    removed: tuple[PathChange, ...]
    changed: tuple[PathChange, ...]
    packages: tuple[PackageChange, ...]
    risks: tuple[RiskChange, ...]
    config: tuple[ConfigChange, ...]

    @property
    def same(self) -> bool:
        return not (self.added or self.removed or self.changed or self.config)

    @property
    def risk_gained(self) -> bool:
        return any(each.gained for each in self.risks)


def compare(old: Side, new: Side) -> Diff:
    """The difference of two sides."""
    added, removed, changed = [], [], []
    for path in sorted(old.paths.keys() | new.paths.keys(), key=sort_key):
        before, after = old.paths.get(path), new.paths.get(path)
        if before is None:
            added.append(PathChange(path, None, after))
        elif after is None:
            removed.append(PathChange(path, before, None))
        elif what := differences(before, after):
            changed.append(PathChange(path, before, after, what))
    return Diff(
        old=old.name,
        new=new.name,
        old_bytes=_total(old),
        new_bytes=_total(new),
        added=tuple(added),
        removed=tuple(removed),
        changed=tuple(changed),
        packages=tuple(_packages(old, new)),
        risks=tuple(_risks(old, new)),
        config=tuple(_config(old.config, new.config)),
    )


def differences(before: KeptPath, after: KeptPath) -> tuple[str, ...]:
    """The fields in which two rows of one path differ."""
    one, two = before.entry, after.entry
    found = []
    if one.type is not two.type:
        found.append("type")
    elif one.type is FileType.FILE and (before.sha256 != after.sha256 or one.size != two.size):
        found.append("content")
    elif one.target != two.target:
        found.append("target")
    elif one.device != two.device:
        found.append("device")
    if one.mode != two.mode:
        found.append("mode")
    if (one.uid, one.gid) != (two.uid, two.gid):
        found.append("owner")
    if dict(before.xattrs) != dict(after.xattrs):
        found.append("xattrs")
    return tuple(found)


def _size(row: KeptPath | None) -> int:
    return row.entry.size if row else 0


def _total(side: Side) -> int:
    return sum(row.entry.size for row in side.paths.values())


def _versions(side: Side) -> dict[tuple[PackageType, str], set[str]]:
    found: dict[tuple[PackageType, str], set[str]] = {}
    for row in side.paths.values():
        if row.entry.type is not FileType.DIRECTORY:
            for package in (row.package, *row.also):
                if package is not None:
                    found.setdefault((package.type, package.name), set()).add(package.version)
    return found


def _packages(old: Side, new: Side) -> Iterator[PackageChange]:
    before, after = _versions(old), _versions(new)
    for key in sorted(before.keys() | after.keys()):
        one, two = sorted(before.get(key, ())), sorted(after.get(key, ()))
        if one != two:
            yield PackageChange(key[0], key[1], tuple(one), tuple(two))


def _risks(old: Side, new: Side) -> Iterator[RiskChange]:
    before = {path: set(row.risks) for path, row in old.paths.items() if row.risks}
    after = {path: set(row.risks) for path, row in new.paths.items() if row.risks}
    for path in sorted(before.keys() | after.keys(), key=sort_key):
        one, two = before.get(path, set()), after.get(path, set())
        if one != two:
            yield RiskChange(path, tuple(sorted(two - one)), tuple(sorted(one - two)))


def _config(old: ImageConfig, new: ImageConfig) -> Iterator[ConfigChange]:
    for field in fields(ImageConfig):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if before == after:
            continue
        if field.name in ("env", "labels"):
            yield from _pairs(field.name, dict(before), dict(after))
        else:
            yield ConfigChange(field.name, _words(before), _words(after))


def _pairs(name: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[ConfigChange]:
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            yield ConfigChange(f"{name} {key}", before.get(key, ""), after.get(key, ""))


def _words(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return str(value)
