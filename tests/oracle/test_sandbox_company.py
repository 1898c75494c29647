"""Sessions beside each other, in odd places, and with what the caller has open."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import ENV, NOBODY, as_user, readable_directory, run, session_directories, small_root
from tests.support import needs_root
from tracer.errors import TracerError
from tracer.kernel import mounts, userns
from tracer.session import Command, Session, SessionOptions

pytestmark = needs_root


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    with readable_directory() as place:
        yield small_root(place / "root")


def test_no_descriptor_of_the_caller_is_lost_or_left(root: Path) -> None:
    options = SessionOptions(root=str(root))
    for session_options in (options, SessionOptions(root="/", in_place=True)):
        before = sorted(os.listdir("/proc/self/fd"))
        for _ in range(3):
            with Session.start(session_options) as session:
                assert run(session, "true")[0] == 0
                with pytest.raises(TracerError):
                    session.spawn(Command(("nothing",), ENV), stdout=1, stderr=2)
                session.stop(15, 1)
                session.finish()
        assert sorted(os.listdir("/proc/self/fd")) == before


def test_commands_inherit_their_three_streams_and_no_other_descriptor(root: Path) -> None:
    kept = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(kept, True)
    try:
        for options in (SessionOptions(root=str(root)), SessionOptions(root="/", in_place=True)):
            with Session.start(options) as session:
                assert run(session, "ls", "/proc/self/fd")[1].split() == ["0", "1", "2", "3"]  # 3 is its own
    finally:
        os.close(kept)


def test_a_pipe_ends_when_the_command_does_whatever_sessions_there_are(root: Path) -> None:
    reader, writer = os.pipe()
    with Session.start(SessionOptions(root=str(root), record=True)) as first:
        process = first.spawn(Command(("sh", "-c", "echo said"), ENV), stdout=writer, stderr=writer)
        with Session.start(SessionOptions(root=str(root), record=True)):
            os.close(writer)
            assert process.wait(5) == 0
            with open(reader, "rb") as stream:
                assert stream.read() == b"said\n"  # and not: waiting for the end of the second session


def test_sessions_in_several_threads_do_not_disturb_each_other(root: Path) -> None:
    said: dict[int, str] = {}

    def work(number: int) -> None:
        with Session.start(SessionOptions(root=str(root), record=True)) as session:
            said[number] = run(session, "sh", "-c", f"echo {number} >/tmp/x; cat /tmp/x; hostname")[1]
            session.stop(15, 1)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert said == {number: f"{number}\nslimmer\n" for number in range(4)}


def test_the_live_root_can_be_the_lower_layer_of_a_sandbox() -> None:
    before = session_directories()
    with Session.start(SessionOptions(root="/", record=True)) as session:
        assert run(session, "sh", "-c", "echo x >/etc/slimmer-test && cat /etc/slimmer-test")[1] == "x\n"
        session.stop(15, 1)
        assert session.finish().writes == ("/etc/slimmer-test",)
    assert not os.path.exists("/etc/slimmer-test")
    assert session_directories() == before


def test_a_mount_inside_the_root_is_named_when_it_is_in_the_way(root: Path) -> None:
    def work() -> str:
        userns.unshare(userns.NEWNS)
        mounts.mount("", "/", flags=mounts.REC | mounts.PRIVATE)
        mounts.mount("tmpfs", str(root / "proc"), "tmpfs")
        with Session.start(SessionOptions(root=str(root), record=True)) as session:
            assert run(session, "true")[0] == 0  # root can look behind it

        def user() -> str:
            with pytest.raises(TracerError) as caught:
                Session.start(SessionOptions(root=str(root), record=True))
            return str(caught.value)

        return as_user(NOBODY, user)

    assert f"something is mounted in it, at {root}/proc" in as_user(0, work)


def test_the_standard_streams_open_by_name_for_whoever_runs(root: Path) -> None:
    """nginx logs to /dev/stdout as www-data: the pipe must be its own (runc does the same)."""
    from tracer.session import Identity

    reader, writer = os.pipe()
    with Session.start(SessionOptions(root=str(root), record=True)) as session:
        command = Command(("sh", "-c", "echo out >/dev/stdout; echo err >/dev/stderr"), ENV, "/", Identity(33, 33))
        process = session.spawn(command, stdout=writer, stderr=writer)
        os.close(writer)
        with open(reader, "rb") as stream:
            assert stream.read() == b"out\nerr\n"
        assert process.wait(5) == 0
