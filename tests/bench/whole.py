"""The whole way on a 200 MB root: `slim trace` with and without check: time, processor time and peak memory."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fixtures.roots import debian_root

HOUSE = Path(__file__).resolve().parents[2]
ROUNDS = 3
URL = "http://127.0.0.1:8090/api"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command and the children that it waited for took."""

    wall: float  # seconds
    processor: float  # seconds, user and system
    memory: int  # bytes; the largest resident set of any one of its processes


def cost(command: Sequence[str]) -> Cost:
    """The cost of a command that must succeed."""
    with tempfile.TemporaryFile() as said:
        began = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, cwd=HOUSE)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{command}: {said.read().decode(errors='replace')}")
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss << 10)


def main() -> None:
    root = debian_root("python3", overlay=HOUSE / "fixtures" / "apps" / "notes")
    slim = [sys.executable, "-m", "slimmer.cli.main"]
    run = ["--root", str(root), "--run", "python3 /app/server.py 8090", "--probe", URL]
    with tempfile.TemporaryDirectory() as folder:
        out = ["-o", f"{folder}/out"]
        rows = {
            "import of the program (--version)": [*slim, "--version"],
            "slim record": [*slim, "record", *run, "-o", f"{folder}/r.json"],
            "slim trace --keep recorded --no-check": [*slim, "trace", *run, "--keep", "recorded", "--no-check", *out],
            "slim trace --no-check": [*slim, "trace", *run, "--no-check", *out],
            "slim trace": [*slim, "trace", *run, *out],
            "slim trace --compression none": [*slim, "trace", *run, "--compression", "none", *out],
        }
        if shutil.which("tar"):
            rows["tar of the fat root | gzip -6"] = [
                "sh",
                "-c",
                f"tar -C {root} -cf - . | gzip -6 | cat > {folder}/fat",
            ]
        costs: dict[str, list[Cost]] = {name: [] for name in rows}
        for _ in range(ROUNDS):
            for name, command in rows.items():
                costs[name].append(cost(command))
    print(f"{'':40} {'median s':>9} {'min':>6} {'max':>6} {'cpu s':>6} {'peak MB':>8}")
    for name, found in costs.items():
        wall = [each.wall for each in found]
        print(
            f"{name:40} {statistics.median(wall):9.2f} {min(wall):6.2f} {max(wall):6.2f} "
            f"{min(each.processor for each in found):6.2f} {max(each.memory for each in found) / 1e6:8.1f}"
        )


if __name__ == "__main__":
    main()
