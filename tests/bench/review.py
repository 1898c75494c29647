"""How long the review takes, and how much memory: the package index, and a million rows written and read.

    python -m tests.bench.review            # indexes the machine's own root, writes a million rows
    python -m tests.bench.review ROOT 200000

Prints processor seconds, so that a busy machine does not count, and the peak of memory.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from slimmer.closure.model import Reason
from slimmer.packages.index import index
from slimmer.packages.model import Package, PackageType
from slimmer.report.build import ReportBuilder
from slimmer.report.html import write_html
from slimmer.report.model import KeptPath, RemovedPath, Subject
from slimmer.report.output import Output
from slimmer.report.read import read_manifest, read_removed
from slimmer.report.write import write_manifest, write_removed, write_report
from slimmer.root.directory import DirectoryRoot
from slimmer.root.model import Entry, FileType

PACKAGES = [Package(PackageType.DEB, f"lib{number}", "1.0") for number in range(400)]
EVERY = 4  # one in so many paths stays


def main(root: str, rows: int) -> None:
    began = time.process_time()
    found = index(DirectoryRoot(root))
    paths = found.listed()
    _say(f"index of {paths:,} paths in {root}", began)
    with tempfile.TemporaryDirectory(prefix="slimmer-bench-") as scratch:
        top = Path(scratch)
        builder = ReportBuilder()
        began = time.process_time()
        with open(top / "manifest.json", "w", encoding="utf-8") as stream:
            write_manifest(stream, _kept(rows, builder))
        with open(top / "removed.json", "w", encoding="utf-8") as stream:
            write_removed(stream, _removed(rows, builder))
        with open(top / "report.json", "w", encoding="utf-8") as stream:
            write_report(stream, builder.finish(Subject(source=root)))
        _say(f"write {rows:,} rows and sum them up", began)
        began = time.process_time()
        count = sum(1 for _ in read_manifest(top / "manifest.json")) + sum(
            1 for _ in read_removed(top / "removed.json")
        )
        _say(f"read {count:,} rows", began)
        began = time.process_time()
        with open(top / "page.html", "w", encoding="utf-8") as stream:
            write_html(stream, Output(top))
        _say(f"page of {(top / 'page.html').stat().st_size:,} bytes", began)


def _entry(number: int) -> Entry:
    path = f"/usr/lib/part{number // 5000:04d}/module{number // 100 % 50:02d}/file{number % 100:02d}.so"
    return Entry(path, FileType.FILE, 0o644, 0, 0, number * 37 % 90_000, 0)


def _kept(rows: int, builder: ReportBuilder) -> Iterator[KeptPath]:
    for number in range(0, rows, EVERY):
        reason = Reason("elf", f"NEEDED by {number}", _entry(number // 8 * 4).path)
        row = KeptPath(_entry(number), f"{number:064x}", {}, PACKAGES[number // 700 % 400], (reason,))
        builder.kept(row)
        yield row


def _removed(rows: int, builder: ReportBuilder) -> Iterator[RemovedPath]:
    for number in range(rows):
        if number % EVERY:
            row = RemovedPath(_entry(number), PACKAGES[number // 700 % 400])
            builder.removed(row)
            yield row


def _say(what: str, began: float) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{what:<50} {time.process_time() - began:6.2f} s  peak {peak} MB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "/", int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000)
