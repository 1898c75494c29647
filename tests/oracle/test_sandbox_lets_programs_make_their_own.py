"""--allow-nested: programs with a sandbox of their own, bubblewrap and Chromium as they are, run in ours, recorded."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import ENV, NOBODY, as_user, readable_directory, small_root
from tests.support import needs_root, requires
from tracer.session import Command, Identity, Session, SessionOptions

pytestmark = needs_root
PAGE = '<p id="a"></p><script>document.getElementById("a").textContent = "sum " + (40 + 2)</script>'
BWRAP = (
    *("bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--tmpfs", "/tmp", "--unshare-user", "--unshare-net"),
    *("sh", "-c", "echo in $(id -u); cat /etc/passwd >/dev/null; ls /tmp"),
)


@pytest.fixture
def place() -> Iterator[Path]:
    with readable_directory() as directory:
        yield directory


def inside(
    argv: tuple[str, ...], out: Path, *, root: str = "/", uid: int, nested: bool, seconds: float
) -> tuple[int, str, set[str]]:
    """A command in a sandbox over a root, mostly this machine's: its status, what it printed, the paths of it."""
    options = SessionOptions(root, allow_nested=nested, identity=Identity(uid, uid), pids=1024)
    with Session.start(options) as session, out.open("wb") as stream:
        env = {**ENV, "HOME": "/tmp", "PATH": "/usr/bin:/bin"}
        command = Command(argv, env, "/tmp", Identity(uid, uid))
        process = session.spawn(command, stdout=stream.fileno(), stderr=stream.fileno())
        status = process.wait(seconds)
        session.stop(signal.SIGKILL, 0)
        outcome = session.finish()
    assert outcome.recording is not None
    assert outcome.recording.incomplete == ()
    notes = any("--allow-nested" in each for each in outcome.recording.notes)
    assert notes is nested
    assert status is not None, out.read_text(errors="replace")[-2000:]
    return status, out.read_text(errors="replace"), {each.path for each in outcome.recording.accesses}


def with_bubblewrap(place: Path) -> Path:
    """A small root with this machine's bubblewrap in it, and its libraries."""
    root = small_root(place)
    program = shutil.which("bwrap") or ""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for name in (program, *re.findall(r"(/\S+) \(0x", listed)):
        target = root / name.lstrip("/")
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, target)
    return root


@requires("bwrap")
@pytest.mark.parametrize("who", [0, NOBODY], ids=["root", "an ordinary user"])
def test_bubblewrap_makes_its_sandbox_in_ours(place: Path, who: int) -> None:
    os.chown(place, who, who)
    root = with_bubblewrap(place / "root")

    def go(*, nested: bool) -> tuple[int, str, set[str]]:
        given = BWRAP if nested else ("bwrap", "--ro-bind", "/", "/", "sh", "-c", "echo in")
        return inside(given, place / "out", root=str(root), uid=0 if who == 0 else 1000, nested=nested, seconds=60)

    status, said, paths = go(nested=True) if who == 0 else as_user(who, lambda: go(nested=True))
    assert (status, said.split()[0]) == (0, "in"), said
    assert "/etc/passwd" in paths
    status, said, _ = go(nested=False) if who == 0 else as_user(who, lambda: go(nested=False))
    assert status != 0
    assert "ermi" in said  # "Operation not permitted", or "No permissions to create new namespace"


@requires("chromium")
def test_chromium_makes_its_sandbox_in_ours(place: Path) -> None:
    """As user 1000: as root Chromium refuses to run with its sandbox."""
    browser = (
        *(shutil.which("chromium") or "", "--headless", "--disable-gpu", "--user-data-dir=/tmp/profile"),
        *("--dump-dom", f"data:text/html,{PAGE}"),
    )
    status, said, paths = inside(browser, place / "out", uid=1000, nested=True, seconds=200)
    assert status == 0, said[-2000:]
    assert '<p id="a">sum 42</p>' in said
    assert any(each.endswith("icudtl.dat") for each in paths)
    status, said, _ = inside(browser, place / "out", uid=1000, nested=False, seconds=200)
    assert "sum 42" not in said  # its sandbox is refused, and it does not run without
