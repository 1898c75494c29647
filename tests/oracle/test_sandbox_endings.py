"""However a session ends, nothing of it stays: no process, no mount, no directory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.running import NOBODY, as_user, own, readable_directory, run, running, session_directories, small_root
from tests.support import needs_root
from tracer.errors import TracerError
from tracer.kernel.mounts import LIBC
from tracer.runner import session_directory
from tracer.session import Command, Session, SessionOptions

pytestmark = needs_root
ENV = {"PATH": "/usr/bin:/bin"}
SUBREAPER = 36


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    with readable_directory() as place:
        yield small_root(place / "root")


@pytest.fixture(params=["sandbox", "in place"])
def options(request: pytest.FixtureRequest, root: Path) -> SessionOptions:
    if request.param == "sandbox":
        return SessionOptions(root=str(root))
    return SessionOptions(root="/", in_place=True)


@pytest.fixture(params=[False, True], ids=["unrecorded", "recorded"])
def any_options(request: pytest.FixtureRequest, options: SessionOptions) -> SessionOptions:
    return SessionOptions(root=options.root, in_place=options.in_place, record=request.param)


@pytest.fixture
def marker() -> str:
    """A number of seconds to sleep that no other process of this machine sleeps."""
    return f"{random.randrange(10**6, 10**7)}.{os.getpid()}"


@contextlib.contextmanager
def orphans_come_here() -> Iterator[None]:
    LIBC.prctl(SUBREAPER, ctypes.c_ulong(1), 0, 0, 0)
    try:
        yield
    finally:
        LIBC.prctl(SUBREAPER, ctypes.c_ulong(0), 0, 0, 0)


def nothing_is_left(marker: str, directories: set[str], seconds: float = 5) -> str:
    """ "" as soon as it is so, else what is left."""
    deadline = time.monotonic() + seconds
    left: list[str] = []
    while time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        left = [*running(marker), *(session_directories() - directories)]
        left += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "slimmer-session" in line]
        if not left:
            return ""
        time.sleep(0.02)
    return "\n".join(left)


def sleeper(marker: str) -> tuple[str, ...]:
    """A shell that waits for one sleeping child, beside a daemon that forked twice and left its session."""
    return ("sh", "-c", f"(setsid sh -c 'sleep {marker} & exit' &) ; sleep {marker} & wait")


def begin(session: Session, *argv: str) -> int:
    session.spawn(Command(argv, ENV), stdout=1, stderr=2)
    return 0


def until(condition: Callable[[], bool], seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_daemons_that_forked_twice_end_with_the_session(any_options: SessionOptions, marker: str) -> None:
    before = session_directories()
    with Session.start(any_options) as session:
        begin(session, *sleeper(marker))
        assert until(lambda: len(running(f"sleep {marker}")) >= 2)
        session.stop(signal.SIGTERM, 5)
        assert running(f"sleep {marker}") == []
        session.finish()
    assert nothing_is_left(marker, before) == ""


def test_a_session_that_is_only_closed_leaves_nothing(any_options: SessionOptions, marker: str) -> None:
    before = session_directories()
    with pytest.raises(KeyboardInterrupt), Session.start(any_options) as session:
        begin(session, *sleeper(marker))
        raise KeyboardInterrupt
    assert nothing_is_left(marker, before) == ""
    session.close()
    with pytest.raises(TracerError, match="closed"):
        begin(session, "true")


def test_the_signal_comes_first_and_sigkill_after_the_grace(options: SessionOptions, marker: str) -> None:
    with Session.start(options) as session:
        polite = session.spawn(
            Command(("sh", "-c", f"trap 'exit 7' USR1; sleep {marker} & wait"), ENV), stdout=1, stderr=2
        )
        stubborn = session.spawn(
            Command(("sh", "-c", f"trap '' USR1; while :; do sleep 0.{marker.replace('.', '')}; done"), ENV),
            stdout=1,
            stderr=2,
        )
        time.sleep(0.1)
        start = time.monotonic()
        session.stop(signal.SIGUSR1, 0.3)
        assert 0.25 < time.monotonic() - start < 3
        assert polite.poll() == 7
        assert stubborn.poll() == -signal.SIGKILL
        assert polite.wait() == 7


def test_exit_statuses_are_those_of_subprocess(options: SessionOptions) -> None:
    with Session.start(options) as session:
        assert run(session, "sh", "-c", "exit 3")[0] == 3
        assert run(session, "sh", "-c", "kill -SEGV $$")[0] == -signal.SIGSEGV
        process = session.spawn(Command(("sleep", "60"), ENV), stdout=1, stderr=2)
        assert process.poll() is None
        assert process.wait(0.05) is None
        assert process.pid > 1
        assert Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n"
        process.signal(signal.SIGINT)
        assert process.wait(5) == -signal.SIGINT


@pytest.mark.parametrize("recorded", [False, True], ids=["unrecorded", "recorded"])
def test_a_caller_killed_at_any_moment_leaves_nothing(
    options: SessionOptions, marker: str, recorded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most, when it died before it had a keeper, an empty directory that the next run removes."""
    before = session_directories()
    chosen = SessionOptions(root=options.root, in_place=options.in_place, record=recorded)
    delays = [0.0, 0.004, 0.008, 0.012, 0.02, *(random.random() * 0.1 for _ in range(5))]
    with orphans_come_here():
        for delay in delays:
            caller = os.fork()
            if caller == 0:
                with contextlib.suppress(BaseException):
                    session = Session.start(chosen)
                    begin(session, *sleeper(marker))
                    time.sleep(60)
                os._exit(1)
            time.sleep(delay)
            os.kill(caller, signal.SIGKILL)
            os.waitpid(caller, 0)
        assert until(lambda: running(marker) == [])
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()  # keepers and recorders: they end by themselves
        monkeypatch.setattr(session_directory, "_YOUNG", 0)
        session_directory.clean()
        assert nothing_is_left(marker, before, 10) == ""


def test_a_killed_ordinary_user_leaves_nothing(root: Path, marker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own(root, NOBODY)
    try:
        before = session_directories()
        with orphans_come_here():
            for delay in (0.01, 0.03, 0.08):
                caller = os.fork()
                if caller == 0:
                    as_user(NOBODY, lambda: _sleep_inside(root, marker))
                time.sleep(delay)
                os.kill(caller, signal.SIGSTOP)  # or it forks between the look for its child and its own end
                os.waitpid(caller, os.WUNTRACED)
                found = [each for each in os.listdir("/proc") if each.isdigit() and _is_child_of(each, caller)]
                for each in [*found, str(caller)]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(each), signal.SIGKILL)
                os.waitpid(caller, 0)
            assert until(lambda: running(marker) == [])
            with contextlib.suppress(ChildProcessError):
                while True:
                    os.wait()
            monkeypatch.setattr(session_directory, "_YOUNG", 0)
            as_user(NOBODY, session_directory.clean)
            assert nothing_is_left(marker, before, 10) == ""
    finally:
        own(root, 0)


def _sleep_inside(root: Path, marker: str) -> None:
    with Session.start(SessionOptions(root=str(root))) as session:
        begin(session, *sleeper(marker))
        time.sleep(60)


def _is_child_of(pid: str, parent: int) -> bool:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) == parent
    except OSError:
        return False


def test_when_the_recorder_dies_the_tree_dies_with_it(options: SessionOptions, marker: str) -> None:
    before = session_directories()
    with Session.start(options) as session:
        process = session.spawn(Command(sleeper(marker), ENV), stdout=1, stderr=2)
        assert until(lambda: len(running(f"sleep {marker}")) >= 2)
        assert session._service is not None
        os.kill(session._service.pid, signal.SIGKILL)
        assert process.wait(5) is not None
        assert until(lambda: running(marker) == [])
        assert until(lambda: not session.alive())
        with pytest.raises(TracerError, match="killed"):
            begin(session, "true")
        session.stop(signal.SIGTERM, 1)
        found = session.finish().recording  # what was journalled until then, and marked as not all of it
        assert found is not None
        assert any("killed" in each for each in found.incomplete)
    assert nothing_is_left(marker, before) == ""


@pytest.mark.parametrize("victim", ["keeper", "first process"])
def test_when_what_holds_the_tree_is_killed_the_tree_dies(options: SessionOptions, marker: str, victim: str) -> None:
    before = session_directories()
    with Session.start(options) as session:
        process = session.spawn(Command(sleeper(marker), ENV), stdout=1, stderr=2)
        assert until(lambda: len(running(f"sleep {marker}")) >= 2)
        keeper = session._keeper
        children = [int(each) for each in os.listdir("/proc") if each.isdigit() and _is_child_of(each, keeper)]
        os.kill(keeper if victim == "keeper" else children[0], signal.SIGKILL)
        assert until(lambda: running(marker) == []), running(marker)
        assert process.wait(5) is not None
        assert until(lambda: not session.alive())
    assert nothing_is_left(marker, before) == ""


@pytest.mark.parametrize(
    "attack",
    [
        "kill -9 -1; kill -TERM -1; kill -9 $PPID; kill -STOP $PPID; kill -9 1",
        "perl -e 'for (1..9) { fork }' & perl -e 'setpgrp; for (1..7) { fork } sleep MARKER' & wait",
        "exec perl -e 'while (1) { fork and exit; select undef, undef, undef, 0.002 }  # MARKER'",
    ],
    ids=["kills everything", "forks a lot", "always another pid"],
)
def test_a_hostile_tree_takes_neither_caller_nor_recorder_along(root: Path, marker: str, attack: str) -> None:
    """In a sandbox only: kill(-1) of root in the live root is the machine's end."""
    before = session_directories()
    with Session.start(SessionOptions(root=str(root))) as session:
        session.spawn(Command(("sh", "-c", attack.replace("MARKER", marker)), ENV), stdout=1, stderr=2)
        time.sleep(0.3)
        assert session.alive()
        session.stop(signal.SIGTERM, 0.2)
        assert session.finish().recording is not None
    assert nothing_is_left(marker, before) == ""


def test_a_command_in_place_cannot_kill_what_watches_it(marker: str) -> None:
    before = session_directories()
    with Session.start(SessionOptions(root="/", in_place=True)) as session:
        assert session._service is not None
        watchers = (os.getpid(), session._service.pid, session._keeper)
        script = f"for p in {' '.join(map(str, watchers))} $PPID; do kill -9 $p && echo killed $p; done; exit 0"
        status, said = run(session, "sh", "-c", script)
        assert status == 0
        assert "killed" not in said
        assert said.lower().count("not permitted") == 4
        session.stop(signal.SIGTERM, 1)
        session.finish()
    assert nothing_is_left(marker, before) == ""


def test_what_a_dead_session_could_not_remove_the_next_one_removes(tmp_path: Path) -> None:
    place, lock = session_directory.create()
    os.makedirs(f"{place}/work/work")
    Path(place, "upper").mkdir()
    Path(place, "upper", "file").write_text("x")
    os.chmod(f"{place}/work/work", 0)
    assert place not in session_directory.clean()  # it is held
    os.close(lock)
    assert place in session_directory.clean()
    assert not os.path.exists(place)


def test_a_directory_that_is_not_ours_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    young, link, other = (tmp_path / f"{session_directory.PREFIX}{name}" for name in ("young", "link", "other"))
    young.mkdir()
    (tmp_path / "target").mkdir()
    link.symlink_to(tmp_path / "target")
    other.mkdir()
    (other / "lock").touch()
    os.chown(other, NOBODY, NOBODY)
    assert session_directory.clean() == ()
    assert young.exists()
    assert link.exists()
    assert other.exists()
