"""Check and repair on a small root: whatever is taken away, the image ends up doing what the fat root does."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import slimmer.pipeline.trace as pipeline
from slimmer.errors import CheckFailed
from slimmer.pipeline.outputs import Outputs
from slimmer.pipeline.plan import Plan, make_plan
from slimmer.pipeline.progress import Progress
from slimmer.pipeline.trace import Result, build, record, trace
from slimmer.recipe import Keep, Miss, Reach, Recipe, Run, Source
from slimmer.root.model import FileType, Root
from tests.apps.conftest import Slim
from tests.running import readable_directory, small_root
from tests.support import needs_root, plant, requires

JOB = """#755 #!/bin/bash
. /srv/job/settings
for name in /srv/job/parts/*; do cat "$name"; done | wc -l
cat "$table" | head -n 1
perl -e 'print join(",", sort map { $_ * 2 } 1 .. 3), "\\n"'
date -u -d @0 +%F
"""


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    with readable_directory() as place:
        top = small_root(place / "root")
        plant(
            top,
            {
                "/srv/job/run.sh": JOB,
                "/srv/job/settings": "table=/srv/tables/one\n",
                "/srv/job/parts/a": "1\n",
                "/srv/job/parts/b": "2\n",
                "/srv/tables/one": "first\n",
                "/srv/list/a": "a",
                "/srv/list/b": "b",
                "/srv/list/sub/c": "c",
            },
        )
        yield top


def recipe(root: Path, *command: str, keep: Keep = Keep.RECORDED, **reach: Any) -> Recipe:
    return Recipe(Source(str(root)), (Run(command, workdir="/"),), reach=Reach(keep=keep, **reach))


def reasons(result: Result) -> dict[str, set[str]]:
    manifest = json.loads((result.directory / "manifest.json").read_text())
    return {row["path"]: {each["text"] for each in row["reasons"]} for row in manifest["paths"]}


def brought(root: Root, plan: Plan, gone: set[str], repairs: Sequence[Miss]) -> set[str]:
    """What repairs bring: the paths, the links on the way to them, and what all that is there needs in turn."""
    found = set(plan.paths) - gone if repairs else set()
    for miss in repairs:
        for follow in (True, False):
            resolved = root.resolve(miss.path, follow=follow)
            found |= {*resolved.links, resolved.path}
    before = -1
    while len(found) != before:
        before = len(found)
        found |= {path for path, reasons in plan.reasons.items() if any(each.needed_by in found for each in reasons)}
    return found


@needs_root
@requires("mmdebstrap")
@pytest.mark.parametrize("seed", range(3))
def test_repair_converges_when_half_of_the_closure_was_taken_away(
    seed: int, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: list[set[str]] = []

    def half(fat: Root, *arguments: Any, **options: Any) -> Plan:
        plan = make_plan(fat, *arguments, **options)
        entries = [entry for entry in map(fat.entry, plan.paths) if entry is not None]
        whole = [entry.path for entry in entries if entry.type is not FileType.DIRECTORY]
        gone = set(random.Random(seed).sample(whole, len(whole) // 2)) if not rounds else rounds[0]
        rounds.append(gone)
        gone = gone - brought(fat, plan, gone, options["repairs"])
        kept = tuple(path for path in plan.paths if path not in gone)
        return dataclasses.replace(plan, paths=kept, reasons={path: plan.reasons[path] for path in kept})

    monkeypatch.setattr(pipeline, "make_plan", half)
    result = trace(recipe(root, "/srv/job/run.sh"), Outputs(tmp_path / "out", rounds=4), Progress())
    assert result.verdict.passed
    assert 1 < len(rounds) <= 4
    assert result.verdict.repaired
    written = json.loads((tmp_path / "out" / "check.json").read_text())
    assert all(row["why"] for row in written["repaired"])


@needs_root
@requires("mmdebstrap")
def test_names_that_were_listed_come_back_when_nothing_else_explains_the_difference(root: Path, tmp_path: Path) -> None:
    result = trace(recipe(root, "ls", "/srv/list"), Outputs(tmp_path / "out"), Progress())
    assert result.verdict.passed
    why = reasons(result)
    assert "its directory was listed by /usr/bin/ls" in why["/srv/list/a"]
    assert "/srv/list/sub" in why
    assert "/srv/list/sub/c" not in why


@needs_root
@requires("mmdebstrap")
def test_without_repair_a_failing_check_publishes_nothing(root: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match="its content differs"):
        trace(recipe(root, "ls", "/srv/list"), Outputs(tmp_path / "out", repair=False), Progress())
    assert list(tmp_path.iterdir()) == []


@needs_root
@requires("mmdebstrap")
def test_what_is_excluded_stays_out_whatever_a_repair_wants(root: Path, tmp_path: Path) -> None:
    wanted = recipe(root, "/srv/job/run.sh", exclude=("/srv/tables",))
    with pytest.raises(CheckFailed, match="/srv/tables/one"):
        trace(wanted, Outputs(tmp_path / "out"), Progress())


@needs_root
@requires("mmdebstrap")
def test_a_lookup_in_vain_that_changes_nothing_is_said_to_be_harmless(root: Path, tmp_path: Path) -> None:
    command = ("bash", "-c", "cat /srv/list/a; test -e /srv/list/b; echo done")
    wanted = recipe(root, *command, exclude=("/srv/list/b",))
    result = trace(wanted, Outputs(tmp_path / "out"), Progress())
    assert result.verdict.passed
    (miss,) = [each for each in result.verdict.misses if each.path == "/srv/list/b"]
    assert miss.who == "/usr/bin/bash"
    rows = json.loads((tmp_path / "out" / "check.json").read_text())["misses"]
    assert next(row for row in rows if row["path"] == "/srv/list/b")["followed"].startswith("harmless")


@needs_root
@requires("mmdebstrap")
def test_a_recording_of_another_run_is_completed_from_the_fat_root(root: Path, tmp_path: Path) -> None:
    """The check's own exercise is run in the fat root, so what that touches is known when misses are not enough."""
    recording = record(recipe(root, "bash", "-c", "exit 0"), Progress()).recording
    result = build([recording], recipe(root, "/srv/job/run.sh"), Outputs(tmp_path / "out"), Progress())
    assert result.verdict.passed
    assert "/srv/tables/one" in reasons(result)


@needs_root
@requires("mmdebstrap")
def test_check_repairs_an_output_with_an_exercise_that_it_was_not_trained_on(
    slim: Slim, root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run = "bash -c 'echo up; cat; exec sleep 60'"
    slim("trace", "--root", root, "--run", run, "--ready", "/up/", "--for", "0.2", "--keep", "recorded", "-o", out)
    slim("check", out, "--exec", "cat /srv/tables/one", code=3)
    other = tmp_path / "other.toml"
    other.write_text("[[run]]\ncommand = 'bash -c \"cat /srv/tables/one\"'\n")
    said = slim("check", out, "--recipe", other, code=3).stdout
    assert "vain  /srv/tables/one  (/usr/bin/cat)" in said
    slim("check", out, "--exec", "cat /srv/tables/one", "--repair")
    slim("check", out, "--exec", "cat /srv/tables/one")
    slim("check", out, "--recipe", other)
