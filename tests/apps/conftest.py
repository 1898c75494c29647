"""What whole runs share: the program as a user starts it, and podman with storage of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

Slim = Callable[..., subprocess.CompletedProcess[str]]

HOUSE = Path(__file__).resolve().parents[2]


def unchallenged(arguments: Iterable[str | Path]) -> list[str]:
    """A command line without the challenge, unless it says something of it: that has tests of its own."""
    words = [str(each) for each in arguments]
    named = any("challenge" in each or each == "--questions" for each in words)
    return words if named or words[:1] not in (["trace"], ["build"]) else [words[0], "--no-challenge", *words[1:]]


@pytest.fixture
def slim() -> Slim:
    """`slim ARGS…` in a process of its own; `code` is the exit code that is expected."""

    def run(
        *arguments: str | Path,
        code: int = 0,
        env: Mapping[str, str] | None = None,
        umask: int = 0o022,
        **options: Any,
    ) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [sys.executable, "-m", "slimmer.cli.main", *unchallenged(arguments)],
            env={**os.environ, "PYTHONPATH": str(HOUSE), **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=240,
            umask=umask,
            **options,
        )
        assert done.returncode == code, f"exit {done.returncode}, not {code}:\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    return run


class Podman:
    """podman as root with runc, which also works where crun refuses the machine's cgroups."""

    LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")

    def __init__(self, home: Path, driver: str = "vfs") -> None:
        self.command = [
            *("podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", "--storage-driver", driver),
            *("--root", str(home / "storage"), "--runroot", str(home / "run"), "--tmpdir", str(home / "tmp")),
        ]

    def __call__(self, *arguments: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            [*self.command, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout
        )
        assert not check or done.returncode == 0, f"podman {arguments}: {done.stdout!r} {done.stderr!r}"
        return done

    def remove(self, name: str) -> None:
        """A container, whether it runs or not. The engine may find it ended while it is just killing it, and say no."""
        if self("rm", "--force", "--time", "0", name, check=False).returncode:
            self("rm", "--force", "--time", "0", name)

    def popen(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*self.command, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    if os.geteuid() != 0 or shutil.which("podman") is None or shutil.which("runc") is None:
        pytest.skip("needs root, podman and runc")
    home = Path(tempfile.mkdtemp(prefix="slim-"))  # podman wants its run directory within 50 characters
    engine = Podman(home)
    try:
        yield engine
    finally:
        engine("rm", "--all", "--force", "--time", "0", check=False)
        shutil.rmtree(home, ignore_errors=True)
