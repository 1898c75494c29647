"""Short storms of every kind: no recorder loses a stop or leaks, and what strace sees of one is in the recording."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.soak import names, soak
from tests.oracle.recorder_harness import STOP_BASED, record
from tests.oracle.recorder_strace import command, touched
from tests.support import needs_root
from tracer.recorder.protocol import Choice

SCALE = 16
LIVE = 120


@needs_root
@pytest.mark.parametrize("choice", [*STOP_BASED, Choice.FANOTIFY], ids=lambda choice: choice.value)
def test_every_name_of_a_storm_is_recorded_and_nothing_stays_behind(choice: Choice, tmp_path: Path) -> None:
    soaked = soak(choice, tmp_path, 0, 2 * 4000, SCALE, LIVE)
    assert soaked.rounds > 1
    assert names(SCALE, choice, str(tmp_path)) <= {each.path for each in soaked.recording.accesses}
    assert soaked.recording.incomplete == ()
    assert soaked.descriptors[-1] <= soaked.descriptors[0] + 2  # a daemon's listener


@needs_root
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("choice", STOP_BASED, ids=lambda choice: choice.value)
def test_what_strace_sees_of_a_storm_is_recorded(choice: Choice, tmp_path: Path) -> None:
    for number in range(4 * SCALE):
        (tmp_path / f"file{number}").write_text("x")
    storm = [sys.executable, "-m", "tests.bench.soak", "--storms", str(SCALE), "30", str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(command(tmp_path / "strace", storm), cwd="/", env=env, capture_output=True, check=True, timeout=120)
    seen = {os.path.normpath(path) for path in touched(tmp_path / "strace", "/").paths if "/.." not in path}
    done = record(storm, choice, env=env, output=str(tmp_path / "out"))
    assert done.code == 0, (tmp_path / "out").read_text()
    # glibc counts the processors when its arenas are contended, which is a matter of luck.
    luck = ("/proc/", "/dev/", "/sys/devices/system/cpu")
    lost = {each for each in seen - done.paths if not each.startswith(luck)}
    assert not lost
    assert f"/no/exec/{SCALE - 1}" in seen
