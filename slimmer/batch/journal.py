"""The file of results: one line of JSON for each image, written when it ends, so that a batch can be taken up again."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Self

from slimmer.batch.model import FORMAT, Job, Outcome, parse_outcome
from slimmer.errors import SlimmerError
from slimmer.image.layout import layout_in, read_layout

BEGIN = f'{{"format": "{FORMAT}"'.encode()  # of each line


def read(place: Path) -> list[Outcome]:
    """The outcomes in a file. A last line that was cut off in writing is none. Raises SlimmerError."""
    try:
        lines = place.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SlimmerError(f"cannot read {place}: {error.strerror}", "name another file with --results") from error
    found = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            found.append(parse_outcome(line.decode("utf-8", "replace")))
        except ValueError:
            if number == len(lines) and (line.startswith(BEGIN) or BEGIN.startswith(line)):
                break  # no newline after it: that batch was ended here
            raise SlimmerError(
                f"{place}:{number}:1: this is no line of {FORMAT}", "name another file with --results"
            ) from None
    return found


def done_before(jobs: Collection[Job], outcomes: Collection[Outcome]) -> dict[str, Outcome]:
    """By key, what need not be made again: it ended well, and its output, where it has one, is still that image."""
    known = {each.key: each for each in outcomes if each.status.good}
    return {job.key: known[job.key] for job in jobs if job.key in known and _still_there(job, known[job.key])}


def _still_there(job: Job, outcome: Outcome) -> bool:
    if not job.output:
        return True
    try:
        return read_layout(layout_in(Path(job.output))).config.digest == outcome.image_id
    except SlimmerError:
        return False


class Journal:
    """The file being written. Use in `with`. What another batch wrote is replaced, anything else is refused."""

    def __init__(self, place: Path, kept: Collection[Outcome] = ()) -> None:
        """`kept` are lines of before that stay: those of the images that are not made again."""
        self._place = place
        if place.exists():
            read(place)
        part = place.with_name(f".{place.name}.part")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            self._stream = open(part, "w", encoding="utf-8")  # noqa: SIM115
            for each in kept:
                self._write(each)
            part.replace(place)
        except OSError as error:
            raise SlimmerError(f"cannot write {place}: {error.strerror}", "name another file with --results") from error

    def add(self, outcome: Outcome) -> None:
        """A line, which is on the disk when this returns. Raises SlimmerError."""
        try:
            self._write(outcome)
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise SlimmerError(
                f"cannot write {self._place}: {error.strerror}", "`--resume` goes on from here"
            ) from error

    def _write(self, outcome: Outcome) -> None:
        self._stream.write(outcome.dump() + "\n")
        self._stream.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
