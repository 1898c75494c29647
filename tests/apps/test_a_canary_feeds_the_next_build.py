"""A path that only production meets: watched there for a while, it is in the next image."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apps.conftest import HOUSE, Slim
from tests.running import readable_directory, small_root
from tests.support import needs_root, plant, requires

SERVE = """#755 #!/bin/bash
while read -r name; do cat "/srv/tables/$name"; done
"""
LIBRARY = "/srv/tables/rare"


@pytest.fixture
def root() -> Iterator[Path]:
    with readable_directory() as place:
        top = small_root(place / "root")
        yield plant(
            top, {"/opt/serve.sh": SERVE, "/srv/tables/usual": "usual\n", LIBRARY: "rare\n", "/srv/tables/never": "n\n"}
        )


def kept(out: Path) -> set[str]:
    return {row["path"] for row in json.loads((out / "manifest.json").read_text())["paths"]}


@needs_root
@requires("mmdebstrap")
@pytest.mark.parametrize("by", ["directory", "process"])
def test_what_a_canary_meets_is_in_the_next_image(by: str, root: Path, slim: Slim, tmp_path: Path) -> None:
    run = "bash -c 'echo usual | /opt/serve.sh'"
    first, watched = tmp_path / "training.json", tmp_path / "canary.json"
    slim("record", "--root", root, "--run", run, "-o", first)
    options = ("--root", root, "--keep", "recorded", "--run", run)
    slim("build", first, *options, "-o", tmp_path / "before")
    assert LIBRARY not in kept(tmp_path / "before")

    production = subprocess.Popen(
        ["chroot", root, "/opt/serve.sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert production.stdin is not None
    assert production.stdout is not None
    try:
        watcher = subprocess.Popen(
            [
                *(sys.executable, "-m", "slimmer.cli.main", "record", "--for", "2.5", "-o", watched),
                *("--watch", root if by == "directory" else str(production.pid)),
            ],
            env={**os.environ, "PYTHONPATH": str(HOUSE)},
            stderr=subprocess.PIPE,
        )
        assert watcher.stderr is not None
        assert b"watching" in watcher.stderr.readline()
        deadline = time.monotonic() + 2
        while watcher.poll() is None and time.monotonic() < deadline:
            production.stdin.write(b"rare\n")
            production.stdin.flush()
            assert production.stdout.readline() == b"rare\n"
            time.sleep(0.2)
        said = watcher.communicate(timeout=30)[1]
        assert watcher.returncode == 0, said
    finally:
        production.kill()
        production.communicate()

    slim("build", first, watched, *options, "-o", tmp_path / "after")
    assert kept(tmp_path / "after") - kept(tmp_path / "before") == {LIBRARY}
