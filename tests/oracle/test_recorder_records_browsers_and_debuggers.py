"""Real programs with namespaces, filters and tracers of their own: a browser in its own sandbox, and gdb."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.oracle.recorder_harness import STOP_BASED, record
from tests.running import NOBODY
from tests.support import needs_root, requires
from tracer.recorder.protocol import Choice

both = pytest.mark.parametrize("choice", STOP_BASED, ids=lambda choice: choice.value)


@pytest.fixture
def theirs() -> Iterator[Path]:
    """A directory of an ordinary user."""
    place = Path(tempfile.mkdtemp(prefix="slimmer-test-", dir="/tmp"))
    os.chown(place, NOBODY, NOBODY)
    yield place
    shutil.rmtree(place, ignore_errors=True)


@both
@needs_root
@requires("chromium")
def test_a_browser_in_its_own_sandbox_is_recorded(choice: Choice, theirs: Path) -> None:
    """As an ordinary user, so that it makes its user namespaces and installs its filters."""
    page = theirs / "page.html"
    page.write_text('<p id="a"></p><script>document.getElementById("a").textContent = "sum " + (40 + 2)</script>')
    output = theirs / "output"

    def become() -> None:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)

    done = record(
        [
            *(shutil.which("chromium") or "", "--headless", "--disable-gpu", f"--user-data-dir={theirs}/profile"),
            *("--dump-dom", page.as_uri()),
        ],
        choice,
        cwd=theirs,
        env={"HOME": str(theirs), "PATH": "/usr/bin:/bin"},
        before=become,
        output=str(output),
        seconds=100,
    )
    assert done.code == 0
    assert '<p id="a">sum 42</p>' in output.read_text(errors="replace")
    assert done.kinds(str(page)) >= {"read"}
    assert {path for path in done.paths if path.endswith((".pak", "icudtl.dat"))}


@requires("gdb")
def test_a_debugger_works_inside_a_recording_by_notify(tmp_path: Path) -> None:
    output = tmp_path / "output"
    script = ("-ex", "break exit", "-ex", "run", "-ex", "backtrace", "-ex", "continue")
    done = record(
        [shutil.which("gdb") or "", "-batch", "-nx", *script, "--args", "/bin/ls", "/usr/none"],
        Choice.NOTIFY,
        cwd=tmp_path,
        output=str(output),
    )
    said = output.read_text(errors="replace")
    assert "Breakpoint 1" in said, said
    assert "exited with code 02" in said
    assert "/usr/none" in done.paths


@requires("gdb")
def test_a_debugger_inside_a_recording_by_ptrace_is_told_of(tmp_path: Path) -> None:
    output = tmp_path / "output"
    done = record(
        [shutil.which("gdb") or "", "-batch", "-nx", "-ex", "run", "--args", "/bin/true"],
        Choice.PTRACE,
        cwd=tmp_path,
        output=str(output),
    )
    assert [note for note in done.recording.notes if "--recorder notify" in note]
