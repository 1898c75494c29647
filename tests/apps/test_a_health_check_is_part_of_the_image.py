"""HEALTHCHECK: what it runs stays, is asked in both roots, and goes with --no-healthcheck."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slimmer.image.layout import read_layout
from tests.apps.conftest import Slim
from tests.support import requires
from tests.unit.imagemaker import Item, layout, tar

BUSYBOX = Path("/bin/busybox")
pytestmark = [requires("busybox"), pytest.mark.skipif(not BUSYBOX.exists(), reason="not installed: busybox-static")]
PROBE = "http://127.0.0.1:8080/index.html"


def image(place: Path, test: list[str], **config: Any) -> str:
    names = ("sh", "ash", "httpd", "wget", "cat", "env", "sleep")
    links = [Item(f"bin/{name}", "symlink", target="busybox") for name in names]
    data = tar(
        Item("bin/busybox", content=BUSYBOX.read_bytes(), mode=0o755),
        *links,
        Item("www/index.html", content=b"hi"),
        Item("hc.sh", content=b"#!/bin/sh\nexec /usr/bin/ask " + PROBE.encode() + b"\n", mode=0o755),
        Item("usr/bin/ask", content=b"#!/bin/ash\nexec wget -qO- $1\n", mode=0o755),
    )
    command = ["httpd", "-f", "-p", "127.0.0.1:8080", "-h", "/www"]
    given = {"Cmd": command, "Env": ["PATH=/bin"], "Healthcheck": {"Test": test, "Interval": 5 * 10**9}, **config}
    return layout(place, data, config={"config": given})


def config_of(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read_layout(out / "image").config_bytes)["config"]
    return found


@pytest.mark.parametrize(
    ("test", "shell"),
    [(["CMD", "/hc.sh"], None), (["CMD-SHELL", "/hc.sh || exit 1"], ["/bin/ash", "-c"])],
)
def test_its_program_its_shell_and_what_they_start_stay_and_are_asked(
    test: list[str], shell: list[str] | None, slim: Slim, tmp_path: Path
) -> None:
    source = image(tmp_path / "image", test, **({"Shell": shell} if shell else {}))
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    out, tree = tmp_path / "out", tmp_path / "tree"
    slim("trace", "--image", source, "--probe", PROBE, "-o", out, "--rootfs", tree, env=env)
    assert (tree / "hc.sh").exists()
    assert (tree / "usr/bin/ask").exists()
    assert (tree / "bin/ash").is_symlink()
    rows = json.loads((out / "check.json").read_text())["comparisons"]
    assert any(row["what"].startswith("HEALTHCHECK") and not row["problem"] for row in rows)
    config = config_of(out)
    assert config["Healthcheck"]["Test"] == test
    assert config.get("Shell") == shell


def test_without_it_neither_the_program_nor_the_words_stay(slim: Slim, tmp_path: Path) -> None:
    source = image(tmp_path / "image", ["CMD", "/hc.sh"])
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    out, tree = tmp_path / "out", tmp_path / "tree"
    slim("trace", "--image", source, "--probe", PROBE, "-o", out, "--rootfs", tree, "--no-healthcheck", env=env)
    assert not (tree / "usr/bin/ask").exists()
    assert "Healthcheck" not in config_of(out)
    # The output's own recipe says so again.
    assert "healthcheck = false" in (out / "recipe.toml").read_text()


def test_one_that_says_no_in_the_fat_root_too_is_no_failure(slim: Slim, tmp_path: Path) -> None:
    source = image(tmp_path / "image", ["CMD-SHELL", "exit 3"])
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    slim("trace", "--image", source, "--probe", PROBE, "-o", tmp_path / "out", env=env)
    rows = json.loads((tmp_path / "out" / "check.json").read_text())["comparisons"]
    assert any(row["what"].startswith("HEALTHCHECK") and "3" in row["fat"] for row in rows)
