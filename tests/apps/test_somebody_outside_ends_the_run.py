"""--continue-on: what others ask of the application counts, until a line on the terminal or SIGUSR1 ends the run."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import IO

import pytest

from tests.apps.conftest import HOUSE, Slim
from tests.support import plant, requires


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    pages = {f"/www/{each}": each for each in ("asked", "outside", "nobody")}
    place = plant(tmp_path / "root", {"/bin/httpd": "-> busybox", "/tmp": None, **pages})
    shutil.copy2("/bin/busybox", place / "bin/busybox")
    return place


def words(root: Path, *more: str | Path) -> list[str]:
    how = ["--run", "httpd -f -p 80 -h /www", "--probe", "http://127.0.0.1/asked"]
    return [sys.executable, "-m", "slimmer.cli.main", *map(str, more), "--root", str(root), *how]


def wait_for(stream: IO[bytes], text: bytes) -> bytes:
    while text not in (line := stream.readline()):
        assert line, f"it ended before it said {text!r}"
    return line


@requires("busybox")
def test_a_signal_ends_it_and_what_came_through_the_published_port_is_kept(root: Path, tmp_path: Path) -> None:
    port, out = free_port(), tmp_path / "out"
    more = (
        "trace",
        "--no-challenge",
        "--keep",
        "recorded",
        "--publish",
        f"{port}:80",
        "--continue-on",
        "signal",
        "-o",
        out,
    )
    env = {**os.environ, "PYTHONPATH": str(HOUSE)}
    with subprocess.Popen(words(root, *more), env=env, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        said = wait_for(process.stderr, b"running until SIGUSR1")
        assert said.rstrip().endswith(f"kill -USR1 {process.pid}".encode())
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/outside", timeout=30) as answer:
            assert answer.read() == b"outside"
        process.send_signal(signal.SIGUSR1)
        rest = process.stderr.read()
        assert process.wait(120) == 0, rest
    kept = {row["path"] for row in json.loads((out / "manifest.json").read_text())["paths"]}
    assert {"/www/asked", "/www/outside"} <= kept
    assert "/www/nobody" not in kept
    assert json.loads((out / "check.json").read_text())["verdict"] == "passed"


@requires("busybox")
def test_a_line_on_the_terminal_ends_it(root: Path, tmp_path: Path) -> None:
    keyboard, terminal = pty.openpty()
    target = tmp_path / "recording.json"
    with subprocess.Popen(
        words(root, "record", "--continue-on", "enter", "-o", target),
        env={**os.environ, "PYTHONPATH": str(HOUSE)},
        stdin=terminal,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(terminal)
        assert process.stderr is not None
        wait_for(process.stderr, b"running until Enter")
        os.write(keyboard, b"\n")
        rest = process.stderr.read()
        assert process.wait(60) == 0, rest
    os.close(keyboard)
    assert target.is_file()


@requires("busybox")
def test_a_client_is_heard_when_that_is_asked_for_and_leaves_nothing_when_it_is_late(
    slim: Slim, root: Path, tmp_path: Path
) -> None:
    what = ("--root", root, "--run", "httpd -f -p 80 -h /www", "--ready", "80", "-o", tmp_path / "recording.json")
    assert "it is said" in slim("record", "-v", *what, "--", "sh", "-c", "echo it is said").stderr
    assert "it is said" not in slim("record", *what, "--", "sh", "-c", "echo it is said").stderr
    late = ("--exec-timeout", "1", "--", "sh", "-c", "sleep 7717 & echo its child; sleep 7717")
    assert "its child" in slim("record", *what, *late, code=1).stderr
    running = [each.read_bytes() for each in Path("/proc").glob("[0-9]*/cmdline") if each.exists()]
    assert b"sleep\x007717\x00" not in running


def test_without_a_terminal_nobody_is_waited_for(slim: Slim, tmp_path: Path) -> None:
    said = slim("record", "--run", "true", "--continue-on", "enter", "-o", tmp_path / "none.json", code=2).stderr
    assert "--continue-on signal" in said
