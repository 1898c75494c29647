"""The lists of the page: one block of base64 over deflated JSON.

    {"kept": [row, …], "removed": [row, …], "changes": [...] or null, "report": {…}, "tables": {…}}

where a row is [path, type, mode, uid, gid, size, package, marks, target, reasons, also] with
indices into `tables`. It is made as a stream: memory holds the tables and what is packed, never the rows.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from slimmer.facts.remember import remembered_bytes
from slimmer.packages.model import Package
from slimmer.report.diff import Diff, PathChange
from slimmer.report.model import KeptPath, RemovedPath, Report
from slimmer.report.output import Output
from slimmer.report.words import entry_words, shown, tree_words
from slimmer.report.write import report_value
from slimmer.root.model import FileType

MOST_REMOVED = 60_000  # rows; a page with more is slow to open, and removed.json has them all
_TYPES = {kind: number for number, kind in enumerate(FileType)}
_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


def write_rows(output: Output, report: Report, diff: Diff | None, stream: TextIO) -> None:
    """The lists, packed: what the same files gave before they give again."""
    files = [output.directory / name for name in ("manifest.json", "removed.json", "report.json")]
    if diff is not None or not all(each.is_file() for each in files):
        _pack(_parts(output, report, diff), stream)
        return
    text = io.StringIO()

    def compute() -> bytes:
        _pack(_parts(output, report, diff), text)
        return text.getvalue().encode("ascii")

    known = [_sum(each) for each in files]
    stream.write(remembered_bytes("page", known, compute).decode("ascii"))


def _sum(path: Path) -> bytes:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _pack(parts: Iterator[str], stream: TextIO) -> None:
    packer = zlib.compressobj(9)
    left = b""
    for part in parts:
        left += packer.compress(part.encode("ascii"))
        whole = len(left) // 57 * 57  # 57 bytes are a line of 76 characters
        if whole:
            stream.write(base64.encodebytes(left[:whole]).decode("ascii"))
            left = left[whole:]
    stream.write(base64.encodebytes(left + packer.flush()).decode("ascii"))


class _Table:
    """Values that rows name by number."""

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {}

    def __call__(self, value: Any) -> int:
        return self.numbers.setdefault(value, len(self.numbers))


class _Tables:
    def __init__(self) -> None:
        self.packages, self.marks, self.rules, self.texts = _Table(), _Table(), _Table(), _Table()

    def common(self, row: KeptPath | RemovedPath) -> list[Any]:
        entry = row.entry
        return [
            shown(entry.path),
            _TYPES[entry.type],
            entry.mode,
            entry.uid,
            entry.gid,
            entry.size,
            self.package(row.package),
            [self.marks(str(mark)) for mark in row.risks],
            shown(entry.target),
        ]

    def package(self, package: Package | None) -> int:
        if package is None:
            return -1
        return self.packages((package.type.value, shown(package.name), shown(package.version), shown(package.location)))

    def kept(self, row: KeptPath) -> list[Any]:
        reasons = [[self.rules(each.rule), self.texts(shown(each.text)), shown(each.needed_by)] for each in row.reasons]
        more = [[self.package(each) for each in row.also]] if row.also else []
        return [*self.common(row), reasons, *more]

    def removed(self, row: RemovedPath) -> list[Any]:
        more = [[], [self.package(each) for each in row.also]] if row.also else []
        if row.tree:
            entry = replace(row.entry, size=row.tree.bytes, target=tree_words(row.tree))
            row = replace(row, entry=entry)
        return [*self.common(row), *more]

    def value(self) -> dict[str, Any]:
        return {
            "packages": list(self.packages.numbers),
            "marks": list(self.marks.numbers),
            "rules": list(self.rules.numbers),
            "texts": list(self.texts.numbers),
        }


def _parts(output: Output, report: Report, diff: Diff | None) -> Iterator[str]:
    tables = _Tables()
    opening = '{"kept":['
    for kept in output.manifest():
        yield opening + _encode(tables.kept(kept))
        opening = ","
    yield ("" if opening == "," else opening) + '],"removed":['
    opening = ""
    for gone in islice(output.removed(), MOST_REMOVED):
        yield opening + _encode(tables.removed(gone))
        opening = ","
    changed = _encode(changes(diff) if diff else None)
    slim_report = {
        name: _clean(value) for name, value in report_value(report).items() if name in ("packages", "unsure")
    }
    yield f'],"changes":{changed},"report":{_encode(slim_report)},"tables":{_encode(tables.value())}}}'


def _clean(value: Any) -> Any:
    """Every text as it may be shown."""
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, list):
        return [_clean(each) for each in value]
    if isinstance(value, dict):
        return {name: _clean(each) for name, each in value.items()}
    return value


def changes(diff: Diff) -> list[dict[str, Any]]:
    """The rows of the tab of what changed."""
    rows: list[dict[str, Any]] = []

    def row(kind: str, sign: str, name: str, what: str = "", note: str = "", weight: int = 0, path: str = "") -> None:
        texts = {"name": shown(name), "what": shown(what), "note": shown(note), "path": shown(path)}
        rows.append({"kind": kind, "sign": sign, "bytes": weight, **texts})

    for each in diff.config:
        row("config", "changed", each.field, f"{each.before or '(none)'} → {each.after or '(none)'}")
    for risk in diff.risks:
        for sign, marks in (("added", risk.gained), ("removed", risk.lost)):
            for mark in marks:
                row("risk", sign, f"{mark}  {risk.path}", path=risk.path)
    for package in diff.packages:
        sign = "changed" if package.before and package.after else "added" if package.after else "removed"
        versions = " → ".join(filter(None, (", ".join(package.before), ", ".join(package.after))))
        row("package", sign, f"{package.name} ({package.type.value})", versions)
    for sign, changes in (("added", diff.added), ("removed", diff.removed), ("changed", diff.changed)):
        for change in changes:
            row("path", sign, change.path, ", ".join(change.what), _note(change), change.bytes)
    return rows


def _note(change: PathChange) -> str:
    if change.before and change.after and "mode" in change.what:
        return f"{change.before.entry.mode:04o} → {change.after.entry.mode:04o}"
    row = change.after or change.before
    return entry_words(row.entry) if row and not change.what else ""
