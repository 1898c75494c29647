"""A run that knows what an earlier one found out of the same content gives the same output, byte for byte."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from fixtures.roots import RootUnavailable, debian_root

from .conftest import Slim

APP = Path(__file__).parents[2] / "fixtures" / "apps" / "notes"


def test_outputs_are_the_same_from_a_cold_a_warm_a_damaged_and_no_store(slim: Slim, tmp_path: Path) -> None:
    try:
        root = debian_root("python3", overlay=APP)
    except RootUnavailable as error:
        pytest.skip(str(error))
    slim("record", "--root", root, "--run", "python3 -c 'import json, http.server'", "-o", tmp_path / "r.json")
    facts = tmp_path / "cache" / "slimmer" / "facts" / "facts.sqlite"

    def built(name: str, *options: str) -> dict[str, bytes]:
        words = ["--root", root, "-o", tmp_path / name, "--no-check", *options]
        slim("build", tmp_path / "r.json", *words, env={"XDG_CACHE_HOME": str(tmp_path / "cache")})
        names = ("image/index.json", "manifest.json", "removed.json", "report.json")
        blobs = sorted(path.name for path in (tmp_path / name / "image/blobs/sha256").iterdir())
        return {each: (tmp_path / name / each).read_bytes() for each in names} | {"blobs": repr(blobs).encode()}

    without = built("without", "--no-cache")
    assert not facts.exists()
    assert built("cold") == without
    size = facts.stat().st_size
    assert size > 1_000_000
    assert built("warm") == without
    damaged = bytearray(facts.read_bytes())
    for at in range(10_000, len(damaged), 50_000):
        damaged[at] ^= 0x20
    facts.write_bytes(damaged)
    assert built("damaged") == without


CHANGES = (b"# changed\n" * 100, b"\nimport wave\n", b"\nimport wave  # and more\n")


def test_outputs_after_a_changed_file_are_those_of_a_run_that_knows_nothing(slim: Slim, tmp_path: Path) -> None:
    try:
        fat = debian_root("python3", overlay=APP)
    except RootUnavailable as error:
        pytest.skip(str(error))
    root = tmp_path / "root"
    subprocess.run(["cp", "-al", fat, root], check=True)
    server = root / "app" / "server.py"
    text = server.read_bytes()
    slim("record", "--root", root, "--run", "python3 -c 'import json, http.server'", "-o", tmp_path / "r.json")

    def built(name: str, *options: str) -> dict[str, bytes]:
        words = ["--root", root, "-o", tmp_path / name / "out", "--no-check", "--include", "/app", *options]
        (tmp_path / name).mkdir(exist_ok=True)
        slim("build", tmp_path / "r.json", *words, env={"XDG_CACHE_HOME": str(tmp_path / "cache")})
        out = tmp_path / name / "out"
        return {str(each.relative_to(out)): each.read_bytes() for each in out.rglob("*") if each.is_file()}

    before = built("warm")
    for change in CHANGES:
        server.unlink()  # its other name is the fixture's
        server.write_bytes(text + change)
        time.sleep(2)  # a root that was changed just now is not remembered
        found = built("warm")
        assert found != before
        assert found == built("cold", "--no-cache")
        before = found
