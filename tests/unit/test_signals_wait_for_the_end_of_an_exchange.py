"""A signal between a request and its answer comes afterwards, whichever thread the kernel gives it to."""

from __future__ import annotations

import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slimmer.pipeline.workspace import beside
from tracer.kernel import signals
from tracer.runner import session_directory
from tracer.runner.protocol import Answer, Closed, Drain, Wire


class Ended(BaseException):
    pass


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    def end(number: int, frame: object) -> None:
        raise Ended(number)

    before = signal.signal(signal.SIGTERM, end)
    yield
    assert signal.getsignal(signal.SIGTERM) is end, "the handler is back"
    signal.signal(signal.SIGTERM, before)


def served(line: Wire) -> None:
    """Answers; before the first answer SIGTERM comes to the thread that answers."""
    for number in range(2):
        line.request()
        if number == 0:
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
            time.sleep(0.1)
        line.reply(Answer(number=number))


def test_an_exchange_is_whole_before_the_signal_is_heard() -> None:
    mine, theirs = socket.socketpair()
    with mine, theirs:
        wire, line = Wire(mine), Wire(theirs)
        thread = threading.Thread(target=served, args=(line,))
        thread.start()
        with pytest.raises(Ended):
            wire.ask(Drain(0))
        assert wire.ask(Drain(0))[0].number == 1, "the answer to the first one has been read"
        thread.join()


def test_an_exchange_that_fails_leaves_the_handlers() -> None:
    mine, theirs = socket.socketpair()
    theirs.close()
    with mine, pytest.raises(Closed):
        Wire(mine).ask(Drain(0))


def test_what_came_is_heard_once_and_what_is_ignored_stays_so() -> None:
    heard = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.held_back():
            for _ in range(3):
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGHUP)
            assert heard == []
        assert heard == [signal.SIGINT]
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGHUP, ignored)


def test_a_thread_holds_nothing_back() -> None:
    given: list[int] = []

    def work() -> None:
        with signals.held_back():
            given.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert given == [1]


def test_a_directory_that_was_just_made_is_known_to_who_removes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal comes when it has been made, and before anybody has its name."""
    make: Callable[..., str] = tempfile.mkdtemp

    def late(**where: Any) -> str:
        made = make(**where)
        signal.raise_signal(signal.SIGTERM)
        return made

    monkeypatch.setattr(tempfile, "mkdtemp", late)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(Ended), session_directory.directory():
        pytest.fail("it was let in")
    with pytest.raises(Ended), beside(tmp_path / "out", "it", "-o"):
        pytest.fail("it was let in")
    assert list(tmp_path.iterdir()) == []
