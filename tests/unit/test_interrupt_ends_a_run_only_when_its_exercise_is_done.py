"""Ctrl-C: what ends a run, and what ends everything."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any, cast

import pytest

from slimmer.cli.options import check_mode
from slimmer.errors import UsageProblem
from slimmer.exercise.drive import drive
from slimmer.exercise.model import RunOutcome
from slimmer.exercise.observer import ContinueOn, Interrupt, Observer
from slimmer.pipeline.outputs import CheckMode
from slimmer.recipe import Probe, Run
from tracer.errors import TracerError
from tracer.session import Command, Session


@pytest.fixture
def interrupt() -> Iterator[Interrupt]:
    with Interrupt().watching() as found:
        yield found


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_outside_a_run_it_aborts_at_once(interrupt: Interrupt) -> None:
    with pytest.raises(KeyboardInterrupt):
        press()
    assert not interrupt.asked


def test_while_probes_are_to_come_it_aborts_at_once(interrupt: Interrupt) -> None:
    run, other = object(), object()
    interrupt.begin(run)
    interrupt.begin(other)
    interrupt.release(run)
    with pytest.raises(KeyboardInterrupt):
        press()
    interrupt.end(other)
    press()
    assert interrupt.asked


def test_a_run_whose_exercise_is_done_it_ends_and_the_second_aborts(interrupt: Interrupt) -> None:
    run = object()
    interrupt.begin(run)
    interrupt.release(run)
    press()
    assert interrupt.asked
    with pytest.raises(KeyboardInterrupt):
        press()


class Unstartable:
    """A session in which somebody presses Ctrl-C while a command starts, and which then cannot start it."""

    def spawn(self, command: Command, stdout: int, stderr: int) -> None:
        press()
        raise TracerError("cannot be executed")


def test_while_a_run_starts_it_ends_what_has_no_exercise_and_aborts_what_has_one(interrupt: Interrupt) -> None:
    def start(**more: Any) -> RunOutcome:
        session = cast(Session, Unstartable())
        observer = Observer(interrupt=interrupt)
        return drive(session, Run(command=("true",), **more), Command(("true",), {}), observer, shared=False)

    with pytest.raises(KeyboardInterrupt):
        start(probes=(Probe("http://127.0.0.1/"),))
    with pytest.raises(KeyboardInterrupt):
        start(ready="80")
    outcome = start()
    assert outcome.interrupted
    assert outcome.failure is not None


def test_after_the_run_it_aborts_again(interrupt: Interrupt) -> None:
    with interrupt.endable():
        pass
    with pytest.raises(KeyboardInterrupt):
        press()


@pytest.mark.parametrize(
    ("options", "environ", "mode"),
    [
        ({}, {}, CheckMode.AUTO),
        ({}, {"CI": "true"}, CheckMode.REQUIRED),
        ({}, {"CI": "false"}, CheckMode.AUTO),
        ({"check": "auto"}, {"CI": "1"}, CheckMode.AUTO),
        ({"check": "required"}, {}, CheckMode.REQUIRED),
        ({"no_check": True}, {"CI": "1"}, CheckMode.OFF),
        ({"no_check": True, "check": "off"}, {}, CheckMode.OFF),
    ],
)
def test_a_proof_is_required_where_nobody_watches(
    options: dict[str, object], environ: dict[str, str], mode: CheckMode
) -> None:
    assert check_mode(options, environ) is mode


def test_contradicting_wishes_are_refused() -> None:
    with pytest.raises(UsageProblem, match="contradict"):
        check_mode({"no_check": True, "check": "required"}, {})


def test_a_signal_ends_what_goes_on_also_when_it_came_early() -> None:
    with Interrupt(ContinueOn.SIGNAL).watching() as interrupt:
        assert str(os.getpid()) in interrupt.awaited
        assert not interrupt.ended()
        os.kill(os.getpid(), signal.SIGUSR1)
        assert not interrupt.asked  # nothing goes on yet
        assert interrupt.ended()
        interrupt.asked = False  # the next run is not ended by the same signal
        assert not interrupt.ended()
