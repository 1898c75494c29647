"""The file of results, what need not be made again, and how many images are made at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from slimmer import __version__
from slimmer.batch import capacity
from slimmer.batch.journal import Journal, done_before, read
from slimmer.batch.local import run_here
from slimmer.batch.model import Job, Outcome, Status, parse_job, parse_outcome
from slimmer.cli.main import main
from slimmer.errors import SlimmerError
from slimmer.image.config import ImageConfig
from slimmer.image.layout import build_image
from slimmer.report import read as report_files
from tests.image_trees import of_files

JOB = Job("shop", "[source]\n", push="docker://h.io/shop:1")
GOOD = Outcome("shop", JOB.key, Status.PUSHED, image_id="sha256:" + 64 * "a", seconds=1.5)


def test_what_travels_comes_back_as_it_was() -> None:
    job = replace(JOB, recipe='[source]\nroot = "/\udcff"\n')
    assert parse_job(job.dump()) == job
    assert parse_outcome(GOOD.dump()) == GOOD
    with pytest.raises(ValueError):
        parse_outcome('{"format": "slimmer.gate/1"}')


def test_each_line_is_valid_by_its_schema() -> None:
    import json

    place = Path(report_files.__file__).with_name("schemas") / "batch.schema.json"
    schema = json.loads(place.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    for status in Status:
        jsonschema.validate(json.loads(replace(GOOD, status=status).dump()), schema)
    assert set(schema["properties"]) == set(json.loads(GOOD.dump()))


def test_a_key_is_of_all_that_decides_and_of_nothing_else() -> None:
    assert replace(JOB, cache="/elsewhere").key == JOB.key
    changes = ({"recipe": "x"}, {"push": "y"}, {"policy": "z"}, {"version": "2"}, {"check": "off"}, {"questions": 3})
    assert len({JOB.key, *(replace(JOB, **change).key for change in changes)}) == len(changes) + 1


def test_a_batch_goes_on_where_its_file_was_cut_off(tmp_path: Path) -> None:
    place = tmp_path / "results.jsonl"
    other = replace(JOB, name="other")
    with Journal(place) as journal:
        journal.add(GOOD)
        journal.add(replace(GOOD, name="other", key=other.key, status=Status.FAILED))
    whole = place.read_bytes()
    for cut in range(whole.index(b"\n") + 1, len(whole)):
        place.write_bytes(whole[:cut])
        assert done_before([JOB, other], read(place)) == {JOB.key: GOOD}
    with Journal(place, [GOOD]) as journal:
        journal.add(replace(GOOD, name="other", key=other.key))
    assert [each.name for each in read(place)] == ["shop", "other"]
    assert done_before([replace(JOB, push="docker://h.io/shop:2")], read(place)) == {}


def test_an_output_that_is_not_that_image_any_more_is_made_again(tmp_path: Path) -> None:
    image = build_image(of_files({"/app": b"x"}), ["/app"], ImageConfig(architecture="amd64"), tmp_path / "out/image")
    job = Job("app", "", output=str(tmp_path / "out"))
    outcome = Outcome("app", job.key, Status.BUILT, image_id=image.image_id)
    assert done_before([job], [outcome]) == {job.key: outcome}
    assert done_before([job], [replace(outcome, image_id="sha256:" + 64 * "b")]) == {}
    assert done_before([replace(job, output=str(tmp_path / "gone"))], [outcome]) == {}


@pytest.mark.parametrize("text", ["notes\n", '{"format": "slimmer.gate/1"}\n', "notes", '{"name": "x"}'])
def test_a_file_that_is_no_batchs_is_left_alone(tmp_path: Path, text: str) -> None:
    place = tmp_path / "results.jsonl"
    place.write_text(text)
    with pytest.raises(SlimmerError, match=r"results\.jsonl:1:1: this is no line of"):
        Journal(place)
    assert place.read_text() == text


def test_cores_and_memory_are_those_that_may_be_used(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  8000000 kB\nMemAvailable:  4000000 kB\n")
    nowhere = tmp_path / "nowhere"
    assert capacity.memory(nowhere, meminfo) == 4_096_000_000
    assert capacity.jobs_at_once(nowhere, meminfo) == min(7, capacity.cores(nowhere))
    (tmp_path / "memory.max").write_text(f"{600 << 20}\n")
    (tmp_path / "memory.current").write_text(f"{40 << 20}\n")
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert capacity.memory(tmp_path, meminfo) == 560 << 20
    assert capacity.cores(tmp_path) == 1
    assert capacity.jobs_at_once(tmp_path, meminfo) == 1
    (tmp_path / "memory.max").write_text("max\n")
    assert capacity.memory(tmp_path, meminfo) == 4_096_000_000


def test_an_image_that_cannot_be_made_is_an_outcome_and_the_others_go_on(tmp_path: Path) -> None:
    """Real processes; no root is there, so each ends with a message before anything is recorded."""
    gone = f'[source]\nroot = "{tmp_path}/gone"\n'
    jobs = [
        Job("one", gone, output=str(tmp_path / "out/one"), directory=str(tmp_path), version=__version__),
        Job("two", gone, output=str(tmp_path / "out/two"), directory=str(tmp_path), version="0.0.9"),
        Job("three", "= no TOML", output=str(tmp_path / "out/three"), directory=str(tmp_path), version=__version__),
    ]
    found = {each.name: each for each in run_here(jobs, 2, room=lambda: 0)}
    assert {each.status for each in found.values()} == {Status.FAILED}
    assert f"{tmp_path}/gone" in found["one"].message
    assert f"this worker has slimmer {__version__}, and the batch was started by 0.0.9" in found["two"].message
    assert "ended without an outcome" in found["three"].message
    assert "TOMLDecodeError" in found["three"].message
    assert found["three"].attempts == 1, "it would do so again"


def test_the_verb_ends_with_the_code_of_what_went_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    monkeypatch.chdir(tmp_path)
    rows = [{"name": name, "recipe": {}, "source": {"root": "gone"}} for name in ("a", "b", "c")]
    (tmp_path / "images.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(SystemExit) as ended:
        main(["batch", "images.jsonl", "--fail-fast", "--jobs", "1", "--json"])
    assert ended.value.code == 1
    said = capsys.readouterr()
    line, summary = map(json.loads, said.out.splitlines())
    assert (line["status"], summary["failed"], summary["not_made"]) == ("failed", 1, 2)
    assert "--fail-fast: the others are ended" in said.err
    assert [each.name for each in read(tmp_path / "slim-batch.jsonl")] == [line["name"]]
