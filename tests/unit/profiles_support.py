"""Planted roots with a dpkg database, and closures grown over them by chosen rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slimmer.closure.essentials import never
from slimmer.closure.model import Application, Level, Rule
from slimmer.closure.profiles.load import Profile, parse
from slimmer.closure.recorded import RecordedRule
from slimmer.closure.worklist import Closure, grow
from slimmer.packages.index import index
from slimmer.root.directory import DirectoryRoot
from tests.support import plant
from tracer.recording import Access, Execution, Kind, Recording, collect


@dataclass(frozen=True)
class Deb:
    """A package for `debian`: its fields, and the content of its files."""

    files: Mapping[str, str | bytes | None]
    fields: Mapping[str, str] = field(default_factory=dict)


def debian(top: Path, packages: Mapping[str, Deb], unowned: Mapping[str, str | bytes | None] | None = None) -> Path:
    """A root in which dpkg knows these packages; `unowned` is what nobody installed."""
    status = []
    for name, package in packages.items():
        plant(top, package.files)
        fields = {"Status": "install ok installed", "Version": "1", "Architecture": "amd64", **package.fields}
        status.append("\n".join([f"Package: {name}", *(f"{key}: {value}" for key, value in fields.items())]) + "\n")
        paths = {"/."}
        for path in package.files:
            parts = path.split("/")
            paths.update("/".join(parts[: end + 1]) for end in range(1, len(parts)))
        plant(top, {f"/var/lib/dpkg/info/{name}.list": "\n".join(sorted(paths)) + "\n"})
    if packages:
        plant(top, {"/var/lib/dpkg/status": "\n".join(status)})
    plant(top, unowned or {})
    return top


def recorded(
    *,
    executed: Iterable[str] = (),
    read: Iterable[str] = (),
    looked_at: Iterable[str] = (),
    listed: Iterable[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Recording:
    kinds = ((Kind.EXEC, executed), (Kind.READ, read), (Kind.STAT, looked_at), (Kind.LIST, listed))
    accesses = [Access(path, frozenset({kind}), frozenset()) for kind, paths in kinds for path in paths]
    variables = tuple(sorted((environment or {}).items()))
    programs = sorted(access.path for access in accesses if Kind.EXEC in access.kinds)
    return Recording(collect(accesses), tuple(Execution(path, "/", variables) for path in programs))


def closure(top: Path, recording: Recording, rules: Sequence[Rule], application: Application | None = None) -> Closure:
    root = DirectoryRoot(str(top))
    return grow(root, recording, index(root), application or Application(), [RecordedRule(), *rules], never=never)


def reached(
    top: Path,
    recording: Recording,
    rules: Sequence[Rule],
    application: Application | None = None,
    level: Level = Level.REACHABLE,
) -> set[str]:
    """What a closure holds at a level beside the recording and directories on the way."""
    grown = closure(top, recording, rules, application)
    passing = {"recorded", "directory", "link"}
    return {path for path in grown.at(level) if not {each.rule for each in grown.paths[path].reasons} <= passing}


def profile(text: str, name: str = "mine") -> Profile:
    return parse(text, name, f"{name}.toml")
