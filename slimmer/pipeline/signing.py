"""Signatures as a step of a build: made before anything is published, sent after the image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slimmer.registry.reference import Reference
from slimmer.report.output import Output

# The cryptography and the HTTP client take a while to load, so whoever does not sign does without.
if TYPE_CHECKING:
    from slimmer.image.push import PushOptions
    from slimmer.trust.keys import PrivateKey


@dataclass(frozen=True, slots=True)
class Signing:
    """By which key, and as which builder, statements about an output are signed."""

    key: PrivateKey
    builder: str

    def sign(self, directory: Path, epoch: int | None) -> None:
        """Every statement about the output in a directory; `epoch` is SOURCE_DATE_EPOCH. Raises SlimmerError."""
        from slimmer.trust.attach import sign
        from slimmer.trust.statements import Builder

        sign(Output(directory), self.key, Builder(self.builder, epoch))

    def push(self, directory: Path, reference: str, options: PushOptions) -> str:
        """Send the statements after the image; a line for a person. Raises SlimmerError."""
        from slimmer.trust.attach import push_signed

        sent = push_signed(Output(directory), Reference.parse(reference), options)
        return f"{len(sent)} signed statements and the record refer to it"
