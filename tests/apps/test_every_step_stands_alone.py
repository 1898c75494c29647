"""`slim record`, `build`, `check`, `why` and `report` on each other's files, as a newcomer would call them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apps.conftest import Slim
from tests.running import readable_directory, small_root
from tests.support import needs_root, plant, requires

pytestmark = [needs_root, requires("mmdebstrap")]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with readable_directory() as directory:
        root = small_root(directory / "root")
        plant(
            root, {"app/one": "#755 #!/bin/sh\ncat /app/text\ndate +%N\n", "app/text": "hi\n", "app/other": "other\n"}
        )
        yield directory


def test_recordings_of_two_runs_make_the_image_that_does_both(slim: Slim, place: Path, tmp_path: Path) -> None:
    root = place / "root"
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    slim("record", "--root", root, "--run", "/app/one", "-o", first)
    slim("record", "--root", root, "--run", "cat /app/other", "-o", second)
    ids = set()
    for number, order in enumerate(((first, second), (second, first))):
        out = tmp_path / f"out{number}"
        summary = json.loads(slim("build", *order, "--root", root, "--run", "/app/one", "-o", out, "--json").stdout)
        assert summary["check"] == "passed"
        ids.add(summary["image_id"])
    assert len(ids) == 1
    out = tmp_path / "out0"

    verdict = json.loads(slim("check", out, "--json").stdout)
    assert verdict["verdict"] == "passed"
    assert [row["varies"] for row in verdict["comparisons"]] == [False, True], "the time is another in each run"
    assert "  same  cat /app/other  (exit 0)" in slim("check", out, "--exec", "cat /app/other").stdout

    assert "read by /usr/bin/cat [recorded]" in slim("why", out, "/app/text").stdout
    assert "reached through the link /bin" in slim("why", out, "/bin/cat").stdout
    assert "--include '/usr/bin/perl' keeps it" in slim("why", out, "/usr/bin/perl").stdout
    assert "is neither kept nor removed" in slim("why", out, "/nowhere", code=1).stderr
    assert "Risky paths that stay: 1" in slim("report", out).stdout
    report = json.loads(slim("report", out, "--json").stdout)
    assert report["slim"]["bytes"] < report["fat"]["bytes"]


def test_a_build_without_a_command_is_made_and_says_that_it_was_not_checked(
    slim: Slim, place: Path, tmp_path: Path
) -> None:
    recording, out = tmp_path / "recording.json", tmp_path / "out"
    slim("record", "--root", place / "root", "--run", "/app/one", "-o", recording)
    said = slim("build", recording, "--root", place / "root", "-o", out).stderr
    assert "not performed: nothing says how it is run" in said
    said = slim("check", out, code=3).stderr
    assert said.endswith('nothing says how it is run: name the application with --run "app --serve"\n')
    assert "same  /app/one  (exit 0)" in slim("check", out, "--run", "/app/one").stdout


def test_a_check_by_an_exercise_of_ones_own_fails_until_it_is_repaired(slim: Slim, place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    slim("trace", "--root", place / "root", "--run", "/app/one", "-o", out)
    before = (out / "manifest.json").read_text()
    failed = slim("check", out, "--exec", "perl -e 1", "--exec", "/app/one again", code=3)
    assert "command not found in the root: perl" in failed.stdout
    assert "varies  /app/one again  (exit 0)" in failed.stdout, "what is missing hides nothing of what comes after"
    assert "`slim check --repair` adds what was looked for in vain" in failed.stderr
    assert (out / "manifest.json").read_text() == before
    repaired = slim("check", out, "--exec", "perl -e 1", "--repair")
    assert " added  /usr/bin/perl" in repaired.stdout
    assert "same  perl -e 1  (exit 0)" in slim("check", out, "--exec", "perl -e 1").stdout
    assert "[check]" in slim("why", out, "/usr/bin/perl").stdout


def test_a_question_at_which_the_fat_root_fails_hides_no_other_and_proves_nothing(
    slim: Slim, place: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    slim("trace", "--root", place / "root", "--run", "/app/one", "-o", out)
    before = (out / "manifest.json").read_text()
    asked = ("--exec", "cat /nowhere", "--exec", "/app/one again")
    said = slim("check", out, *asked, code=3)
    assert " unfit  cat /nowhere: not compared; in the fat root: exited with 1" in said.stdout
    assert "varies  /app/one again  (exit 0)" in said.stdout
    assert "not proved: the fat root itself fails at 1 of 4 comparisons, and all others are the same" in said.stderr
    failed = slim("check", out, *asked, "--exec", "perl -e 1", "--repair", code=3)
    assert "FAIL  perl -e 1: " in failed.stdout
    assert "does not do what the fat root does; 1 of 5 could not be compared" in failed.stderr
    assert (out / "manifest.json").read_text() == before
    verdict = json.loads(slim("check", out, *asked, "--json", code=3).stdout)
    assert verdict["verdict"] == "incomplete"


def test_a_recording_of_another_root_is_refused(slim: Slim, place: Path, tmp_path: Path) -> None:
    recording = tmp_path / "recording.json"
    slim("record", "--root", place / "root", "--run", "true", "-o", recording)
    other = plant(tmp_path / "other", {"etc/os-release": "ID=other\n", "bin/sh": "x"})
    said = slim("build", recording, "--root", other, "-o", tmp_path / "out", code=1).stderr
    assert said.startswith("slim: the recording was made in another root than ")
    assert not (tmp_path / "out").exists()
