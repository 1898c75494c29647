"""A run that may open only so many files goes well, or is one clear message that leaves all as it was."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

from tests.running import readable_directory, small_root
from tests.support import needs_root

pytestmark = needs_root
MANY = "i=0; while [ $i -lt 60 ]; do sleep 2 & i=$((i+1)); done; wait; cat /etc/passwd"
ENOUGH = 48


def trace(place: Path, words: str, most: int) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != "CI"}
    environ |= {"TMPDIR": str(place / "tmp"), "XDG_STATE_HOME": str(place / "state"), "PYTHONPATH": os.getcwd()}
    return subprocess.run(
        [
            *(sys.executable, "-m", "slimmer", "trace", "--root", place / "root", "--no-challenge", "-q"),
            *("--run", words, "-o", place / "place/out"),
        ],
        env=environ,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)),
        timeout=200,
    )


def state(place: Path) -> dict[str, bytes]:
    return {str(each): each.read_bytes() for each in (place / "place").rglob("*") if each.is_file()}


def test_packing_and_the_sandbox_fail_whole() -> None:
    with readable_directory() as place:
        small_root(place / "root")
        for name in ("tmp", "place"):
            (place / name).mkdir()
        assert trace(place, "/bin/cat /etc/passwd", ENOUGH).returncode == 0
        before = state(place)
        said = []
        for most in range(8, 26, 3):
            done = trace(place, "/bin/cat /etc/passwd /etc/group", most)
            assert "Traceback" not in done.stderr
            assert os.listdir(place / "tmp") == []
            assert os.listdir(place / "place") == ["out"]
            if done.returncode == 0:
                before = state(place)
                continue
            assert done.returncode == 1, done.stderr
            assert "ulimit -n" in done.stderr
            assert state(place) == before
            said.append(done.stderr)
        assert any("cannot build a sandbox" in each for each in said)
        assert any("cannot build a sandbox" not in each for each in said)


def test_the_recorder_follows_more_processes_than_it_may_open_files() -> None:
    with readable_directory() as place:
        small_root(place / "root")
        for name in ("tmp", "place"):
            (place / name).mkdir()
        done = trace(place, f"/bin/sh -c '{MANY}'", ENOUGH)
        assert done.returncode == 0, done.stderr
        assert '"/etc/passwd"' in (place / "place/out/recording.json").read_text()
        assert '"/usr/bin/sleep"' in (place / "place/out/recording.json").read_text()
