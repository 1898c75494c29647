"""A run has so many processes and so much memory, and no more: what it reached is said, what it recorded is kept."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from slimmer.errors import IncompleteRecording
from tests.running import NOBODY, as_user, readable_directory, run, small_root
from tests.support import needs_root
from tracer.kernel import cgroup, mountinfo
from tracer.runner import limits
from tracer.session import Outcome, Session, SessionOptions

pytestmark = needs_root
BOMB = "cat /etc/passwd >/dev/null; i=0; while [ $i -lt 400 ]; do sleep 60 & i=$((i+1)); done; echo done"
HUNGRY = "cat /etc/passwd >/dev/null; x=aaaaaaaa; while true; do x=$x$x; done"


@pytest.fixture(scope="module")
def root() -> Iterator[str]:
    with readable_directory() as place:
        yield str(small_root(place / "root"))


def groups(top: str = "/sys/fs/cgroup") -> set[str]:
    return {place for place, names, _ in os.walk(top) if os.path.basename(place).startswith(cgroup.PREFIX)}


def bombed(root: str, script: str = BOMB, **options: object) -> tuple[str, str, Outcome]:
    with Session.start(SessionOptions(root, **options)) as session:  # type: ignore[arg-type]
        _, said = run(session, "sh", "-c", script)
        session.stop(signal.SIGKILL, 0)
        outcome = session.finish()
        return session.explanation, said, outcome


def judge(outcome: Outcome, said: str) -> None:
    assert outcome.recording is not None
    assert len(outcome.recording.incomplete) == 1
    assert "reached its limit of 50 processes (--pids" in outcome.recording.incomplete[0]
    assert "/etc/passwd" in {each.path for each in outcome.recording.accesses}
    assert "done" not in said  # refused, and not merely counted


def writable(controller: str) -> bool:
    made = cgroup.make(f"{cgroup.PREFIX}test-{os.getpid()}", {controller: 1 << 20 if controller == "pids" else 1 << 30})
    made.remove()
    return controller in made.place


def test_a_fork_bomb_ends_at_the_limit_by_a_control_group(root: str) -> None:
    if not writable("pids"):
        pytest.skip("no control group with a limit of processes can be made here")
    before = groups()
    why, said, outcome = bombed(root, pids=50)
    assert "at most 50 processes, by a control group" in why
    judge(outcome, said)
    assert groups() <= before


def test_a_fork_bomb_of_an_ordinary_user_ends_at_the_limit(root: str) -> None:
    why, said, outcome = as_user(NOBODY, lambda: bombed(root, pids=50))
    assert "at most 50 processes, by " in why
    judge(outcome, said)


def test_a_fork_bomb_of_root_ends_without_a_control_group_too(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not limits.pid_max_is_own():
        pytest.skip("a pid namespace has no limit of its own before Linux 6.14")
    monkeypatch.setattr(cgroup, "make", lambda *_: cgroup.Group({}, {}))
    host = Path("/proc/sys/kernel/pid_max").read_text()
    why, said, outcome = bombed(root, pids=50)
    assert "by the pid namespace" in why
    judge(outcome, said)
    assert Path("/proc/sys/kernel/pid_max").read_text() == host


def test_a_run_that_takes_all_memory_is_ended_alone(root: str) -> None:
    if not writable("memory"):
        pytest.skip("no control group with a limit of memory can be made here")
    why, _, outcome = bombed(root, HUNGRY, memory=64 << 20)
    assert "at most 64 MiB of memory, by a control group" in why
    assert outcome.recording is not None
    assert "reached its limit of 64 MiB" in outcome.recording.incomplete[0]
    assert "/etc/passwd" in {each.path for each in outcome.recording.accesses}


def test_a_run_within_its_limits_is_whole(root: str) -> None:
    _, said, outcome = bombed(root, "cat /etc/passwd >/dev/null; sleep 0 & wait; echo done", pids=50, memory=256 << 20)
    assert said == "done\n"
    assert outcome.recording is not None
    assert outcome.recording.incomplete == ()


def test_a_limit_that_cannot_be_had_is_said(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "make", lambda *_: cgroup.Group({}, {}))
    monkeypatch.setattr(limits, "pid_max_is_own", lambda: False)
    monkeypatch.setattr("tracer.runner.rootfs.pid_max_is_own", lambda: False)
    why, said, outcome = bombed(root, "echo done", pids=50, memory=64 << 20)
    assert said == "done\n"
    assert "processes are not limited (no control group can be made here" in why
    assert "memory is not limited (no control group" in why
    assert outcome.recording is not None
    assert outcome.recording.incomplete == ()


def test_an_exercise_that_bombs_is_one_message_and_its_recording_is_kept(root: str, tmp_path: Path) -> None:
    from slimmer.pipeline.outputs import Outputs
    from slimmer.pipeline.progress import Progress
    from slimmer.pipeline.trace import trace
    from slimmer.recipe import Recipe, Run, Sandbox, Source

    recipe = Recipe(
        Source(root), (Run(("/bin/sh", "-c", BOMB), default_exercise=False, seconds=0.1),), sandbox=Sandbox(pids=50)
    )
    with pytest.raises(IncompleteRecording, match="reached its limit of 50 processes") as caught:
        trace(recipe, Outputs(tmp_path / "out"), Progress())
    assert "nothing was published" in caught.value.hint
    assert "/etc/passwd" in (tmp_path / "out-incomplete.json").read_text()
    assert not (tmp_path / "out").exists()


def test_groups_of_killed_sessions_go_and_those_in_use_stay(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not writable("pids"):
        pytest.skip("no control group with a limit of processes can be made here")
    left = cgroup.make(f"{cgroup.PREFIX}left-{os.getpid()}", {"pids": 10}).place["pids"]
    monkeypatch.setattr(cgroup, "STALE", -1.0)
    with Session.start(SessionOptions(root, pids=50)) as session:  # idle, so that nobody is in its group
        with Session.start(SessionOptions(root, pids=50)) as other:
            assert run(other, "true")[0] == 0
        assert not left.exists()
        assert run(session, "true")[0] == 0


def test_groups_of_version_two_lie_beside_the_own_one(tmp_path: Path) -> None:
    """A directory stands in for the file system: the kernel here may have version 1 alone."""
    scope = tmp_path / "app.slice/run-1.scope"
    scope.mkdir(parents=True)
    for place in (tmp_path, scope.parent, scope):
        (place / "cgroup.subtree_control").write_text("memory pids\n" if place != scope else "\n")
    mount = mountinfo.Mount(os.fsencode(tmp_path), b"0:1", b"/", b"cgroup2")
    known = cgroup.hierarchies([mount], "0::/app.slice/run-1.scope\n")
    assert {each.here for places in known.values() for each in places} == {scope}
    beside = scope.parent / "slimmer-session-x"
    beside.mkdir()
    (beside / "cgroup.procs").write_text("")
    made = cgroup.make(beside.name, {"pids": 7, "memory": 8 << 20}, known)
    assert made.place == {"pids": beside, "memory": beside}
    assert (beside / "pids.max").read_text() == "7"
    assert (beside / "memory.max").read_text() == str(8 << 20)
    (beside / "pids.events").write_text("max 3\n")
    (beside / "memory.events").write_text("low 0\noom 4\noom_kill 2\n")
    assert (made.refused("pids"), made.refused("memory")) == (3, 2)
