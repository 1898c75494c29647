"""Opening an image against what else unpacks the same one, side by side in one run.

    python -m tests.bench.unpack [--root DIR] [--rounds N] [--work DIR]

One root is packed into an image of several gzip layers, read once before so that the disk does not
count; rounds are interleaved and the median is told. "again" is a second run on
the same image; "deflate alone" is the least that any reader has to do: zlib and
sha256 over all layers, on one core.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from fixtures.roots import debian_root

OURS = """
import re, sys
from pathlib import Path
from slimmer.root.source import open_image
root = open_image(sys.argv[1], cache=Path(sys.argv[2]))
print(len(root), re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def run(*argv: str | Path, **environ: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **environ})
    if done.returncode:
        sys.exit(f"{argv}: {done.stderr}")
    return done.stdout


def make(root: Path, work: Path) -> Path:
    """A layout of one image: a layer for each of the root's largest directories, one for the rest."""
    lay = work / "layout"
    run("umoci", "init", "--layout", lay)
    run("umoci", "new", "--image", f"{lay}:app")
    for part in ("usr/lib", "usr/share", "usr/bin", "var", "etc"):
        if (root / part).is_dir():
            run("umoci", "insert", "--image", f"{lay}:app", root / part, f"/{part}")
    return lay


def alone(lay: Path) -> None:
    for blob in (lay / "blobs/sha256").iterdir():
        packed, plain, engine = hashlib.sha256(), hashlib.sha256(), zlib.decompressobj(31)
        with open(blob, "rb") as stream:
            if stream.read(2) != b"\x1f\x8b":
                continue
            stream.seek(0)
            while data := stream.read(1 << 18):
                packed.update(data)
                plain.update(engine.decompress(data))


def spent() -> float:
    """Processor seconds of this process and of all that it waited for: what counts on a busy machine."""
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    arguments.add_argument("--root", type=Path)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--work", type=Path)
    given = arguments.parse_args()
    root = given.root or debian_root("python3")
    work = Path(tempfile.mkdtemp(prefix="bench-unpack-", dir=given.work))
    times: dict[str, list[float]] = {}
    processor: dict[str, list[float]] = {}
    memory = entries = 0
    try:
        lay = make(root, work)
        alone(lay)
        for number in range(given.rounds):
            cache = work / f"cache{number}"
            conf = work / f"storage{number}.conf"
            conf.write_text(
                '[storage]\ndriver = "overlay"\n'
                f'graphroot = "{work / f"graph{number}"}"\nrunroot = "{work / f"run{number}"}"\n'
            )

            def ours(cache: Path = cache) -> str:
                return run(sys.executable, "-c", OURS, f"oci:{lay}:app", cache, PYTHONPATH=os.getcwd())

            rows: dict[str, Callable[[], object]] = {
                "deflate alone": lambda: alone(lay),
                "slimmer": ours,
                "slimmer again": ours,
                "umoci unpack": lambda number=number: run(  # type: ignore[misc]
                    "umoci", "unpack", "--image", f"{lay}:app", work / f"bundle{number}"
                ),
                "podman pull": lambda conf=conf: run(  # type: ignore[misc]
                    "podman", "pull", "--quiet", f"oci:{lay}:app", CONTAINERS_STORAGE_CONF=str(conf)
                ),
            }
            for name, call in rows.items():
                if name.split()[0] in ("umoci", "podman") and shutil.which(name.split()[0]) is None:
                    continue
                start, before = time.perf_counter(), spent()
                said = call()
                times.setdefault(name, []).append(time.perf_counter() - start)
                processor.setdefault(name, []).append(spent() - before)
                if isinstance(said, str) and re.fullmatch(r"\d+ \d+\s*", said):
                    entries, memory = int(said.split()[0]), max(memory, int(said.split()[1]))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(
        json.dumps(
            {
                "entries": entries,
                "peak_kilobytes": memory,
                "seconds": {name: round(statistics.median(found), 3) for name, found in times.items()},
                "processor_seconds": {name: round(statistics.median(found), 3) for name, found in processor.items()},
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
