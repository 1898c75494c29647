"""Which kept files would change if the image were made again from another, newer source; by package.

Only what the image holds counts: a source in which a thousand other files are new changes nothing here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from slimmer.errors import SlimmerError
from slimmer.packages.model import Package, PackageIndex
from slimmer.report.model import KeptPath
from slimmer.report.words import mode_words, package_words
from slimmer.root.model import Entry, FileType, Root

FORMAT = "slimmer.outdated/1"
GENERATED = "generated"  # the rule of what slimmer itself makes anew for each image
_PYC_HEADER = 16  # bytes: PEP 552; a source's time in it may have been rewritten with the layer's times


@dataclass(frozen=True, slots=True)
class Change:
    """A kept path that the other source has otherwise. `what`: "gone", or the fields that differ."""

    path: str
    what: tuple[str, ...]
    before: Package | None
    after: Package | None


def outdated(manifest: Iterable[KeptPath], root: Root, packages: PackageIndex) -> Iterator[Change]:
    """Every kept path that would be another, in the manifest's order. Raises SlimmerError when a file is unreadable."""
    for row in manifest:
        if row.entry.path == "/" or any(reason.rule == GENERATED for reason in row.reasons[:1]):
            continue
        found = root.entry(row.entry.path)
        if found is None:
            resolved = root.resolve(row.entry.path, follow=row.entry.type is not FileType.SYMLINK)
            found = resolved.entry
        what = ("gone",) if found is None else _differences(row, found, root)
        if what:
            after = packages.owner(found.path) if found is not None else None
            yield Change(row.entry.path, what, row.package, after)


def _differences(row: KeptPath, found: Entry, root: Root) -> tuple[str, ...]:
    entry = row.entry
    if found.type is not entry.type:
        return ("type",)
    what = []
    if mode_words(found) != (row.was or mode_words(entry)) and entry.type is not FileType.SYMLINK:
        what.append("mode or owner")
    if entry.type is FileType.SYMLINK and found.target != entry.target:
        what.append("target")
    if entry.type is FileType.FILE and _content(row, found, root):
        what.append("content")
    return tuple(what)


def _content(row: KeptPath, found: Entry, root: Root) -> bool:
    """Whether a file's content is another. Of a .pyc the size alone is compared when its header may differ."""
    if found.size != row.entry.size:
        return True
    with root.open(found.path) as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
    if digest == row.sha256:
        return False
    return not (row.entry.path.endswith(".pyc") and found.size > _PYC_HEADER)


def lines(changes: Iterable[Change], most: int = 5) -> Iterator[str]:
    """For a person: a package with its versions, and the first of its paths."""
    groups: dict[tuple[str, str], list[Change]] = {}
    for each in changes:
        before = package_words(each.before) if each.before else "no package"
        after = package_words(each.after) if each.after else "no package"
        groups.setdefault((before, after), []).append(each)
    for (before, after), rows in groups.items():
        yield before if before == after else f"{before} → {after}"
        for row in rows[:most]:
            yield f"    {row.path}  {', '.join(row.what)}"
        if len(rows) > most:
            yield f"    and {len(rows) - most:,} more"


def value(changes: tuple[Change, ...], source: str) -> dict[str, Any]:
    """For programs."""

    def named(package: Package | None) -> dict[str, str] | None:
        if package is None:
            return None
        return {"type": package.type.value, "name": package.name, "version": package.version}

    return {
        "format": FORMAT,
        "against": source,
        "outdated": bool(changes),
        "changes": [
            {"path": row.path, "what": list(row.what), "before": named(row.before), "after": named(row.after)}
            for row in changes
        ],
    }


def check_source(found: Root, manifest: Iterable[KeptPath]) -> None:
    """Raises SlimmerError when a root has nothing of what is kept: it is another application's."""
    paths = [row.entry.path for row in manifest if row.entry.type is FileType.FILE][:200]
    if paths and not any(found.find(path) is not None for path in paths):
        raise SlimmerError(
            f"{found.name} holds none of the files that the image has",
            "name a newer build of the same source with --against",
        )
