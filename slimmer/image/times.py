"""Modification times of what is packed: kept, clamped, or all set."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from slimmer.errors import SlimmerError

# 9999-12-31T23:59:59Z, the last second that RFC 3339 can write.
LATEST = 253402300799


class MtimeMode(enum.StrEnum):
    KEEP = "keep"
    CLAMP = "clamp"
    SET = "set"


@dataclass(frozen=True, slots=True)
class MtimePolicy:
    """What becomes of a time, in whole seconds since 1970. `epoch` is the limit of a clamp, or the time set."""

    mode: MtimeMode = MtimeMode.KEEP
    epoch: int = 0

    @classmethod
    def keep(cls) -> MtimePolicy:
        return cls(MtimeMode.KEEP)

    @classmethod
    def clamp(cls, epoch: int) -> MtimePolicy:
        """Later times become `epoch`, as https://reproducible-builds.org/specs/source-date-epoch/ asks."""
        return cls(MtimeMode.CLAMP, epoch)

    @classmethod
    def set(cls, epoch: int = 0) -> MtimePolicy:
        return cls(MtimeMode.SET, epoch)

    def of(self, seconds: int) -> int:
        """The time that is packed instead of this one."""
        if self.mode is MtimeMode.SET:
            return self.epoch
        if self.mode is MtimeMode.CLAMP:
            return min(seconds, self.epoch)
        return seconds

    def of_ns(self, nanoseconds: int) -> int:
        """The same for nanoseconds; the fraction is dropped towards the past, as layers hold whole seconds."""
        return self.of(nanoseconds // 1_000_000_000)


def source_date_epoch(environ: Mapping[str, str]) -> int | None:
    """SOURCE_DATE_EPOCH, or None when it is not set. Raises SlimmerError when it is no time."""
    text = environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 12) or int(text) > LATEST:
        raise SlimmerError(
            f"SOURCE_DATE_EPOCH is {text!r}, which is no number of seconds since 1970",
            "set it to the time of the last change of the source, or unset it",
        )
    return int(text)
