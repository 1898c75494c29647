"""From a recording to what is packed: the closure at the chosen level, less exclusions, plus generated files."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from slimmer.closure import essentials
from slimmer.closure.binaries import plugins
from slimmer.closure.commands import shells
from slimmer.closure.model import Application, ClosureWarning, Level, LevelSize, Need, Omission, Reason, Rule, View
from slimmer.closure.ownership.application import dropped
from slimmer.closure.ownership.scanner_metadata import ScannerRule
from slimmer.closure.profiles import load
from slimmer.closure.profiles.drops import Dropped
from slimmer.closure.worklist import Closure, grow
from slimmer.elf import ldcache, versions
from slimmer.errors import SlimmerError
from slimmer.packages import scannerdata
from slimmer.packages.model import PackageIndex
from slimmer.pipeline import attributes
from slimmer.pipeline.known import Grown, Known
from slimmer.recipe import Keep, Miss, Recipe
from slimmer.root.layered import GeneratedRoot
from slimmer.root.model import Entry, FileType, Root, sort_key
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
    warnings: tuple[ClosureWarning, ...]
    notes: tuple[str, ...]
    was: Mapping[str, Entry] = field(default_factory=dict)  # what --chmod and --chown change, as the fat root has it


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
    told: Callable[[int], None] = lambda paths: None,
    known: Known | None = None,
) -> Plan:
    """Grow the closure and decide what is packed. `hidden` are directories that never enter (slimmer's own).

    `told` hears now and then how many paths the closure has; `known` may know it from a former run.

    Raises SlimmerError when a kept binary requires a symbol version that no kept library has.
    """
    reach = recipe.reach
    level = LEVELS[reach.keep]
    grown = known.closure(repairs) if known is not None else None
    if grown is None:
        reading = known.reading if known is not None and known.reading is not None else root
        grown = _grow(reading, index, recording, application, recipe, repairs, hidden, told)
        if known is not None:
            known.keep_closure(repairs, grown)
    closure = grown.closure
    chosen = list(closure.at(level))
    excluded, ignored = _exclude(chosen, closure, reach.exclude)
    kept = [path for path in chosen if path not in excluded]
    decided = {each.path for each in closure.left_out}
    siblings = plugins.unkept(set(kept), root, index, decided)
    warnings = [*plugins.standing(closure.warnings, set(kept)), *siblings, *ignored]
    warnings += shells.missed(closure.refused) if shells.refused(reach.no_profiles) else ()
    warnings.sort(key=lambda each: (-each.weight, each.kind, each.path))
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
    changed = attributes.change(full, paths, recipe.image)
    warnings += changed.warnings
    notes = (
        *changed.notes(),
        *(f"{each} {GHOSTS}" for each in scannerdata.whole(index, set(kept))),
        *_left_out(grown.dropped, set(paths)),
        *_left_out_of_packages(closure.left_out, set(paths), root),
    )
    sizes = weigh(root, closure, level)
    return Plan(changed.root, index, closure, level, paths, reasons, sizes, tuple(warnings), notes, was=changed.was)


def _grow(
    root: Root,
    index: PackageIndex,
    recording: Recording,
    application: Application,
    recipe: Recipe,
    repairs: Sequence[Miss],
    hidden: Sequence[str],
    told: Callable[[int], None],
) -> Grown:
    # Where the closure is known already, the rules need not be loaded.
    from slimmer.closure.languages.python.unused import unused
    from slimmer.closure.rules import rules_for

    reach = recipe.reach
    loaded = load.load_all(reach.profiles, reach.no_profiles)
    scanners = [ScannerRule()] if reach.scanner_data else []
    rules = [*rules_for(loaded, reach.include, cpu=reach.cpu or None), *scanners, RepairRule(repairs)]
    read = {each.path for each in recording.accesses if Kind.READ in each.kinds}
    refusal = shells.Refusal(root, recording) if shells.refused(reach.no_profiles) else None

    def never(path: str) -> str:
        if any(path == top or path.startswith(f"{top}/") for top in hidden):
            return "slimmer's own"
        if refusal is not None and (why := refusal.why(path)):
            return why
        return essentials.never(path, read=path in read)

    closure = grow(root, recording, index, application, rules, highest=LEVELS[reach.keep], never=never, told=told)
    more = tuple(unused({*closure.at(LEVELS[reach.keep])}, root, loaded))
    closure = replace(closure, warnings=(*closure.warnings, *more))
    return Grown(closure, dropped(loaded, root, recording, index, application))


def _left_out(found: Sequence[Dropped], kept: Collection[str]) -> Iterator[str]:
    """What of the application's own files does not stay although the rest does: a line for each of the first."""
    gone = [each for each in found if each.path not in kept]
    for each in gone[:LEFT_OUT_SHOWN]:
        yield f"left out of the application's own files: {each.path} ({each.why})"
    if len(gone) > LEFT_OUT_SHOWN:
        yield f"left out of the application's own files: {len(gone) - LEFT_OUT_SHOWN:,} more such paths"


def _left_out_of_packages(found: Sequence[Omission], kept: Collection[str], root: Root) -> Iterator[str]:
    """What language packages that stay stay without: a line for each kind, with its size and largest path."""
    kinds: dict[str, dict[str, int]] = {}
    for each in found:
        entry = root.entry(each.path)
        if each.why and entry is not None and each.path not in kept:
            below = root.walk(each.path) if entry.type is FileType.DIRECTORY else (entry,)
            size = sum(one.size for one in below if one.type is FileType.FILE and one.path not in kept)
            kinds.setdefault(each.why, {})[each.path] = size
    for why, sizes in sorted(kinds.items()):
        largest = min(sizes, key=lambda path: (-sizes[path], sort_key(path)))
        total = sum(sizes.values()) / 1e6
        yield f"left out of language packages: {why}, {len(sizes):,} paths of {total:,.1f} MB, the largest {largest}"


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


def _exclude(
    chosen: Sequence[str], closure: Closure, patterns: Sequence[str]
) -> tuple[frozenset[str], list[ClosureWarning]]:
    """Paths that --exclude takes away, and for each pattern a warning of the first that something needed."""
    if not patterns:
        return frozenset(), []
    matchers = [re.compile(fnmatch.translate(pattern)).match for pattern in patterns]
    tops = [pattern.rstrip("/") for pattern in patterns]
    excluded: dict[str, int] = {}  # by which pattern
    needed: dict[int, list[str]] = {}
    for path in chosen:  # sorted: a directory comes before what is in it
        parent = path[: path.rindex("/")] or "/"
        if path == "/":
            continue
        if parent in excluded:
            by: int | None = excluded[parent]
        else:
            by = next((n for n, match in enumerate(matchers) if path == tops[n] or match(path)), None)
        if by is not None:
            excluded[path] = by
            if closure.paths[path].reasons[0].rule != "directory":
                needed.setdefault(by, []).append(path)
    warnings = []
    for number, (first, *others) in sorted(needed.items()):
        more = f"; the same pattern, {patterns[number]}, takes {len(others)} more" if others else ""
        text = f"excluded, but {closure.paths[first].reasons[0].text}{more}"
        warnings.append(ClosureWarning("excluded", first, text, 70))
    return frozenset(excluded), warnings


def weigh(root: Root, closure: Closure, level: Level) -> tuple[LevelSize, ...]:
    """What each keep level up to this one would weigh: paths, and bytes of regular files with hard links once."""
    sizes = []
    for keep, each in LEVELS.items():
        if each > level:
            break
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
