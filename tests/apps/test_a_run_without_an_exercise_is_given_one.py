"""No flag and no hang: what an image listens on is asked, and its output's recipe asks exactly that again."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tests.apps.conftest import Slim
from tests.support import requires
from tests.unit.imagemaker import Item, layout, tar

BUSYBOX = Path("/bin/busybox")
pytestmark = [requires("busybox"), pytest.mark.skipif(not BUSYBOX.exists(), reason="not installed: busybox-static")]

SERVE = """#!/bin/sh
httpd -p 127.0.0.1:8080 -h /www
exec nc -ll -p 8025 -e /bin/greet
"""


def image(place: Path) -> str:
    names = ("sh", "httpd", "nc", "cat")
    data = tar(
        Item("bin/busybox", content=BUSYBOX.read_bytes(), mode=0o755),
        *[Item(f"bin/{name}", "symlink", target="busybox") for name in names],
        Item("bin/serve", content=SERVE.encode(), mode=0o755),
        Item("bin/greet", content=b"#!/bin/sh\nexec cat /etc/greeting\n", mode=0o755),
        Item("etc/greeting", content=b"220 mail.example ESMTP\r\n"),
        Item("www/index.html", content=b'<html><a href="/deep/page.html">on</a></html>'),
        Item("www/deep/page.html", content=b"<html>a page</html>"),
    )
    given = {"Cmd": ["/bin/serve"], "Env": ["PATH=/bin"], "ExposedPorts": {"8080/tcp": {}, "8025/tcp": {}}}
    return layout(place, data, config={"config": given})


def test_all_ports_are_asked_and_the_recipe_says_what(slim: Slim, tmp_path: Path) -> None:
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    out, tree = tmp_path / "out", tmp_path / "tree"
    done = slim("trace", "--image", image(tmp_path / "image"), "-o", out, "--rootfs", tree, env=env)
    assert "probes of your own prove more" in done.stderr
    probes = tomllib.loads((out / "recipe.toml").read_text())["run"][0]["probes"]
    asked = [each["url"].removeprefix("http://127.0.0.1:8080") for each in probes]
    assert asked[0] == "tcp://127.0.0.1:8025"
    assert {"/", "/deep/page.html"} <= set(asked)
    assert (tree / "www/deep/page.html").exists()
    assert (tree / "etc/greeting").exists()
    verdict = json.loads((out / "check.json").read_text())
    assert verdict["verdict"] == "passed"
    assert len(verdict["comparisons"]) >= len(probes)
    # The check that stands alone asks the same, and nothing is found out anew.
    again = slim("check", out, env=env)
    assert "exercised by default" not in again.stderr
