"""A fat root of 400,000 files in 3,000 packages, and one more of half a million files that no package holds.

A small program is traced in it, with nothing known and again with all known: processor time, and the peak of what all
of slimmer's processes together have in memory. `python -m tests.bench.large --files N --packages N` asks another size.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from fixtures.roots import debian_root
from tests.bench.whole import HOUSE, Cost, cost

STANZA = """Package: {name}
Status: install ok installed
Priority: optional
Section: misc
Maintainer: Nobody <nobody@example.org>
Architecture: amd64
Version: 1.{number}
Depends: libc6
Description: package {number} of many

"""
LANGUAGES = ("de", "es", "fr", "it", "ja", "pl", "pt_BR", "ru", "sv", "zh_CN")


def package_files(number: int, files: int) -> Iterator[tuple[str, int]]:
    """Paths and modes of one package's files as Debian's packages have them, the most in directories of its own."""
    name = f"made{number}"
    yield f"usr/share/doc/{name}/copyright", 0o644
    yield f"usr/share/doc/{name}/changelog.Debian.gz", 0o644
    for each in range(3):
        yield f"usr/bin/{name}-{each}", 0o755
        yield f"usr/share/man/man1/{name}-{each}.1.gz", 0o644
    yield f"usr/lib/x86_64-linux-gnu/lib{name}.so.1", 0o644
    for language in LANGUAGES:
        yield f"usr/share/locale/{language}/LC_MESSAGES/{name}.mo", 0o644
    for each in range(files - 19):
        place = ("usr/share/{0}/part{1}", "usr/lib/{0}/part{1}", "usr/include/{0}", "usr/lib/python3/dist-packages/{0}")
        suffix = ("txt", "so", "h", "py")[each % 4]
        yield f"{place[each % 4].format(name, each % 5)}/file{each}.{suffix}", 0o644


def plant(root: Path, files: int, packages: int, loose: int) -> None:
    """Add so many packages with so many files, and loose files in a home; their content takes no room on a disk."""
    base = Path(os.fspath(root))
    known: set[str] = set()

    def put(path: str, mode: int) -> None:
        place = base / path
        folder = os.path.dirname(path)
        if folder not in known:
            (base / folder).mkdir(parents=True, exist_ok=True)
            known.add(folder)
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT, mode)
        os.truncate(descriptor, 100 + len(path) % 50)
        os.close(descriptor)

    with open(base / "var/lib/dpkg/status", "a") as status:
        for number in range(packages):
            status.write(STANZA.format(name=f"made{number}", number=number))
            listed: dict[str, None] = {"/.": None}
            for path, mode in package_files(number, files // packages):
                put(path, mode)
                parts = path.split("/")
                listed.update(dict.fromkeys(f"/{'/'.join(parts[:depth])}" for depth in range(1, len(parts) + 1)))
            (base / f"var/lib/dpkg/info/made{number}.list").write_text("\n".join(listed) + "\n")
    for number in range(loose):
        put(f"home/ann/work{number // 5000}/part{number // 50 % 100}/note{number}.dat", 0o600)


class Memory:
    """The largest sum of what all processes below this one have in memory, seen every 50 ms.

    Pages that several of them share are told to each in part (proc(5), Pss): most are forks of one another.
    """

    def __init__(self) -> None:
        self.peak = 0  # bytes
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.05):
            self.peak = max(self.peak, sum(map(_resident, _below(os.getpid()))))


def _below(process: int) -> Iterator[int]:
    """Processes that it started, and theirs."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parent = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(name))
    waiting = list(children.get(process, ()))
    while waiting:
        yield (each := waiting.pop())
        waiting += children.get(each, ())


def _resident(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def measured(root: str, out: str, cache: str) -> tuple[Cost, int]:
    """What a trace of a small program costs, and the peak of memory of all processes in bytes."""
    command = [sys.executable, "-m", "slimmer.cli.main", "trace", "--root", root, "--no-check", "-o", out]
    with Memory() as memory:
        return cost([*command, "--run", "/usr/bin/python3 -c 'import json'"], cache), memory.peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=400_000)
    parser.add_argument("--packages", type=int, default=3_000)
    parser.add_argument("--loose", type=int, default=500_000, help="of the second root")
    parser.add_argument("--live", action="store_true", help="this machine's own root instead")
    options = parser.parse_args()
    base = None if options.live else debian_root("python3", overlay=HOUSE / "fixtures" / "apps" / "notes")
    print(f"{'':44} {'cpu s':>7} {'wall s':>7} {'peak MB':>8}")
    with tempfile.TemporaryDirectory() as folder:
        roots = {"the live root": "/"} if base is None else {}
        for loose in (0, options.loose) if base is not None else ():
            root = Path(folder) / f"root{loose}"
            subprocess.run(["cp", "-a", str(base), root], check=True)
            plant(root, options.files, options.packages, loose)
            roots[f"{options.files:,} files of packages" + (f", {loose:,} of none" if loose else "")] = str(root)
        for number, (name, place) in enumerate(roots.items()):
            for turn in ("nothing known", "all known"):
                found, memory = measured(place, f"{folder}/out", f"{folder}/cache{number}")
                print(f"{name + ', ' + turn:44} {found.processor:7.2f} {found.wall:7.2f} {memory / 1e6:8.1f}")


if __name__ == "__main__":
    main()
