"""What a source image declares beyond its entrypoint: volumes, a health check; and what the report says of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apps.conftest import Slim
from tests.running import readable_directory, small_root
from tests.support import needs_root, plant, requires
from tests.unit.imagemaker import layout

SECOND = 10**9


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    with readable_directory() as place:
        top = plant(small_root(place / "root"), {"/srv/store/seed": "x", "/opt/health": "#755 #!/bin/sh\ntrue\n"})
        (top / "srv" / "store").chmod(0o750)
        packed = subprocess.run(
            ["tar", "--create", "--numeric-owner", "--sort=name", "-C", top, "."], capture_output=True, check=True
        )
        config: dict[str, Any] = {
            "Cmd": ["bash", "-c", "echo hello"],
            "Volumes": {"/srv/store": {}, "/srv/new": {}},
            "Healthcheck": {"Test": ["CMD-SHELL", "/opt/health && head -c1 /dev/zero"], "Interval": SECOND},
            "Env": ["PATH=/usr/bin:/bin"],
        }
        yield layout(place / "oci", packed.stdout, config={"config": config})


def warnings(out: Path) -> dict[str, list[tuple[str, int]]]:
    found: dict[str, list[tuple[str, int]]] = {}
    for row in json.loads((out / "report.json").read_text())["unsure"]:
        found.setdefault(row["kind"], []).append((row["path"], row["weight"]))
    return found


@needs_root
@requires("mmdebstrap", "tar")
def test_volumes_stay_and_a_health_check_that_cannot_work_is_a_heavy_warning(
    image: str, slim: Slim, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    slim("trace", "--image", image, "--keep", "recorded", "-o", out)
    kept = {row["path"]: row for row in json.loads((out / "manifest.json").read_text())["paths"]}
    assert kept["/srv/store"]["mode"] in (0o750, "0750")
    assert "/srv/store/seed" not in kept
    found = warnings(out)
    assert {path for path, _ in found["healthcheck"]} == {"/opt/health", "/usr/bin/head", "/usr/bin/sh"}
    report = json.loads((out / "report.json").read_text())
    weights = [row["weight"] for row in report["unsure"]]
    assert weights == sorted(weights, reverse=True)
    assert [(row["level"], row.get("estimate", False)) for row in report["levels"]] == [
        ("recorded", False),
        ("packages", True),
    ]
    sizes = [row["bytes"] for row in report["levels"]]
    assert sizes == sorted(sizes)
    assert "HEALTHCHECK runs /opt/health" in slim("report", out).stdout


@needs_root
@requires("mmdebstrap", "tar")
def test_a_health_check_that_the_run_shows_is_no_warning(image: str, slim: Slim, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = "bash -c 'echo up; exec sleep 60'"
    check = "sh -c '/opt/health && head -c1 /dev/zero'"
    slim("trace", "--image", image, "--run", run, "--ready", "/up/", "--exec", check, "-o", out)
    assert "healthcheck" not in warnings(out)


@needs_root
@requires("mmdebstrap", "tar")
def test_listed_directories_mounts_and_other_errors_are_warnings(image: str, slim: Slim, tmp_path: Path) -> None:
    out, host = tmp_path / "out", tmp_path / "host"
    plant(host, {"/key": "k"})
    run = "bash -c 'ls /etc /mnt >/dev/null; cat /mnt/key; test -e /opt/health || echo no health >&2'"
    slim(
        *("trace", "--image", image, "--run", run, "--mount", f"{host}:/mnt", "--keep", "recorded"),
        *("--exclude", "/opt/health", "-o", out),
    )
    found = warnings(out)
    assert ("/etc", 15) in found["listed-directory"]  # a directory of everybody: slight
    assert found["mounted"] == [("/mnt", 55)]
    assert found["error-output"] == [("bash", 60)]
    assert ("/opt/health", 70) in found["excluded"]
