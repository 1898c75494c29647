"""`slim init` looks, runs shortly, and writes what `slim trace` then does."""

from __future__ import annotations

import json
from pathlib import Path

from slimmer import recipe
from tests.apps.conftest import Slim
from tests.support import needs_root, requires, root_of

APPS = Path(__file__).resolve().parents[2] / "fixtures" / "apps"


@needs_root
@requires("mmdebstrap")
def test_a_server_is_found_tried_and_traced(slim: Slim, tmp_path: Path) -> None:
    root = root_of("python3", overlay=APPS / "notes")
    target = tmp_path / "slim.toml"
    said = slim("init", "--root", root, "--try", "-o", target).stderr
    assert "found server.py in /app" in said
    written = recipe.load(target)
    (run,) = written.runs
    assert (run.command, run.workdir) == (("python3", "server.py"), "/app")
    assert [(each.url, each.status) for each in run.probes] == [("http://127.0.0.1:8000/", 200)]
    slim("trace", "--recipe", target, "-o", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "check.json").read_text())["verdict"] == "passed"

    before = target.read_text()
    assert "--force" in slim("init", "--root", root, "-o", target, code=2).stderr
    assert target.read_text() == before
    slim("init", "--root", root, "--run", "python3 /app/server.py 8123", "--force", "-o", target)
    assert [each.url for each in recipe.load(target).runs[0].probes] == ["http://127.0.0.1:8123/"]


@needs_root
@requires("mmdebstrap")
def test_a_program_that_ends_and_a_port_that_is_not_http(slim: Slim, tmp_path: Path) -> None:
    root = root_of("python3", overlay=APPS / "notes")
    target = tmp_path / "slim.toml"
    slim("init", "--root", root, "--run", "python3 -c 'exit(4)'", "-o", target)
    (run,) = recipe.load(target).runs
    assert (run.expect_exit, run.probes, run.ready) == (4, (), "")
    silent = "import socket, time; s = socket.create_server(('127.0.0.1', 7777)); time.sleep(60)"
    slim("init", "--root", root, "--run", f'python3 -c "{silent}"', "--force", "-o", target)
    assert recipe.load(target).runs[0].ready == "7777"
    assert "nothing in" in slim("init", "--root", tmp_path, "-o", tmp_path / "x.toml", code=2).stderr
