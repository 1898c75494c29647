"""Recordings that end before their run did: kept beside the output, and not built from unless that is accepted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from slimmer.errors import IncompleteRecording, SlimmerError
from tracer.recording import Recording


def keep(error: IncompleteRecording, output: Path) -> IncompleteRecording:
    """Write beside an output what was recorded; the error that says so."""
    kept = output.with_name(f"{output.name}-incomplete.json")
    kept.write_text(error.recording.dump(), encoding="utf-8")
    said = f"nothing was published; {len(error.recording.accesses)} paths that were seen are in {kept}"
    return IncompleteRecording(error.recording, said)


def accepted(recording: Recording, accept: bool) -> Recording:
    """The recording, with notes of what is missing. Raises SlimmerError when it is incomplete and not accepted."""
    if recording.incomplete and not accept:
        raise SlimmerError(
            f"the recording is incomplete: {'; '.join(recording.incomplete)}",
            "record again; `slim build --accept-incomplete` uses what there is",
        )
    said = [f"the recording is incomplete: {each}" for each in recording.incomplete]
    return replace(recording, notes=tuple(sorted({*recording.notes, *said})))
