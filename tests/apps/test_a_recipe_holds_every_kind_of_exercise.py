"""One slim.toml with several runs: pages, crawling, a document's examples, sockets, commands inside and outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slimmer.errors import UsageProblem
from slimmer.exercise.observer import Observer
from slimmer.exercise.perform import BESIDE, in_turn, perform
from slimmer.exercise.place import Place, Start
from slimmer.exercise.probe import NoAnswer, confined, connect_unix
from slimmer.recipe import Recipe, Run, Sandbox, probe
from slimmer.root.directory import DirectoryRoot
from tests.apps.conftest import HOUSE, Slim
from tests.support import needs_root, plant, requires, root_of
from tracer.session import Network

APPS = Path(__file__).resolve().parents[2] / "fixtures" / "apps"

UPPER = """
import os, socketserver
class Upper(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.readline().upper())
os.makedirs('/run/upper', exist_ok=True)
socketserver.ThreadingUnixStreamServer('/run/upper/socket', Upper).serve_forever()
"""

RECIPE = """
[source]
root = {root}

[[run]]
command = "python3 /app/server.py 8090"
crawl = ["http://127.0.0.1:8090/"]
openapi = [{document}]
exec = ["python3 -c 'import this'"]
client = [{client}]
env = {{ LANG = "C.UTF-8" }}

[[run.probes]]
url = "http://127.0.0.1:8090/api"
status = 200
json = {{ "/hello" = "world", "/uid" = 0 }}

[[run.probes]]
url = "http://127.0.0.1:8090/none"
status = 404
pattern = "not.here"

[[run.probes]]
url = "tcp://127.0.0.1:8090"
body = 'GET / HTTP/1.0\\r\\n\\r\\n'
pattern = "200 OK.*It works"

[[run]]
command = ["python3", "-c", {upper}]

[[run.probes]]
url = "unix:///var/run/upper/socket"
body = 'loud\\n'
pattern = "LOUD"

[[run]]
command = "python3 -c 'import json, colorsys; print(json.dumps([1]))'"
"""


def text(value: object) -> str:
    return json.dumps(str(value))


@needs_root
@requires("mmdebstrap", "curl")
def test_every_kind_is_asked_of_fat_and_slim(slim: Slim, tmp_path: Path) -> None:
    root = root_of("python3", overlay=APPS / "notes")
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps({"paths": {"/time": {"get": {}}, "/notes": {"get": {}, "post": {}}}}))
    recipe = tmp_path / "slim.toml"
    recipe.write_text(
        RECIPE.format(
            root=text(root),
            document=text(document),
            client=text("curl -sSf http://127.0.0.1:8090/digest"),
            upper=text(UPPER),
        )
    )
    out = tmp_path / "out"
    slim("trace", "--recipe", recipe, "-o", out)
    check = json.loads((out / "check.json").read_text())
    assert check["verdict"] == "passed"
    asked = [row["what"] for row in check["comparisons"]]
    base = "GET http://127.0.0.1:8090"
    assert {f"{base}/api", f"{base}/none", f"{base}/", f"{base}/time", f"{base}/notes"} <= set(asked)
    assert {"tcp://127.0.0.1:8090", "unix:///var/run/upper/socket", "python3 -c 'import this'"} <= set(asked)
    assert "curl -sSf http://127.0.0.1:8090/digest" in asked
    recording = json.loads((out / "recording.json").read_text())
    touched = {access["path"] for access in recording["accesses"]}
    for name in ("sqlite3/__init__", "this", "colorsys", "zoneinfo/__init__"):
        assert any(name in path for path in touched), name
    assert len([command for command in recording["commands"] if "json.dumps" in " ".join(command)]) == 1

    again = slim("check", out, "--json").stdout  # the recipe that was written does all of it again
    assert [row["what"] for row in json.loads(again)["comparisons"]] == asked


@needs_root
@requires("mmdebstrap")
def test_runs_go_side_by_side_and_each_has_a_network_of_its_own() -> None:
    """As many servers as may run at once listen on one port, and wait for each other by a clock that they share."""
    root = root_of("python3", overlay=APPS / "notes")
    server = ("python3", "/app/server.py", "8090")
    runs = tuple(
        Run(server, probes=(probe("http://127.0.0.1:8090/api"),), seconds=0.1, env={"N": str(number)})
        for number in range(BESIDE)
    )
    alive = most = 0

    def stage(name: str) -> None:
        nonlocal alive, most
        alive += {"starting": 1, "stopping": -1}.get(name, 0)
        most = max(most, alive)

    place = Place(str(root), DirectoryRoot(str(root)), Start())
    performed = perform(place, Recipe(runs=runs), Observer(stage=stage))
    assert most == BESIDE
    assert [outcome.answers[0].status for outcome in performed.outcomes] == [200] * BESIDE
    assert performed.recording is not None
    assert performed.recording.commands == (server,)


BACKGROUND = """
import os, socket, sys, time
listening = sys.argv[1] == "server" and socket.create_server(("127.0.0.1", 8091))
time.sleep(0.2)
if not os.fork():
    time.sleep(2)
    print("to its end", flush=True)
"""


@needs_root
@requires("mmdebstrap")
@pytest.mark.parametrize(("kind", "said"), [("server", b"to its end\n"), ("agent", b"")])
def test_a_server_in_the_background_is_waited_for_and_an_agent_only_a_while(
    kind: str, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slimmer.exercise.default.LEFT_BEHIND", 0.3)
    root = root_of("python3", overlay=APPS / "notes")
    place = Place(str(root), DirectoryRoot(str(root)), Start())
    run = Run(("python3", "-c", BACKGROUND, kind))
    outcome = perform(place, Recipe(runs=(run,)), Observer()).outcomes[0]
    assert (outcome.exit_code, outcome.stopped, outcome.output) == (0, False, said)


@needs_root
@requires("mmdebstrap")
def test_ctrl_c_ends_all_runs_and_a_second_one_aborts(tmp_path: Path) -> None:
    root = root_of("python3", overlay=APPS / "notes")
    target = tmp_path / "slim.toml"
    sleeps = "".join(f"[[run]]\ncommand = 'sleep 6{number}'\nseconds = 90.0\n" for number in range(2))
    target.write_text(f"[source]\nroot = {text(root)}\n{sleeps}")
    for times, code in ((1, 0), (2, 130)):
        process = subprocess.Popen(
            [sys.executable, "-m", "slimmer.cli.main", "record", "--recipe", target, "-o", tmp_path / f"{times}.json"],
            env={**os.environ, "PYTHONPATH": str(HOUSE)},
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        running = 0
        while running < 2:
            line = process.stderr.readline()
            assert line, "it ended before it ran"
            running += b"running" in line
        time.sleep(0.5)
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            time.sleep(0.02)
        said = process.communicate(timeout=30)[1]
        assert process.returncode == code, said
        assert (tmp_path / f"{times}.json").exists() == (times == 1)


def test_what_is_shared_puts_runs_one_after_another(tmp_path: Path) -> None:
    place = Place(str(tmp_path), DirectoryRoot(str(tmp_path)), Start())
    assert in_turn(place, Recipe()) == ""
    assert "network" in in_turn(place, Recipe(sandbox=Sandbox(network=Network.HOST)))
    assert "mount" in in_turn(place, Recipe(sandbox=Sandbox(mounts=(f"{tmp_path}:/data:rw",))))
    assert in_turn(place, Recipe(sandbox=Sandbox(mounts=(f"{tmp_path}:/data",)))) == ""


def test_a_sockets_path_is_followed_inside_the_root(tmp_path: Path) -> None:
    plant(tmp_path, {"/run/app": None, "/var/run": "-> /run", "/a": "-> /b", "/b": "-> a", "/up": "-> ../../run/app"})
    top = str(tmp_path)
    assert confined(top, "/var/run/app/socket") == f"{top}/run/app/socket"
    assert confined(top, "/up/../../../run/./x") == f"{top}/run/x"
    for path in ("/a", "/run/app/none", "/"):
        with pytest.raises(NoAnswer):
            connect_unix(top, path, 1.0)


def test_a_unix_probe_without_a_path_is_a_mistake() -> None:
    from slimmer.exercise.probe import send

    with pytest.raises(UsageProblem, match="absolute path"):
        send(probe("unix://run/app.sock"), lambda family, kind: pytest.fail("no socket is needed"), top="/")
