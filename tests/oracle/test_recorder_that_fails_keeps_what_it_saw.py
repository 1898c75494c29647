"""The recorder's end in the middle of a run: what it saw is kept and marked, what it traced is ended, nothing is told.

The failures are injected where a stop is handled, in a process of ours that the recorder is forked from.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from slimmer.cli.build import command as build
from slimmer.cli.record import command as record
from slimmer.cli.trace import command as trace
from slimmer.errors import IncompleteRecording
from tests.oracle.recorder_harness import STOP_BASED
from tests.running import readable_directory, small_root
from tests.support import needs_root
from tracer.options import Command, SessionOptions
from tracer.recorder import dispatcher, fanotify, memory, processes
from tracer.recorder.access_log import recovered
from tracer.recorder.calls import Calls
from tracer.recorder.exec import Executions
from tracer.recorder.journal import Journal
from tracer.recorder.protocol import Choice
from tracer.recording import Recording, load
from tracer.session import Session

SECRET = "hunter2-of-the-program"
# Each turn looks at a path, executes, and changes its directory; answers of ENOSYS would reach the file.
SCRIPT = (
    'i=0; while :; do i=$((i+1)); test -e /one/$i; /bin/true "$SECRET"; cd /usr; test -e relative; cd /; '
    'mv /no/a$i /no/b$i 2>/dev/null; test -e /etc/passwd || echo "went on without a recorder" >>"$OUT"; done'
)
PLACES: dict[str, tuple[Any, str]] = {
    "opening": (dispatcher, "open_mask"),
    "meeting": (processes.Processes, "meet"),
    "strings": (memory.Memory, "string"),
    "exec": (Executions, "stop"),
    "other calls": (Calls, "stop"),
    "memory": (memory.Memory, "read"),
    "directories": (processes.Processes, "refresh_cwd"),
    "tick": (dispatcher.Dispatcher, "tick"),
}
both = pytest.mark.parametrize("choice", STOP_BASED, ids=lambda choice: choice.value)


def _run(
    choice: Choice, tmp_path: Path, *, during: Callable[[Session], None] = lambda _: None, root: str = "/"
) -> Recording:
    """The script until everything has ended; whatever is left running then fails the test."""
    out = tmp_path / "out"
    with Session.start(SessionOptions(root=root, in_place=root == "/", recorder=choice)) as session:
        null = os.open("/dev/null", os.O_RDWR)
        environment = {"SECRET": SECRET, "OUT": str(out), "PATH": "/usr/bin:/bin"}
        process = session.spawn(Command(("/bin/sh", "-c", SCRIPT), environment), stdin=null, stdout=null, stderr=null)
        os.close(null)
        during(session)
        deadline = time.monotonic() + 60
        while process.poll() is None or session.alive():
            assert time.monotonic() < deadline, "the traced tree goes on"
            time.sleep(0.02)
        recording = session.finish().recording
    assert recording is not None
    assert not out.exists(), out.read_text()
    return recording


def _failing_at(stop: int, error: type[Exception], whole: Callable[..., Any]) -> Callable[..., Any]:
    count = 0

    def fails(*arguments: Any, **more: Any) -> Any:
        nonlocal count
        count += 1
        if count >= stop:
            raise error(SECRET, arguments)
        return whole(*arguments, **more)

    return fails


@needs_root
@both
@pytest.mark.parametrize("place", PLACES)
def test_an_exception_in_a_stop_ends_the_tree_and_keeps_the_recording(
    choice: Choice, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name = PLACES[place]
    monkeypatch.setattr(owner, name, _failing_at(3 if place == "tick" else 40, KeyError, getattr(owner, name)))
    recording = _run(choice, tmp_path)
    assert "/one/1" in {each.path for each in recording.accesses}
    _check_words(recording)


def _check_words(recording: Recording) -> None:
    (said,) = recording.incomplete
    assert said.startswith("the recorder failed (KeyError at tracer/recorder/")
    assert SECRET not in json.dumps([recording.incomplete, recording.notes])


@needs_root
@both
@pytest.mark.parametrize("name", ["readv", "pread"])
def test_an_exception_while_memory_is_read_ends_the_tree_too(
    choice: Choice, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`pread` serves a process that has stopped a few times, `readv` one that is new."""
    monkeypatch.setattr(dispatcher, name, _failing_at(30, KeyError, getattr(dispatcher, name)))
    recording = _run(choice, tmp_path)
    assert recording.accesses
    _check_words(recording)


@needs_root
@pytest.mark.parametrize("name", ["_event", "tick"])
def test_an_exception_of_the_fanotify_recorder_ends_the_tree_and_keeps_the_recording(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many events there are is luck: a file that is known is told no more. So it fails once a program is known."""
    whole = getattr(fanotify.Watcher, name)

    def fails(watcher: fanotify.Watcher, *arguments: Any) -> None:
        if {b"/usr/bin/true", b"/usr/bin/dash"} & watcher._known.keys():
            raise KeyError(SECRET, arguments)
        whole(watcher, *arguments)

    monkeypatch.setattr(fanotify.Watcher, name, fails)
    recording = _run(Choice.FANOTIFY, tmp_path)
    assert {each.path for each in recording.accesses} & {"/usr/bin/true", "/usr/bin/dash"}
    _check_words(recording)


@needs_root
@both
def test_a_recorder_that_fails_in_a_sandbox_ends_that_and_keeps_the_recording(
    choice: Choice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Calls, "stop", _failing_at(40, KeyError, Calls.stop))
    with readable_directory() as place:
        recording = _run(choice, tmp_path, root=str(small_root(place / "root")))
    assert "/one/1" in {each.path for each in recording.accesses}
    _check_words(recording)


@needs_root
@both
def test_a_killed_recorder_leaves_what_it_had_written_and_nobody_goes_on(choice: Choice, tmp_path: Path) -> None:
    def kill(session: Session) -> None:
        time.sleep(3)  # more than a frame of the journal takes
        assert session._service is not None
        os.kill(session._service.pid, signal.SIGKILL)

    recording = _run(choice, tmp_path, during=kill)
    assert recording.incomplete == (
        "the recorder was killed (SIGKILL); what it traced was ended, and what it had seen until then is kept",
    )
    assert {"/one/1", "/usr/relative", "/no/a1", "/no/b1"} <= {each.path for each in recording.accesses}
    assert any(each.path.endswith("/true") for each in recording.executions)
    assert recording.recorder == (choice.value,)


def test_a_frame_that_breaks_off_is_not_read_and_those_before_it_are() -> None:
    journal = Journal()
    row = (False, b"/bin/a", b"", b"/srv", {b"x": 1, b"/y": 8})
    assert journal.append(([row], [(b"/bin/a", b"/", ())], ["said"], ["notify"], ""))
    assert journal.append(([(False, b"/bin/b", b"", b"/", {b"z": 1})], [], [], [], "why"))
    whole = recovered(journal)
    assert [(path, by) for path, _, by in whole.accesses] == [
        (b"/srv/x", [b"/bin/a"]),
        (b"/y", [b"/bin/a"]),
        (b"/z", [b"/bin/b"]),
    ]
    assert whole.failure == "why"
    os.ftruncate(journal.descriptor, os.fstat(journal.descriptor).st_size - 1)
    part = recovered(journal)
    assert [path for path, _, _ in part.accesses] == [b"/srv/x", b"/y"]
    assert (part.failure, part.notes, part.recorders) == ("", ["said"], ["notify"])
    journal.close()


@needs_root
def test_an_incomplete_recording_is_written_and_built_only_when_that_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`slim record` writes it, `slim trace` keeps it beside its output, `slim build` refuses it."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "bin").mkdir()
    shutil.copy2("/bin/busybox", root / "bin/busybox")
    (root / "bin/sh").symlink_to("busybox")
    monkeypatch.setattr(Calls, "stop", _failing_at(20, KeyError, Calls.stop))
    run = ["-q", "--root", str(root), "--run", "/bin/sh -c 'while :; do cd /bin; test -e /x; done'"]
    made = tmp_path / "r.json"
    recorded = CliRunner().invoke(record, [*run, "-o", str(made)])
    assert isinstance(recorded.exception, IncompleteRecording)
    assert "marked incomplete" in str(recorded.exception)
    assert load(made).incomplete
    assert "/bin/sh" in {each.path for each in load(made).accesses}
    traced = CliRunner().invoke(trace, [*run, "-o", str(tmp_path / "out")])
    assert isinstance(traced.exception, IncompleteRecording)
    assert not (tmp_path / "out").exists()
    assert load(tmp_path / "out-incomplete.json").incomplete
    monkeypatch.undo()
    build_it = ["-q", str(made), "--root", str(root), "--no-check", "-o", str(tmp_path / "out")]
    refused = CliRunner().invoke(build, build_it)
    assert "the recording is incomplete: the recorder failed" in str(refused.exception)
    assert CliRunner().invoke(build, [*build_it, "--accept-incomplete"]).exit_code == 0
    notes = json.loads((tmp_path / "out/report.json").read_text())["notes"]
    assert any("the recording is incomplete" in note for note in notes)
