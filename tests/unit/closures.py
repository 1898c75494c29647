"""Closures of trees given as data, for the tests of the rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from slimmer.closure.languages.base import LanguageRule
from slimmer.closure.languages.registry import INLINE
from slimmer.closure.model import Application, Level, Need, Reason, Rule, View
from slimmer.closure.worklist import Closure, grow
from slimmer.packages.model import PackageIndex
from slimmer.root.directory import DirectoryRoot
from slimmer.root.model import Entry, Root
from tests.support import plant
from tests.support_roots import Owned
from tracer.recording import Recording


class Seed(Rule):
    """Keeps some paths to begin with, and what links lead to."""

    name = "seed"
    level = Level.RECORDED

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths

    def begin(self, view: View) -> Sequence[Need]:
        return [Need(path, Reason(self.name, "seed")) for path in self._paths]

    def visit(self, entry: Entry, view: View) -> Sequence[Need]:
        return [Need(entry.path, Reason("link", "link"))] if entry.target else []


def closure(
    root: Root,
    seeds: Sequence[str],
    rules: Sequence[type[Rule]],
    *,
    application: Application | None = None,
    recording: Recording | None = None,
    level: Level = Level.REACHABLE,
    packages: PackageIndex | None = None,
) -> Closure:
    """The closure of some seeds under some rules."""
    made = [Seed(seeds), *(rule(INLINE) if issubclass(rule, LanguageRule) else rule() for rule in rules)]
    return grow(
        root, recording or Recording(()), packages or Owned(), application or Application(), made, highest=level
    )


def kept(
    tmp: Path, tree: Mapping[str, str | bytes | None], *seeds: str, rules: Sequence[type[Rule]], **more: object
) -> set[str]:
    """The files and links that the closure of a planted tree holds."""
    root = DirectoryRoot(str(plant(tmp / "root", tree)))
    found = closure(root, seeds, rules, **more)  # type: ignore[arg-type]
    return {path for path in found.paths if (entry := root.entry(path)) is not None and entry.type != "directory"}
