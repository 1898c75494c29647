"""Why a path stays: chains of reasons back to the recording; or what became of it.

Reads only manifest.json and removed.json: every kept path carries its reasons, and each
reason names the kept path that needs it, until one needs nobody ("recorded", "profile").
"""

from __future__ import annotations

import posixpath
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from slimmer.closure.essentials import never
from slimmer.closure.model import Reason
from slimmer.packages.model import Package
from slimmer.report.model import KeptPath, RemovedPath
from slimmer.report.output import Output
from slimmer.root.model import MAX_LINKS, Entry, FileType, sort_key

MOST_CHAINS = 1000


@dataclass(frozen=True, slots=True)
class Step:
    """One link of a chain: this path stays for this reason, which the next step's path gives."""

    path: str
    reason: Reason


Chain = tuple[Step, ...]  # from the path asked for to one that stays by itself


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of one path. Neither kept nor removed: the fat root does not have it."""

    asked: str
    path: str  # canonical
    links: tuple[str, ...] = ()  # symbolic links between what was asked and the path
    kept: KeptPath | None = None
    removed: RemovedPath | None = None
    chains: tuple[Chain, ...] = ()
    more: bool = False  # there are more chains than MOST_CHAINS
    siblings: int = 0  # of a removed path: kept files of its package
    siblings_removed: int = 0
    needer: str = ""  # who would have to need a removed path
    advice: tuple[str, ...] = ()  # how to keep it


def why(output: Output, asked: str, *, every: bool = False) -> Answer:
    """What became of a path (absolute, or relative to the top). Raises SlimmerError when the output cannot be read."""
    path = posixpath.normpath("/" + asked.lstrip("/"))
    kept = {row.entry.path: row for row in output.manifest()}
    canonical, links = _resolve(path, {each: row.entry for each, row in kept.items()})
    found = kept.get(canonical)
    if found is not None:
        chains = list(_every(kept, canonical)) if every else list(_shortest(kept, canonical))
        return Answer(
            asked, canonical, links, kept=found, chains=tuple(chains[:MOST_CHAINS]), more=len(chains) > MOST_CHAINS
        )
    return _gone(output, asked, path, kept)


def _gone(output: Output, asked: str, path: str, kept: Mapping[str, KeptPath]) -> Answer:
    gone: dict[str, RemovedPath] = {row.entry.path: row for row in output.removed()}
    entries = {each: row.entry for each, row in kept.items()}
    entries.update((each, row.entry) for each, row in gone.items())
    canonical, links = _resolve(path, entries)
    found = gone.get(canonical)
    if found is None:
        stays = kept.get(canonical)
        if stays is not None:  # reached through a removed link
            return Answer(asked, canonical, links, kept=stays, chains=tuple(_shortest(kept, canonical)))
        tree = _tree(gone, canonical)
        return Answer(asked, canonical, links, removed=tree, needer=needer(tree.entry) if tree else "")
    siblings = siblings_removed = 0
    if found.package is not None:
        siblings = sum(1 for row in kept.values() if _is_of(row.package, found.package, row.entry))
        siblings_removed = sum(_files_of(row, found.package) for row in gone.values())
    return Answer(
        asked,
        canonical,
        links,
        removed=found,
        siblings=siblings,
        siblings_removed=siblings_removed,
        needer=needer(found.entry),
        advice=_advice(found.entry, siblings),
    )


def _tree(gone: Mapping[str, RemovedPath], path: str) -> RemovedPath | None:
    """The row that tells all of a directory above a path."""
    while (path := posixpath.dirname(path)) != "/":
        row = gone.get(path)
        if row is not None and row.tree is not None:
            return row
    return None


def _files_of(row: RemovedPath, wanted: Package) -> int:
    """How many files of a package a row tells of."""
    below = row.tree.packages if row.tree is not None else ()
    own = _is_of(row.package, wanted, row.entry)
    return own + sum(each.files for each in below if each.package == wanted)


def _is_of(package: Package | None, wanted: Package, entry: Entry) -> bool:
    return package == wanted and entry.type is not FileType.DIRECTORY


def needer(entry: Entry) -> str:
    """Who would have to need a path of this kind for it to stay."""
    name = posixpath.basename(entry.path)
    if reason := never(entry.path):
        return f"{'nobody' if never(entry.path, read=True) else 'a program that reads it in the exercise'}: {reason}"
    if entry.type is FileType.DIRECTORY:
        return "a program that opens or lists this directory, or anything kept inside it"
    if entry.type is FileType.SYMLINK:
        return "a program that reaches something through this link"
    if re.search(r"\.so(\.\d|$)", name):
        return f"a kept program or library that lists {name} as NEEDED, or a program that loads it while it runs"
    if name.endswith((".py", ".pyc", ".pyi")):
        return "kept Python code that imports this module, or a program that opens it"
    if name.endswith((".js", ".mjs", ".cjs", ".node")):
        return "kept JavaScript that requires or imports this module, or a program that opens it"
    if name.endswith((".rb", ".pm", ".pl", ".lua", ".php")):
        return "a kept script that loads this file, or a program that opens it"
    if entry.mode & 0o111:
        return "a program or kept script that starts it, or looks at it"
    return "a program that opens it or looks at it in the exercise"


def _advice(entry: Entry, siblings: int) -> tuple[str, ...]:
    if never(entry.path, read=True):
        return ()
    if never(entry.path):
        return ("an exercise that makes the application read it keeps it with its reason",)
    said = [f"--include '{entry.path}' keeps it with everything it needs"]
    said.append("an exercise that makes the application use it (--probe, --exec) keeps it with its reason")
    if siblings:
        said.append("--keep packages keeps the runtime files of every package that the recording used")
    return tuple(said)


def _resolve(path: str, entries: Mapping[str, Entry]) -> tuple[str, tuple[str, ...]]:
    """Follow links in the parents of a path, and in its last name only when nothing has that name itself."""
    links: list[str] = []
    pending = [part for part in path.split("/") if part][::-1]
    here = ""
    while pending:
        part = pending.pop()
        if part == "..":
            here = posixpath.dirname(here).rstrip("/")
            continue
        if part == ".":
            continue
        step = f"{here}/{part}"
        entry = entries.get(step)
        if entry is not None and entry.type is FileType.SYMLINK and pending and len(links) < MAX_LINKS:
            links.append(step)
            if entry.target.startswith("/"):
                here = ""
            pending.extend(name for name in reversed(entry.target.split("/")) if name)
            continue
        here = step
    return here or "/", tuple(links)


def _shortest(kept: Mapping[str, KeptPath], path: str) -> Iterator[Chain]:
    """The shortest chain; among equals the one whose reasons come first."""
    before: dict[str, tuple[str, Reason]] = {}
    waiting = deque([path])
    seen = {path}
    while waiting:
        at = waiting.popleft()
        row = kept.get(at)
        for reason in row.reasons if row else ():
            if not reason.needed_by or reason.needed_by not in kept:
                yield (*_back(before, at), Step(at, reason))
                return
            if reason.needed_by not in seen:
                seen.add(reason.needed_by)
                before[reason.needed_by] = (at, reason)
                waiting.append(reason.needed_by)
    row = kept.get(path)
    if row and row.reasons:  # reasons that only name each other: say the first
        yield (Step(path, row.reasons[0]),)


def _back(before: Mapping[str, tuple[str, Reason]], at: str) -> Chain:
    steps: list[Step] = []
    while at in before:
        at, reason = before[at]
        steps.append(Step(at, reason))
    return tuple(reversed(steps))


def _every(kept: Mapping[str, KeptPath], path: str) -> Iterator[Chain]:
    """All chains without a repeated path that end in something that stays by itself, shortest first."""
    found: list[Chain] = []
    ends = _ending(kept)
    waiting: deque[tuple[str, Chain]] = deque([(path, ())])
    while waiting and len(found) <= MOST_CHAINS:
        at, chain = waiting.popleft()
        passed = {at, *(step.path for step in chain)}
        for reason in kept[at].reasons:
            step = (*chain, Step(at, reason))
            if not reason.needed_by or reason.needed_by not in kept:
                found.append(step)
            elif reason.needed_by in ends and reason.needed_by not in passed and len(waiting) < 50 * MOST_CHAINS:
                waiting.append((reason.needed_by, step))
    yield from found


def _ending(kept: Mapping[str, KeptPath]) -> set[str]:
    """Paths from which some chain ends: everything else leads in circles only."""
    needs: dict[str, list[str]] = {}
    ready = []
    for path, row in kept.items():
        for reason in row.reasons:
            if reason.needed_by and reason.needed_by in kept:
                needs.setdefault(reason.needed_by, []).append(path)
            else:
                ready.append(path)
    ends: set[str] = set()
    while ready:
        path = ready.pop()
        if path not in ends:
            ends.add(path)
            ready += needs.get(path, ())
    return ends


def paths_like(output: Output, asked: str, most: int = 5) -> list[str]:
    """Kept or removed paths with the same last name, for "did you mean"."""
    name = posixpath.basename(asked.rstrip("/"))
    found: list[str] = []
    if name:
        rows: Iterator[KeptPath | RemovedPath]
        for rows in (output.manifest(), output.removed()):
            for row in rows:
                if row.entry.path.endswith("/" + name):
                    found.append(row.entry.path)
                    if len(found) >= most:
                        return sorted(found, key=sort_key)
    return sorted(found, key=sort_key)
