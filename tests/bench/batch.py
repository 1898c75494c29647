"""Batches: 200 images on a cluster that loses a worker and its scheduler, and throughput against workers.

python -m tests.bench.batch            # 200 images
python -m tests.bench.batch 40         # fewer

The images are fixture applications times variants (a label of its own makes each another image). All must be in the
registry, each once, each with the id that a batch on this machine alone gives. Exits 1 where one is not.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.roots import debian_root
from slimmer.batch.model import Outcome
from tests.clusters import HOUSE, batch, in_registry, machines, results, through_trouble, write_list

COUNT = 200
MEASURED = 8  # images for each number of workers


@dataclass(frozen=True, slots=True)
class Application:
    """One of fixtures/apps: what its root is made of, and its run."""

    name: str
    packages: tuple[str, ...]
    run: Mapping[str, object]


APPLICATIONS = (
    Application("bash", ("bash",), {"command": "/app/words.sh /app/text.txt"}),
    Application(
        "notes", ("python3",), {"command": "python3 /app/server.py 8090", "probes": ["http://127.0.0.1:8090/api"]}
    ),
    Application(
        "nginx",
        ("nginx-light",),
        {"command": "/usr/sbin/nginx -c /app/nginx.conf -g 'daemon off;'", "probes": ["http://127.0.0.1:8081/"]},
    ),
)


def variants(count: int) -> dict[str, tuple[Path, Mapping[str, object]]]:
    """That many images by name: each a root, and a run that another one does not have."""
    roots = {
        each.name: debian_root(*each.packages, overlay=HOUSE / "fixtures/apps" / each.name) for each in APPLICATIONS
    }
    made = {}
    for number in range(count):
        each = APPLICATIONS[number % len(APPLICATIONS)]
        made[f"{each.name}-{number:03}"] = (roots[each.name], each.run)
    return made


def listed(place: Path, images: Mapping[str, tuple[Path, Mapping[str, object]]], *, push: bool) -> Path:
    """The list, each image with its name as a label."""
    write_list(place, images, push=push)
    rows = [json.loads(line) for line in place.read_text().splitlines()]
    for row in rows:
        row["recipe"]["image"] = {"label": {"variant": row["name"]}}
    place.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


def single(place: Path, images: Mapping[str, tuple[Path, Mapping[str, object]]], jobs: int) -> list[Outcome]:
    """The same images by this machine alone."""
    told = place / f"alone-{jobs}.jsonl"
    rows = listed(place / "alone.jsonl.list", images, push=False)
    out = place / f"alone-{jobs}"
    batch(rows, "-o", out, "--jobs", str(jobs), "--results", told, "--no-check", "--no-challenge")
    return results(told)


def trouble(place: Path, count: int) -> bool:
    """The images through a cluster that fails; whether all are there, each once, each the right one."""
    images = variants(count)
    began = time.monotonic()
    with machines(place) as made:
        outcomes = through_trouble(made, place, listed(place / "images.jsonl", images, push=True), count)
        seconds = time.monotonic() - began
        there = {each.name: in_registry(made, each.name) for each in outcomes}
    alone = {each.name: each.image_id for each in single(place, images, 2)}
    once = sorted(each.name for each in outcomes) == sorted(images)
    same = {name: (image_id, ["1"]) for name, image_id in alone.items()} == there
    again = sum(each.status.value == "unchanged" for each in outcomes)
    print(f"{count} images, 2 workers, one killed, the scheduler restarted: {seconds:.0f} s")
    print(f"  all there, each once: {once};  ids those of single runs: {same};  made twice, pushed once: {again}")
    return once and same


def throughput(place: Path) -> None:
    """Images a minute by the number of processes, beside one process; and processor time for one."""
    images = variants(MEASURED)
    base = 0.0
    for jobs in (1, 2, 4):
        if jobs > 2 * len(os.sched_getaffinity(0)):
            break
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.monotonic()
        done = single(place, images, jobs)
        wall = time.monotonic() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        base = base or wall
        print(
            f"  --jobs {jobs}: {60 * len(done) / wall:6.1f} images a minute, {base / wall:4.2f}x of one, "
            f"{processor / len(done):5.2f} s of processor each",
            flush=True,
        )


def main(arguments: list[str]) -> int:
    count = int(arguments[0]) if arguments else COUNT
    with tempfile.TemporaryDirectory(prefix="slimmer-bench-") as scratch:
        place = Path(scratch)
        place.chmod(0o755)
        throughput(place)
        try:
            return 0 if trouble(place, count) else 1
        except pytest.skip.Exception as reason:
            print(f"  not here: {reason}")
            return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
