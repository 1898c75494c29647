"""The whole way on a 200 MB root: `slim trace` with and without check, against running the application alone."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from fixtures.roots import debian_root

HOUSE = Path(__file__).resolve().parents[2]
ROUNDS = 3
URL = "http://127.0.0.1:8090/api"


def seconds(command: Sequence[str]) -> float:
    """Wall time of a command that must succeed."""
    began = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, cwd=HOUSE)
    if done.returncode:
        raise SystemExit(f"{command}: {done.stderr.decode(errors='replace')}")
    return time.monotonic() - began


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
        times: dict[str, list[float]] = {name: [] for name in rows}
        for _ in range(ROUNDS):
            for name, command in rows.items():
                times[name].append(seconds(command))
    print(f"{'':40} {'median s':>9} {'min':>6} {'max':>6}")
    for name, found in times.items():
        print(f"{name:40} {statistics.median(found):9.2f} {min(found):6.2f} {max(found):6.2f}")


if __name__ == "__main__":
    main()
