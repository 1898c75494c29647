"""Errors for a person: what, where, what was tried, what to do. The CLI catches the base once."""

from __future__ import annotations

from tracer.errors import TracerError


class SlimmerError(TracerError):
    """The input or the environment is at fault; exit 1."""


class UsageProblem(SlimmerError):
    """The words of the call do not fit; exit 2."""

    exit_code = 2


class CheckFailed(SlimmerError):
    """The slim image does not do what the fat root does, or a limit was violated; exit 3."""

    exit_code = 3
