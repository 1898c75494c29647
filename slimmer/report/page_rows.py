"""The lists of the page: one block of base64 over deflated JSON.

    {"kept": [row, …], "removed": [row, …], "changes": [...] or null, "report": {…}, "tables": {…}}

where a row is [path, type, mode, uid, gid, size, package, marks, target, reasons, also] with
indices into `tables`. It is made as a stream: memory holds the tables and what is packed, never the rows. The removed
rows are deflated by themselves, so that they are taken from the former page where they and the tables before them are
the same.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from slimmer.facts.remember import remembered_bytes
from slimmer.packages.model import Package
from slimmer.report.diff import Diff, PathChange
from slimmer.report.model import KeptPath, RemovedPath, Report
from slimmer.report.output import Output
from slimmer.report.words import entry_words, heaviest, shown, tree_words
from slimmer.report.write import report_value
from slimmer.root.model import FileType

MOST_REMOVED = 60_000  # rows; a page with more is slow to open, and removed.json has them all
_TYPES = {kind: number for number, kind in enumerate(FileType)}
_BATCH = 1000  # texts that are packed at a time
_PIECE = 1 << 20  # bytes
_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


def write_rows(output: Output, report: Report, diff: Diff | None, stream: TextIO) -> None:
    """The lists, packed: what the same files gave before they give again."""
    files = [output.directory / name for name in ("manifest.json", "removed.json", "report.json")]
    if diff is not None or not all(each.is_file() for each in files):
        stream.write(_packed(output, report, diff))
        return
    known = [_sum(each) for each in files]
    stream.write(remembered_bytes("page", known, lambda: _packed(output, report, diff).encode()).decode("ascii"))


def _sum(path: Path) -> bytes:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _packed(output: Output, report: Report, diff: Diff | None) -> str:
    """All of it, as lines of base64."""
    tables = _Tables()
    stream = _Stream()
    stream.write(_kept(output, tables))
    stream.append(_removed(output, tables))
    stream.write(_rest(report, diff, tables))
    return base64.encodebytes(stream.close()).decode("ascii")


class _Stream:
    """A zlib stream (RFC 1950) of parts that were deflated each by itself."""

    def __init__(self) -> None:
        self._data = bytearray(b"\x78\xda")  # a window of 32 KiB, the best compression
        self._sum = zlib.adler32(b"")

    def write(self, texts: Iterable[str]) -> None:
        """The next part."""
        self._data += _deflated(self._counted(texts))

    def append(self, packed: bytes) -> None:
        """The next part, deflated already."""
        self._data += packed
        reader = zlib.decompressobj(-15)
        while text := reader.decompress(packed, _PIECE):
            self._sum = zlib.adler32(text, self._sum)
            packed = reader.unconsumed_tail

    def _counted(self, texts: Iterable[str]) -> Iterator[bytes]:
        for text in _joined(texts):
            self._sum = zlib.adler32(text, self._sum)
            yield text

    def close(self) -> bytes:
        """All of it."""
        return bytes(self._data) + b"\x03\0" + self._sum.to_bytes(4, "big")  # a last block that is empty


def _joined(texts: Iterable[str]) -> Iterator[bytes]:
    rest = iter(texts)
    while some := list(islice(rest, _BATCH)):
        yield "".join(some).encode("ascii")


def _deflated(texts: Iterable[bytes]) -> bytes:
    """A part that others may stand beside: it ends at a byte and refers to nothing before it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return b"".join(map(packer.compress, texts)) + packer.flush(zlib.Z_FULL_FLUSH)


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
        also = [*row.also, *(each.package for each in heaviest(row.tree))] if row.tree else row.also
        more = [[], [self.package(each) for each in also]] if also else []
        if row.tree:
            entry = replace(row.entry, size=row.tree.bytes, target=tree_words(row.tree))
            row = replace(row, entry=entry)
        return [*self.common(row), *more]

    def named(self) -> tuple[list[Any], list[Any]]:
        """What removed rows may add to."""
        return list(self.packages.numbers), list(self.marks.numbers)

    def value(self) -> dict[str, Any]:
        return {
            "packages": list(self.packages.numbers),
            "marks": list(self.marks.numbers),
            "rules": list(self.rules.numbers),
            "texts": list(self.texts.numbers),
        }


def _kept(output: Output, tables: _Tables) -> Iterator[str]:
    yield '{"kept":['
    comma = ""
    for kept in output.manifest():
        yield comma + _encode(tables.kept(kept))
        comma = ","
    yield '],"removed":['


def _removed(output: Output, tables: _Tables) -> bytes:
    """The removed rows, deflated; what they add to the tables is added."""
    before = tables.named()

    def rows() -> Iterator[str]:
        comma = ""
        for each in islice(output.removed(), MOST_REMOVED):
            yield comma + _encode(tables.removed(each))
            comma = ","

    def compute() -> bytes:
        packed = _deflated(_joined(rows()))
        added = [now[len(was) :] for was, now in zip(before, tables.named(), strict=True)]
        return _encode(added).encode() + b"\n" + packed

    content = (_sum(output.removed_file), _encode(before).encode())
    added, _, packed = remembered_bytes("removed rows of a page", content, compute).partition(b"\n")
    packages, marks = json.loads(added)
    for each in packages:
        tables.packages(tuple(each))
    for each in marks:
        tables.marks(each)
    return packed


def _rest(report: Report, diff: Diff | None, tables: _Tables) -> Iterator[str]:
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
