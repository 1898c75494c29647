"""The one base of every error that is meant for a person."""

from __future__ import annotations


class TracerError(Exception):
    """Something that the user's input or environment is at fault for.

    `message` says what and where; `hint` what was tried or what to do next.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message
