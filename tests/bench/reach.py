"""How much of what was held out still works, and how small the image is: `python -m tests.bench.reach [NAME…]`."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from fixtures.roots import RootUnavailable
from tests.reach import APPLICATIONS, Application, reach
from tracer.errors import TracerError

HEAD = ("application", "fat MB", "recorded", "slim MB", "share", "held out", "seconds")
FORM = "{:<12} {:>7} {:>9} {:>8} {:>6} {:>9} {:>8}"


def row(application: Application) -> tuple[str, list[str]]:
    """One line of the table, and what failed."""
    with tempfile.TemporaryDirectory(prefix="slimmer-reach-") as folder:
        began = time.monotonic()
        try:
            result, verdict = reach(application, Path(folder) / "out")
        except (TracerError, RootUnavailable) as error:
            return f"{application.name:<12} {str(error)[:1500]}", []
    report = result.report
    # A command is two comparisons, its end and its output; a request is one.
    failed = {each.what.removesuffix(": output"): each.problem for each in verdict.comparisons if each.problem}
    passed = application.held_out_count - len(failed)
    values = (
        application.name,
        f"{report.fat.bytes / 1e6:.1f}",
        f"{next(each.bytes for each in report.levels if each.level == 'recorded') / 1e6:.1f}",
        f"{report.slim.bytes / 1e6:.1f}",
        f"{100 * report.slim.bytes / report.fat.bytes:.0f} %",
        f"{passed}/{application.held_out_count}",
        f"{time.monotonic() - began:.1f}",
    )
    missed = [f"vain: {miss.path} ({', '.join(miss.by)})" for miss in verdict.misses if failed]
    return FORM.format(*values), [*(f"{what}: {problem}" for what, problem in failed.items()), *missed]


def main(names: list[str]) -> int:
    """Prints the table. 1 when something that was held out does not work."""
    print(FORM.format(*HEAD), flush=True)
    bad = 0
    for application in APPLICATIONS:
        if names and application.name not in names:
            continue
        line, failures = row(application)
        print("\n    ".join([line, *failures]), flush=True)
        bad += bool(failures)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
