"""From a recording to what is packed: the closure at the chosen level, less exclusions, plus generated files."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from slimmer.check import Miss
from slimmer.closure import essentials, profiles, siblings
from slimmer.closure.application import dropped
from slimmer.closure.drops import Dropped
from slimmer.closure.grow import Closure, grow
from slimmer.closure.model import Application, Level, Need, Reason, Rule, Unsure, View
from slimmer.closure.rules import rules_for
from slimmer.closure.scanner import ScannerRule
from slimmer.elf import ldcache, versions
from slimmer.errors import SlimmerError
from slimmer.packages import scannerdata
from slimmer.packages.model import PackageIndex
from slimmer.recipe import Keep, Recipe
from slimmer.report.model import LevelSize
from slimmer.root.layered import GeneratedRoot
from slimmer.root.model import FileType, Root, sort_key
from tracer.recording import Kind, Recording

LEVELS = {Keep.RECORDED: Level.RECORDED, Keep.REACHABLE: Level.REACHABLE, Keep.PACKAGES: Level.PACKAGES}
LD_CACHE = "/etc/ld.so.cache"
GENERATED = "generated"
LEFT_OUT_SHOWN = 12
GHOSTS = "is kept whole, as the application uses it: scanners will list packages that are gone"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is packed. `root` reads the generated files too; `paths` is sorted as bytes."""

    root: Root
    index: PackageIndex
    closure: Closure
    level: Level
    paths: tuple[str, ...]
    reasons: Mapping[str, tuple[Reason, ...]]
    levels: tuple[LevelSize, ...]
    unsure: tuple[Unsure, ...]
    notes: tuple[str, ...]


class RepairRule(Rule):
    """What a check found missing."""

    name = "check"
    level = Level.RECORDED

    def __init__(self, misses: Sequence[Miss]) -> None:
        self._misses = misses

    def begin(self, view: View) -> Iterable[Need]:
        for miss in self._misses:
            if miss.kinds == (Kind.LIST.value,) and miss.why:
                yield Need(miss.path, Reason(self.name, f"its directory was listed by {miss.who}"), follow=False)
            elif miss.why:
                yield Need(miss.path, Reason(self.name, f"{miss.why} by {miss.who}"))
            else:
                yield Need(miss.path, Reason(self.name, f"looked for by {miss.who} in the slim image"))


def make_plan(
    root: Root,
    index: PackageIndex,
    recording: Recording,
    application: Application,
    recipe: Recipe,
    *,
    repairs: Sequence[Miss] = (),
    hidden: Sequence[str] = (),
) -> Plan:
    """Grow the closure and decide what is packed. `hidden` are directories that never enter (slimmer's own).

    Raises SlimmerError when a kept binary requires a symbol version that no kept library has.
    """
    reach = recipe.reach
    loaded = profiles.load_all(reach.profiles, reach.no_profiles)
    scanners = [ScannerRule()] if reach.scanner_data else []
    rules = [*rules_for(loaded, reach.include, cpu=reach.cpu or None), *scanners, RepairRule(repairs)]

    read = {each.path for each in recording.accesses if Kind.READ in each.kinds}

    def never(path: str) -> str:
        if any(path == top or path.startswith(f"{top}/") for top in hidden):
            return "slimmer's own"
        return essentials.never(path, read=path in read)

    closure = grow(root, recording, index, application, rules, never=never)
    level = LEVELS[reach.keep]
    chosen = list(closure.at(level))
    excluded, ignored = _exclude(chosen, closure, reach.exclude)
    kept = [path for path in chosen if path not in excluded]
    unsure = siblings.standing(closure.unsure, set(kept)) + list(siblings.unkept(set(kept), root, index)) + ignored
    unsure.sort(key=lambda doubt: (-doubt.weight, doubt.kind, doubt.path))
    generated = _generate(root, index, kept, scanner_data=reach.scanner_data)
    full = GeneratedRoot(root, generated, "/var/lib/dpkg/status")
    reasons = {path: closure.paths[path].at(level) for path in kept}
    for path in generated:
        _add(reasons, path, Reason(GENERATED, "made anew for what is kept"), full)
    paths = tuple(sorted(reasons, key=sort_key))
    problems = versions.check(root, kept, env=application.env or {})
    if problems:
        raise SlimmerError(
            "the loader would refuse what would be packed:\n  " + "\n  ".join(str(each) for each in problems[:8]),
            "the fat root is inconsistent itself, or an --exclude took a library away",
        )
    notes = (
        *(f"{each} {GHOSTS}" for each in scannerdata.whole(index, set(kept))),
        *_left_out(dropped(loaded, root, recording, index, application), set(paths)),
    )
    return Plan(full, index, closure, level, paths, reasons, weigh(root, closure, level), tuple(unsure), notes)


def _left_out(found: Sequence[Dropped], kept: Collection[str]) -> Iterator[str]:
    """What of the application's own files does not stay although the rest does: a line for each of the first."""
    gone = [each for each in found if each.path not in kept]
    for each in gone[:LEFT_OUT_SHOWN]:
        yield f"left out of the application's own files: {each.path} ({each.why})"
    if len(gone) > LEFT_OUT_SHOWN:
        yield f"left out of the application's own files: {len(gone) - LEFT_OUT_SHOWN:,} more such paths"


def _add(reasons: dict[str, tuple[Reason, ...]], path: str, reason: Reason, root: Root) -> None:
    reasons[path] = (reason,)
    while path != "/":
        child, path = path, path[: path.rindex("/")] or "/"
        if path in reasons:
            break
        if root.entry(path) is not None:
            reasons[path] = (Reason("directory", f"holds {child}", child),)


def _generate(root: Root, index: PackageIndex, kept: Sequence[str], *, scanner_data: bool) -> dict[str, bytes]:
    generated: dict[str, bytes] = {}
    cache = ldcache.fresh(root, kept) if root.entry(LD_CACHE) is not None else None
    if cache is not None:
        generated[LD_CACHE] = cache
    if scanner_data:
        generated.update(scannerdata.generated(root, index, kept))
    return generated


def _exclude(chosen: Sequence[str], closure: Closure, patterns: Sequence[str]) -> tuple[frozenset[str], list[Unsure]]:
    """Paths that --exclude takes away, and a doubt for each that something needed."""
    if not patterns:
        return frozenset(), []
    matchers = [re.compile(fnmatch.translate(pattern)).match for pattern in patterns]
    tops = [pattern.rstrip("/") for pattern in patterns]
    excluded: set[str] = set()
    doubts: list[Unsure] = []
    for path in chosen:  # sorted: a directory comes before what is in it
        parent = path[: path.rindex("/")] or "/"
        if path == "/":
            continue
        if parent in excluded or path in tops or any(match(path) for match in matchers):
            excluded.add(path)
            reason = closure.paths[path].reasons[0]
            if reason.rule != "directory":
                doubts.append(Unsure("excluded", path, f"excluded, but {reason.text}", 70))
    return frozenset(excluded), doubts


def weigh(root: Root, closure: Closure, level: Level) -> tuple[LevelSize, ...]:
    """What each keep level would weigh: paths, and bytes of regular files with hard links once."""
    sizes = []
    for keep, each in LEVELS.items():
        count = total = 0
        seen: set[tuple[int, int]] = set()
        for path in closure.at(each):
            entry = root.entry(path)
            if entry is None:
                continue
            count += 1
            if entry.type is FileType.FILE and (entry.links < 2 or entry.identity not in seen):
                seen.add(entry.identity)
                total += entry.size
        sizes.append(LevelSize(keep.value, count, total, each is level))
    return tuple(sizes)
