"""A running slim container that misses something says what; it goes on as if nobody had looked."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slimmer.pipeline.outputs import CheckMode, Outputs
from slimmer.pipeline.progress import Progress
from slimmer.pipeline.trace import trace
from slimmer.recipe import Reach, Recipe, Run, Source
from tests.running import ENV, NOBODY, as_user, readable_directory, small_root
from tests.support import needs_root, plant
from tracer.errors import TracerError
from tracer.recorder.attach import Vain
from tracer.recording import load
from tracer.session import Command, Session, SessionOptions

pytestmark = needs_root
SERVE = """#755 #!/bin/bash
cd /srv; name=$(printf %s%s ra re); other=$(printf %s%s ne ver)
while :; do cat "/srv/$name" "$other"; cat /nowhere; echo round >> /tmp/rounds; sleep 0.05; done 2> /dev/null
"""
FILES = {"/opt/serve.sh": SERVE, "/srv/rare": "rare\n", "/srv/never": "n\n", "/srv/unasked": "u\n"}


@pytest.fixture(scope="module")
def places() -> Iterator[tuple[Path, Path]]:
    """An output whose image lacks what its program wants only in production, and its tree."""
    with readable_directory() as place:
        plant(small_root(place / "root"), FILES)
        kept = ("/opt/serve.sh", "/usr/bin/sleep", "/usr/bin/printf")
        recipe = Recipe(
            Source(root=str(place / "root")),
            (Run(("/bin/bash", "-c", "cat /etc/hostname; cd /srv")),),
            reach=Reach(include=kept),
        )
        trace(recipe, Outputs(place / "out", rootfs=str(place / "slim"), check=CheckMode.OFF), Progress())
        assert not (place / "slim/srv/rare").exists()
        yield place / "out", place / "slim"


def until(file: Path, lines: int) -> None:
    deadline = time.monotonic() + 60
    while not file.exists() or len(file.read_text().splitlines()) < lines:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_is_missing_is_listed_with_what_brings_it_back(places: tuple[Path, Path], tmp_path: Path) -> None:
    out, slim = places
    with Session.start(SessionOptions(root=str(slim), record=False)) as session:
        null = os.open(os.devnull, os.O_WRONLY)
        process = session.spawn(Command(("/opt/serve.sh",), ENV), stdout=null, stderr=null)
        os.close(null)
        rounds = Path(f"/proc/{process.pid}/root/tmp/rounds")
        until(rounds, 1)
        words = ["record", "--watch", str(process.pid), "--for", "4", "--missing", out, "-o", tmp_path / "seen.json"]
        done = subprocess.run([sys.executable, "-m", "slimmer", *map(str, words)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        before = len(rounds.read_text().splitlines())
        until(rounds, before + 2)
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "TracerPid:\t0\n" in status
        assert process.poll() is None
        process.signal(9)
    lines = done.stdout.splitlines()
    assert [line.partition("  ")[0] for line in lines] == ["/srv/never", "/srv/rare"]
    assert lines[1].endswith("(looked for by /usr/bin/cat)  --include /srv/rare")
    recording = load(tmp_path / "seen.json")
    assert {"/srv/rare", "/srv/never", "/nowhere"} <= {each.path for each in recording.accesses}
    assert recording.recorder == ("fanotify", "ptrace")


def test_who_may_not_trace_is_told_so() -> None:
    def refused() -> str:
        try:
            Vain.start(1)
        except TracerError as error:
            return str(error)
        return ""

    assert "cannot be traced" in as_user(NOBODY, refused)
