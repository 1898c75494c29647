"""Outputs for tests of the review: written by the real rows, sums and writers from a root and what to keep."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from slimmer.closure.model import ClosureWarning, LevelSize, Reason
from slimmer.packages.index import index
from slimmer.packages.purl import os_release
from slimmer.report.build import ReportBuilder
from slimmer.report.model import KeptPath, RemovedPath, Subject
from slimmer.report.rows import Rows
from slimmer.report.write import write_manifest, write_removed, write_report
from slimmer.root.directory import DirectoryRoot
from slimmer.root.model import FileType, Root, sort_key

RECORDED = Reason("recorded", "opened by /usr/bin/app")


def with_parents(kept: Mapping[str, Sequence[Reason]]) -> dict[str, tuple[Reason, ...]]:
    """The same with every directory on the way, as the closure adds them."""
    full = {path: tuple(reasons) for path, reasons in kept.items()}
    for path in sorted(kept, key=sort_key):
        child = path
        while child != "/":
            parent = child[: child.rindex("/")] or "/"
            full.setdefault(parent, (Reason("directory", f"holds {child}", child),))
            child = parent
    return dict(sorted(full.items(), key=lambda item: sort_key(item[0])))


def make_output(
    directory: Path,
    root: Root | Path,
    kept: Mapping[str, Sequence[Reason]] | Iterable[str],
    *,
    uid: int = 0,
    gids: Iterable[int] = (),
    warnings: Iterable[ClosureWarning] = (),
    levels: Sequence[LevelSize] = (),
    notes: Iterable[str] = (),
    verdict: str = "passed",
    subject: Subject | None = None,
    xattrs: Mapping[str, Mapping[str, bytes]] | None = None,
) -> Path:
    """An output whose manifest keeps these paths (and their directories) and whose removed.json has the rest."""
    fat = DirectoryRoot(str(root)) if isinstance(root, Path) else root
    wanted = kept if isinstance(kept, Mapping) else dict.fromkeys(kept, (RECORDED,))
    reasons = with_parents(wanted)
    packages = index(fat)
    rows = Rows(fat, packages, uid=uid, gids=gids)
    builder = ReportBuilder()
    stay: list[KeptPath] = []
    leave: list[RemovedPath] = []
    for entry in fat.walk():
        if entry.path in reasons:
            digest = ""
            if entry.type is FileType.FILE:
                with fat.open(entry.path) as stream:
                    digest = hashlib.sha256(stream.read()).hexdigest()
            more = (xattrs or {}).get(entry.path, {})
            stay.append(rows.kept(entry, reasons[entry.path], sha256=digest, xattrs=more))
            builder.kept(stay[-1])
        else:
            leave.append(rows.removed(entry))
            builder.removed(leave[-1])
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / "manifest.json", "w", encoding="utf-8") as stream:
        write_manifest(stream, stay)
    with open(directory / "removed.json", "w", encoding="utf-8") as stream:
        write_removed(stream, leave)
    report = builder.finish(
        subject
        or Subject(
            source="fat",
            distribution=os_release(fat).get("ID", ""),
            release=os_release(fat).get("VERSION_ID", ""),
            command=("/usr/bin/app", "--serve"),
            architecture="amd64",
            image="sha256:" + "0" * 64,
            version="0.1.0",
        ),
        packages=packages.system_packages(),
        license_of=packages.license,
        warnings=warnings,
        levels=levels,
        notes=notes,
    )
    with open(directory / "report.json", "w", encoding="utf-8") as stream:
        write_report(stream, report)
    check = {
        "format": "slimmer.check/1",
        "verdict": verdict,
        "why_not": "",
        "comparisons": [{"what": "GET /", "fat": "200", "slim": "200", "problem": "", "varies": False}],
        "misses": [],
        "repaired": [],
        "notes": [],
    }
    (directory / "check.json").write_text(json.dumps(check), encoding="utf-8")
    return directory
