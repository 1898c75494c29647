"""The whole way on a 200 MB root: `slim trace` with and without check: time, processor time and peak memory.

Then the same again, by what is known of content: a first run with nothing known, a second with nothing changed, and
runs after one file of the application was changed: by a comment, so that its rules read the same, and by an import.
"of first" is processor time as a part of the first run's.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fixtures.roots import debian_root

HOUSE = Path(__file__).resolve().parents[2]
ROUNDS = 3
FIRST, SAME = "nothing known", "nothing changed"
CHANGES = {FIRST: b"", "a comment in one file": b"# changed\n" * 100, "an import in one file": b"import wave\n"}
URL = "http://127.0.0.1:8090/api"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command and the children that it waited for took."""

    wall: float  # seconds
    processor: float  # seconds, user and system
    memory: int  # bytes; the largest resident set of any one of its processes


def cost(command: Sequence[str], cache: str = "") -> Cost:
    """The cost of a command that must succeed. `cache` is where it keeps what it knows; "": where it usually does."""
    environment = {**os.environ, **({"XDG_CACHE_HOME": cache} if cache else {})}
    with tempfile.TemporaryFile() as said:
        began = time.monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, cwd=HOUSE, env=environment
        )
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
        _show(costs)
        _show(_again(root, Path(folder), slim))


def _again(root: Path, folder: Path, slim: Sequence[str]) -> dict[str, list[Cost]]:
    """Runs that know more and more, with and without check; the challenge, which asks anew each time, is left out."""
    own = folder / "root"
    subprocess.run(["cp", "-al", root, own], check=True)
    server = own / "app" / "server.py"
    text = server.read_bytes()
    costs: dict[str, list[Cost]] = {}
    for words in (["--no-check"], ["--no-challenge"]):
        what = ["--root", str(own), "--run", "python3 /app/server.py 8090", "--probe", URL, "-o", f"{folder}/again"]
        command = [*slim, "trace", *what, *words]
        for turn in range(ROUNDS):
            cache = f"{folder}/cache-{words[0]}-{turn}"
            for name in (FIRST, SAME, *tuple(CHANGES)[1:]):
                if name != SAME:
                    server.unlink()  # its other name is the fixture's
                    server.write_bytes(text + CHANGES[name])
                    time.sleep(2)  # a root that was changed just now is not remembered
                costs.setdefault(f"{words[0]}, {name}", []).append(cost(command, cache))
    return costs


def _show(costs: Mapping[str, Sequence[Cost]]) -> None:
    print(f"{'':46} {'median s':>9} {'min':>6} {'max':>6} {'cpu s':>6} {'of first':>8} {'peak MB':>8}")
    first = 0.0
    for name, found in costs.items():
        wall = [each.wall for each in found]
        processor = min(each.processor for each in found)
        first = processor if name.endswith(FIRST) else first
        part = f"{processor / first:.2f}" if first else ""
        print(
            f"{name:46} {statistics.median(wall):9.2f} {min(wall):6.2f} {max(wall):6.2f} "
            f"{processor:6.2f} {part:>8} {max(each.memory for each in found) / 1e6:8.1f}"
        )


if __name__ == "__main__":
    main()
