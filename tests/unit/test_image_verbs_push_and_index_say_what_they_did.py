"""`slim push` and `slim index` from the outside: data on stdout, narration on stderr, the right exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slimmer.cli.main import main
from slimmer.image.config import ImageConfig
from slimmer.image.layout import build_image
from tests.image_trees import of_files

ROOT = of_files({"/bin/app": b"#!/bin/sh\n"})


@pytest.fixture
def outputs(tmp_path: Path) -> list[str]:
    """Two outputs as `slim trace` leaves them, for two platforms."""
    for architecture in ("amd64", "riscv64"):
        directory = tmp_path / architecture / "image"
        build_image(ROOT, ["/bin/app"], ImageConfig(architecture=architecture), directory)
    return [str(tmp_path / "riscv64"), str(tmp_path / "amd64")]


def slim(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(words)
    said = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, said.out, said.err


def test_an_index_is_written_and_its_digest_printed(
    outputs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = slim(capsys, "index", *outputs, "-o", str(tmp_path / "joined"), "--tag", "app:1")
    (entry,) = json.loads((tmp_path / "joined/index.json").read_bytes())["manifests"]
    assert (code, out) == (0, entry["digest"] + "\n")
    assert "written to" in err
    code, out, err = slim(capsys, "index", *reversed(outputs), "-q", "--json", "-o", str(tmp_path / "again"))
    assert json.loads(out) == {"digest": entry["digest"], "platforms": ["linux/amd64", "linux/riscv64"]}
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["index", "{0}"], 2, "nothing to do with the index"),
        (["index", "{0}", "{0}", "-o", "{tmp}/x"], 1, "are both for linux/riscv64"),
        (["index", "{tmp}", "-o", "{tmp}/x"], 1, "holds no image"),
        (["index", "{0}", "--push", "UPPER"], 1, "is no name of an image in a registry"),
        (["push", "{tmp}", "host.example/x"], 1, "holds no image"),
        (["push", "{tmp}/gone", "host.example/x"], 2, "does not exist"),
        (["push", "{0}", "host.example/x@sha256:" + "0" * 64], 1, "not sha256:000"),
        (["push", "{0}", "127.0.0.1:1/x"], 1, "cannot reach the registry 127.0.0.1:1"),
    ],
)
def test_what_is_wrong_is_one_message_and_an_exit_code(
    words: list[str],
    code: int,
    message: str,
    outputs: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("slimmer.registry.transport.Retry.pause", lambda *given: 0.0)
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "none.json"))
    status, out, err = slim(capsys, *[word.format(*outputs, tmp=tmp_path) for word in words])
    assert (status, out) == (code, "")
    assert message in err
    assert "Traceback" not in err
