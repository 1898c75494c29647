"""What an exercise gives: one outcome a run, made to be compared between fat and slim."""

from __future__ import annotations

from dataclasses import dataclass

from slimmer.recipe import Probe
from tracer.errors import TracerError

BODY_LIMIT = 1 << 20  # bytes of an answer that are kept for the comparison


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one probe. `problem` is empty when it was what the probe expects."""

    probe: str  # "GET http://127.0.0.1:8080/x"
    status: int | None
    body: bytes
    content_type: str = ""
    problem: str = ""
    location: str = ""  # where a redirect leads


@dataclass(frozen=True, slots=True)
class Found:
    """What a run that names no exercise was asked, and how it answered."""

    probes: tuple[Probe, ...] = ()
    answers: tuple[Answer, ...] = ()  # one for each
    words: str = ""  # what was done, for a person
    ready_after: float = 0.0
    seconds: float | None = None  # how long the same again goes on where nothing could be asked


@dataclass(frozen=True, slots=True)
class Executed:
    """One command inside the sandbox, or of the host in its network."""

    command: str
    exit_code: int | None  # None: it did not end in time
    output: bytes  # stdout, at most BODY_LIMIT
    errors: bytes
    problem: str = ""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """One run of the recipe."""

    command: tuple[str, ...]
    exit_code: int | None  # as subprocess gives it: negative is a signal
    stopped: bool  # slimmer ended it
    output: bytes  # first BODY_LIMIT of stdout
    errors: bytes  # the last of stderr
    answers: tuple[Answer, ...] = ()
    executed: tuple[Executed, ...] = ()
    interrupted: bool = False  # by Ctrl-C
    failure: TracerError | None = None  # it did not start, never became ready, or died under the exercise
    ready_after: float = 0.0  # seconds from its start until it was ready
    listens: tuple[tuple[str, int], ...] = ()  # programs, by path in their root, and the privileged port they hold
    found: Found | None = None  # by the default exercise

    @property
    def problems(self) -> tuple[str, ...]:
        """What was not as the recipe expects."""
        found = [f"{each.probe}: {each.problem}" for each in self.answers if each.problem]
        return (*found, *(f"{each.command}: {each.problem}" for each in self.executed if each.problem))
