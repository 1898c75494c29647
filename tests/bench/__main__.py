"""`make bench`: all measurements one after another, each a table of ratios of one run.

python -m tests.bench            # all
python -m tests.bench elf layer  # some
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ORDER = (
    *("recorders", "elf", "layer", "unpack", "whole", "large", "batch", "reach", "suites", "fuzz", "kills", "soak"),
    "harden",
)


def main(names: list[str]) -> int:
    here = Path(__file__).parent
    wanted = names or [name for name in ORDER if (here / f"{name}.py").exists()]
    worst = 0
    for name in wanted:
        print(f"\n== {name}", flush=True)
        worst = max(worst, subprocess.run([sys.executable, "-m", f"tests.bench.{name}"]).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
