"""Upstream test-suites inside slim trees that one import or request trained: `python -m tests.bench.suites [NAME…]`."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from fixtures.roots import RootUnavailable
from slimmer.errors import SlimmerError
from tests.suites import SUITES, Suite, measure
from tracer.errors import TracerError

HEAD = ("suite", "fat MB", "recorded", "slim MB", "fat", "slim", "lost")
FORM = "{:<16} {:>7} {:>9} {:>8} {:>7} {:>7} {:>6}"


def row(suite: Suite) -> tuple[str, list[str]]:
    """One line of the table, and what of it is lost, explained or not."""
    with tempfile.TemporaryDirectory(prefix="slimmer-suite-") as folder:
        try:
            score = measure(suite, Path(folder))
        except (SlimmerError, TracerError, RootUnavailable) as error:
            return f"{suite.name:<16} {str(error)[:1500]}", []
    report = score.result.report
    lost = score.lost(suite)
    values = (
        suite.name,
        f"{report.fat.bytes / 1e6:.1f}",
        f"{next(each.bytes for each in report.levels if each.level == 'recorded') / 1e6:.1f}",
        f"{report.slim.bytes / 1e6:.1f}",
        len(score.fat),
        len(score.fat & score.slim),
        len(lost),
    )
    if place := os.environ.get("SUITES_SAID"):
        Path(place, f"{suite.name}.txt").write_text(score.said)
    explained = [f"{count} explained: {why}" for why, count in score.explained(suite).items() if count]
    return FORM.format(*values), [*explained, *(f"lost: {each}" for each in lost[:40])]


def main(names: list[str]) -> int:
    """Prints the table. 1 when something passes in the fat root only, unexplained."""
    print(FORM.format(*HEAD), flush=True)
    bad = 0
    for suite in SUITES:
        if names and suite.name not in names:
            continue
        line, more = row(suite)
        print("\n    ".join([line, *more]), flush=True)
        bad += any(each.startswith("lost") for each in more)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
