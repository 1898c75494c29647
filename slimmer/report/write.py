"""Writes manifest.json, removed.json and report.json: one row a line, so that memory stays flat and diffs are readable.

    {
    "format": "slimmer.manifest/1",
    "paths": [
    {"path": "/etc", "type": "directory", …},
    {"path": "/etc/passwd", …}
    ]
    }

ASCII throughout: a name that is not UTF-8 is a surrogate escape ("\\udc80"). Modes are octal
text, times whole seconds (as the image has them), xattr values base64. Fields that are empty
("target" of a file, "xattrs" of most) are left out.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterable
from typing import Any, TextIO, TypeVar

from slimmer.closure.model import ClosureWarning, Reason
from slimmer.packages.model import Package
from slimmer.report.model import (
    MANIFEST,
    REMOVED,
    REPORT,
    KeptPath,
    PackageReport,
    RemovedPath,
    Report,
    RiskyPath,
    Subject,
    Total,
    Tree,
)
from slimmer.root.model import Entry

_encode = json.JSONEncoder(ensure_ascii=True, check_circular=False, separators=(", ", ": ")).encode
_quote = json.encoder.encode_basestring_ascii
_Row = TypeVar("_Row")
_BATCH = 1000  # rows joined for one write


def write_manifest(stream: TextIO, rows: Iterable[KeptPath]) -> int:
    """Write manifest.json from rows in path order; how many there were."""
    return _write(stream, MANIFEST, rows, Texts().kept)


def write_removed(stream: TextIO, rows: Iterable[RemovedPath]) -> int:
    """Write removed.json from rows in path order; how many there were."""
    return _write(stream, REMOVED, rows, Texts().removed)


def write_report(stream: TextIO, report: Report) -> None:
    """Write report.json."""
    json.dump(report_value(report), stream, indent=1, ensure_ascii=True)
    stream.write("\n")


def _write(stream: TextIO, name: str, rows: Iterable[_Row], text: Callable[[_Row], str]) -> int:
    stream.write(f'{{\n"format": "{name}",\n"paths": [')
    batch: list[str] = []
    count = 0
    opening = "\n"
    for row in rows:
        batch.append(text(row))
        count += 1
        if len(batch) == _BATCH:
            stream.write(opening + ",\n".join(batch))
            opening = ",\n"
            batch.clear()
    if batch:
        stream.write(opening + ",\n".join(batch))
    stream.write("\n]\n}\n")
    return count


class Texts:
    """The text of a row, as `manifest_row` and `removed_row` encoded would be, in a third of the time."""

    def __init__(self) -> None:
        self._packages: dict[int, tuple[Package | None, str]] = {}  # by identity: to hash one takes as long as a row

    def kept(self, row: KeptPath) -> str:
        """A line of manifest.json."""
        if row.xattrs or row.risks or row.also or row.was or row.entry.device:
            return _encode(manifest_row(row))
        digest = f', "sha256": "{row.sha256}"' if row.sha256 else ""
        reasons = ", ".join(
            f'{{"rule": {_quote(each.rule)}, "text": {_quote(each.text)}, "needed_by": {_quote(each.needed_by)}}}'
            for each in row.reasons
        )
        return (
            f'{_entry_text(row.entry)}, "mtime": {row.entry.mtime_ns // 1_000_000_000}{digest}, '
            f'"package": {self._package(row.package)}, "reasons": [{reasons}]}}'
        )

    def removed(self, row: RemovedPath) -> str:
        """A line of removed.json."""
        if row.risks or row.also or row.tree or row.entry.device:
            return _encode(removed_row(row))
        return f'{_entry_text(row.entry)}, "package": {self._package(row.package)}}}'

    def _package(self, package: Package | None) -> str:
        known = self._packages.get(id(package))
        if known is None:
            known = self._packages[id(package)] = (package, _encode(_named(package)))  # kept, so its id stays its own
        return known[1]


def _entry_text(entry: Entry) -> str:
    target = f', "target": {_quote(entry.target)}' if entry.target else ""
    return (
        f'{{"path": {_quote(entry.path)}, "type": "{entry.type}", "mode": "{entry.mode:04o}", "uid": {entry.uid}, '
        f'"gid": {entry.gid}, "size": {entry.size}{target}'
    )


def manifest_row(row: KeptPath) -> dict[str, Any]:
    """The JSON value of a kept path."""
    value = _entry(row.entry)
    value["mtime"] = row.entry.mtime_ns // 1_000_000_000
    if row.was:
        value["was"] = row.was
    if row.xattrs:
        value["xattrs"] = {name: base64.b64encode(row.xattrs[name]).decode() for name in sorted(row.xattrs)}
    if row.sha256:
        value["sha256"] = row.sha256
    value["package"] = _named(row.package)
    if row.also:
        value["also"] = [_named(package) for package in row.also]
    if row.risks:
        value["risks"] = [str(mark) for mark in row.risks]
    value["reasons"] = [reason_value(reason) for reason in row.reasons]
    return value


def removed_row(row: RemovedPath) -> dict[str, Any]:
    """The JSON value of a removed path."""
    value = _entry(row.entry)
    value["package"] = _named(row.package)
    if row.also:
        value["also"] = [_named(package) for package in row.also]
    if row.risks:
        value["risks"] = [str(mark) for mark in row.risks]
    if row.tree:
        value["tree"] = _tree(row.tree)
    return value


def _tree(tree: Tree) -> dict[str, Any]:
    value: dict[str, Any] = {"paths": tree.paths, "files": tree.files, "bytes": tree.bytes}
    if tree.packages:
        value["packages"] = [
            {**(_named(each.package) or {}), "files": each.files, "bytes": each.bytes} for each in tree.packages
        ]
    if tree.risks:
        value["risks"] = {risk.value: count for risk, count in tree.risks}
    return value


def _entry(entry: Entry) -> dict[str, Any]:
    value: dict[str, Any] = {
        "path": entry.path,
        "type": entry.type.value,
        "mode": f"{entry.mode:04o}",
        "uid": entry.uid,
        "gid": entry.gid,
        "size": entry.size,
    }
    if entry.target:
        value["target"] = entry.target
    if entry.device:
        value["device"] = [os.major(entry.device), os.minor(entry.device)]
    return value


def _named(package: Package | None) -> dict[str, str] | None:
    if package is None:
        return None
    value = {"type": package.type.value, "name": package.name, "version": package.version}
    if package.location:  # what tells two copies of one npm or Python package apart
        value["location"] = package.location
    return value


def package_value(package: Package) -> dict[str, str]:
    """All that is known of a package; empty fields left out."""
    value = {
        "type": package.type.value,
        "name": package.name,
        "version": package.version,
        "architecture": package.architecture,
        "source": package.source,
        "source_version": package.source_version,
        "license": package.license,
        "location": package.location,
    }
    return {name: text for name, text in value.items() if text}


def reason_value(reason: Reason) -> dict[str, str]:
    return {"rule": reason.rule, "text": reason.text, "needed_by": reason.needed_by}


def report_value(report: Report) -> dict[str, Any]:
    """The JSON value of a report."""
    return {
        "format": REPORT,
        "subject": _subject(report.subject),
        "fat": _total(report.fat),
        "slim": _total(report.slim),
        "levels": [
            {
                "level": each.level,
                "paths": each.paths,
                "bytes": each.bytes,
                "chosen": each.chosen,
                **({"estimate": True} if each.estimate else {}),
            }
            for each in report.levels
        ],
        "packages": [_package_report(each) for each in report.packages],
        "risks": [{"risk": each.risk.value, "fat": each.fat, "slim": each.slim} for each in report.risks],
        "risky": [_risky(each) for each in report.risky],
        "folders": [
            {
                "path": each.path,
                "kept_files": each.kept_files,
                "kept_bytes": each.kept_bytes,
                "removed_files": each.removed_files,
                "removed_bytes": each.removed_bytes,
            }
            for each in report.folders
        ],
        "rules": dict(sorted(report.rules.items())),
        "unsure": [warning_value(each) for each in report.warnings],
        "notes": list(report.notes),
    }


def warning_value(each: ClosureWarning) -> dict[str, Any]:
    value: dict[str, Any] = {"kind": each.kind, "path": each.path, "text": each.text, "weight": each.weight}
    if each.remedy:
        value["remedy"] = each.remedy
    return value


def _subject(subject: Subject) -> dict[str, Any]:
    return {
        "source": subject.source,
        "source_digest": subject.source_digest,
        "command": list(subject.command),
        "architecture": subject.architecture,
        "user": subject.user,
        "image": subject.image,
        "image_bytes": subject.image_bytes,
        "version": subject.version,
        "recorder": list(subject.recorder),
        "distribution": subject.distribution,
        "release": subject.release,
        "support_end": subject.support_end,
        "compressor": subject.compressor,
    }


def _total(total: Total) -> dict[str, int]:
    return {
        "paths": total.paths,
        "files": total.files,
        "bytes": total.bytes,
        "packages": total.packages,
        "executables": total.executables,
        "shared_objects": total.shared_objects,
    }


def _package_report(each: PackageReport) -> dict[str, Any]:
    return {
        "package": package_value(each.package),
        "state": each.state.value,
        "kept_files": each.kept_files,
        "kept_bytes": each.kept_bytes,
        "removed_files": each.removed_files,
        "removed_bytes": each.removed_bytes,
        "copyright": each.copyright,
        "part": list(each.part),
    }


def _risky(each: RiskyPath) -> dict[str, Any]:
    return {
        "path": each.path,
        "risks": [str(mark) for mark in each.marks],
        "package": _named(each.package),
        "reason": reason_value(each.reason) if each.reason else None,
    }
