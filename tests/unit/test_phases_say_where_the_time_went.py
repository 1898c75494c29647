"""Phases: what took long has a line, what did not has none, and the summary names the longest first."""

from __future__ import annotations

import io

import pytest

from slimmer.cli.phases import Phases
from slimmer.pipeline.progress import bytes_to, paths_to


def test_long_ones_are_said_and_summed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.5, 1.0, 3.0, 10.0, 14.0, 20.0, 22.5])
    monkeypatch.setattr("slimmer.cli.phases.time.monotonic", lambda: next(clock))
    said: list[str] = []
    times = Phases(said.append, live=False)
    for name in ("opening", "packing", "checking", "packing"):
        with times.phase(name):
            pass
    assert said == ["packing: 2.0 s", "checking: 4.0 s", "packing: 2.5 s"]
    assert times.summary() == "packing 4.5 s, checking 4.0 s"


def test_one_that_fails_is_not_said_to_be_done() -> None:
    said: list[str] = []
    times = Phases(said.append, live=False)
    with pytest.raises(ValueError, match="no"), times.phase("packing"):
        raise ValueError("no")
    assert (said, list(times.seconds)) == ([], ["packing"])


def test_a_terminal_has_a_line_that_goes_away(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    with Phases(said.append, live=True).phase("packing"):
        pass
    assert said == []
    assert capsys.readouterr().out == ""


def test_how_far_it_has_come_is_in_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    shown = io.StringIO()
    monkeypatch.setattr("sys.stderr", shown)
    with Phases(lambda text: None, live=True).phase("packing") as tell:
        packed = bytes_to(tell, 33_000_000)
        packed(12_000_000)
        packed(1_000_000)
    with Phases(lambda text: None, live=False).phase("closure") as tell:
        paths_to(tell)(1204)
    assert "packing, 13 of 33 MB" in shown.getvalue()
    assert "1,204" not in shown.getvalue()
