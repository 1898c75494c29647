"""Whatever slimmer writes for a while goes away with it, killed or not: each such place has a lock that tells."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tracer.runner import session_directory

PROJECT = Path(__file__).resolve().parents[2]
# What makes them: places with locks; a spool in the cache, below the cache's own lock; files beside their target.
MAKERS = {
    "tracer/runner/session_directory.py",
    "slimmer/pipeline/workspace.py",
    "slimmer/root/store.py",
    "slimmer/image/layer.py",
    "slimmer/image/unpack.py",
    "slimmer/cli/record.py",
}


def test_only_these_make_temporary_places() -> None:
    found = {
        str(each.relative_to(PROJECT))
        for top in ("slimmer", "tracer")
        for each in (PROJECT / top).rglob("*.py")
        if re.search(r"\b(?:TemporaryDirectory|mkdtemp|mkstemp|NamedTemporaryFile)\(", each.read_text())
    }
    assert found == MAKERS


def test_what_a_killed_user_left_goes_with_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = """
import sys
from pathlib import Path
from tracer.runner import session_directory
with session_directory.directory() as place:
    Path(place, "image").mkdir()
    Path(place, "image/blob").write_text("x")
    print(place, flush=True)
    sys.stdin.read()
"""
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environ, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as user:
        assert user.stdout
        place = user.stdout.readline().strip()
        with session_directory.directory():
            assert Path(place, "image/blob").exists()  # its user lives
        user.send_signal(signal.SIGKILL)
    assert Path(place, "image/blob").exists()
    with session_directory.directory() as mine:
        assert [str(each) for each in tmp_path.iterdir()] == [mine]
    assert not list(tmp_path.iterdir())
