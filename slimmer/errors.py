"""Errors for a person: what, where, what was tried, what to do. The CLI catches the base once."""

from __future__ import annotations

from tracer.errors import TracerError
from tracer.recording import Recording


class SlimmerError(TracerError):
    """The input or the environment is at fault; exit 1."""


class UsageProblem(SlimmerError):
    """The words of the call do not fit; exit 2."""

    exit_code = 2


class CheckFailed(SlimmerError):
    """The slim image does not do what the fat root does, or a limit was violated; exit 3."""

    exit_code = 3


class Interrupted(KeyboardInterrupt):
    """A signal ended the program: exit 128 and its number."""

    def __init__(self, number: int, hint: str = "nothing was published") -> None:
        super().__init__(number)
        self.number = number
        self.hint = hint


class IncompleteRecording(SlimmerError):
    """The recorder failed or was killed under a run. `recording` is what it had seen until then."""

    def __init__(self, recording: Recording, hint: str = "") -> None:
        super().__init__("; ".join(recording.incomplete), hint)
        self.recording = recording
