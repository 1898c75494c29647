"""Services: they run beside the application in its network, are ready before it, and begin anew for every run."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import pytest

from slimmer.exercise.observer import Observer
from slimmer.exercise.perform import perform
from slimmer.exercise.source import open_for
from slimmer.recipe import Recipe, parse
from tests.apps.conftest import Slim
from tests.running import NOBODY, as_user, own, readable_directory
from tests.support import needs_root, plant, requires, root_of

BUSYBOX = Path("/bin/busybox")
small = pytest.mark.skipif(not BUSYBOX.exists(), reason="not installed: busybox-static")

# Keeps what is posted: 201 for something new, 409 for what it has already.
STORE = """#755 #!/bin/sh
read -r item
if [ "$REQUEST_METHOD" = GET ]; then printf 'Status: 200 OK\\r\\n\\r\\n'; cat /data/* 2>/dev/null; exit 0; fi
if [ -e "/data/$item" ]; then printf 'Status: 409 Conflict\\r\\n\\r\\n'; exit 0; fi
echo "$item" > "/data/$item"; printf 'Status: 201 Created\\r\\n\\r\\n'
"""
FRONT = """#755 #!/bin/sh
url=http://$STORE:8081/cgi-bin/store
if [ "$REQUEST_METHOD" = GET ]; then printf 'Status: 200 OK\\r\\n\\r\\n'; wget -qO- $url; exit; fi
read -r item
status='409 Conflict'
if wget -qO- --post-data="$item
" $url; then status='201 Created'; fi
printf 'Status: %s\\r\\n\\r\\n' "$status"
"""
APPS = ("sh", "httpd", "wget", "cat", "sleep", "printf")

RECIPE = """
[source]
root = "{front}"

[[service]]
name = "late"
root = "{store}"
command = ["sh", "-c", "sleep 0.5; exec httpd -f -p 8081 -h /www"]
aliases = ["kept"]
ready = "8081"

[[run]]
command = ["httpd", "-f", "-p", "127.0.0.1:8080", "-h", "/www"]
env = {{ STORE = "kept" }}

[[run.probes]]
url = "http://127.0.0.1:8080/cgi-bin/front"
method = "POST"
body = "one\\n"
status = 201

[[run.probes]]
url = "http://127.0.0.1:8080/cgi-bin/front"
pattern = "one"

[[run.probes]]
url = "http://127.0.0.1:8080/cgi-bin/front"
method = "POST"
body = "one\\n"
status = 409
"""


def root(place: Path, script: str, name: str) -> Path:
    links = {f"/bin/{each}": "-> busybox" for each in APPS}
    plant(place, {**links, f"/www/cgi-bin/{name}": script, "/data": None, "/tmp": None})
    shutil.copy2(BUSYBOX, place / "bin/busybox")
    return place


@small
@requires("busybox")
def test_state_is_kept_within_a_run_and_begins_anew_for_the_check(slim: Slim, tmp_path: Path) -> None:
    front, store = root(tmp_path / "front", FRONT, "front"), root(tmp_path / "store", STORE, "store")
    recipe, out = tmp_path / "slim.toml", tmp_path / "out"
    recipe.write_text(RECIPE.format(front=front, store=store))
    slim("trace", "--recipe", recipe, "-o", out)
    verdict = json.loads((out / "check.json").read_text())
    assert verdict["verdict"] == "passed"
    assert [row["slim"] for row in verdict["comparisons"] if "front" in row["what"]] == [
        "status 201",
        "status 200",
        "status 409",
    ]
    kept = {row["path"] for row in json.loads((out / "manifest.json").read_text())["paths"]}
    assert "/www/cgi-bin/front" in kept
    assert "/www/cgi-bin/store" not in kept
    # What the output's recipe says is enough for a check on its own.
    slim("check", out)


@small
@needs_root
@requires("busybox")
def test_an_ordinary_user_has_services_too() -> None:
    with readable_directory() as place:
        front, store = root(place / "front", FRONT, "front"), root(place / "store", STORE, "store")
        own(place, NOBODY)
        text = tomllib.loads(RECIPE.format(front=front, store=store))
        recipe = parse(text, "slim.toml")

        def statuses(recipe: Recipe = recipe) -> list[int | None]:
            opened = open_for(recipe)
            performed = [perform(opened.place, recipe, Observer(), record=False) for _ in range(2)]
            return [answer.status for each in performed for answer in each.outcomes[0].answers]

        assert as_user(NOBODY, statuses) == [201, 200, 409] * 2


@small
@requires("busybox")
def test_one_that_is_missing_or_does_not_start_is_named(slim: Slim, tmp_path: Path) -> None:
    front, store = root(tmp_path / "front", FRONT, "front"), root(tmp_path / "store", STORE, "store")
    ask = ("--run", "wget -qO- http://kept:8081/cgi-bin/store", "--root", front, "-o", tmp_path / "out")
    said = slim("trace", *ask, code=1).stderr
    assert "--service NAME=IMAGE" in said
    said = slim("trace", *ask, "--service", f"kept={store},command=httpd -f -p 99999", code=1).stderr
    assert "the service kept: " in said
    said = slim("trace", *ask, "--service", f"kept={tmp_path / 'nowhere'}", code=1).stderr
    assert "the service kept: " in said
    assert not (tmp_path / "out").exists()
    slim("trace", *ask, "--service", f"kept={store},command=httpd -f -p 8081 -h /www,ready=8081")


DATABASE = '''
import http.server, socket, struct
def packet(kind, body): return kind + struct.pack("!i", len(body) + 4) + body
def query(text):
    """PostgreSQL's simple query: the text of what comes back."""
    with socket.create_connection(("db", 5432), 10) as s:
        s.sendall(packet(b"", struct.pack("!i", 196608) + b"user\\0postgres\\0\\0"))
        got = b""
        while not got.endswith(b"Z\\0\\0\\0\\5I"): got += s.recv(4096)
        s.sendall(packet(b"Q", text.encode() + b"\\0"))
        got = b""
        while b"Z\\0\\0\\0\\5I" not in got: got += s.recv(4096)
        return got
def redis(*words):
    with socket.create_connection(("cache", 6379), 10) as s:
        s.sendall(b"*%d\\r\\n" % len(words) + b"".join(b"$%d\\r\\n%s\\r\\n" % (len(w), w) for w in words))
        return s.recv(4096)
class H(http.server.BaseHTTPRequestHandler):
    def log_message(self, *a): pass
    def say(self, code, body):
        self.send_response(code); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.say(200, b"rows" if b"note-7" in query("select text from notes") else b"none")
    def do_POST(self):
        got = query("insert into notes values ('note-7')")
        self.say(201 if b"INSERT" in got and redis(b"SADD", b"seen", b"7") == b":1\\r\\n" else 409, got[:40])
query("create table notes (text varchar primary key)")
http.server.HTTPServer(("127.0.0.1", 8000), H).serve_forever()
'''
INITDB = "initdb -D /tmp/db -A trust >/dev/null && exec postgres -D /tmp/db -k /tmp -c listen_addresses='*'"


@needs_root
@requires("mmdebstrap")
def test_an_application_with_postgresql_and_redis(slim: Slim, tmp_path: Path) -> None:
    recipe = tmp_path / "slim.toml"
    server, cache = root_of("postgresql"), root_of("redis-server")
    bin_directory = next(server.glob("usr/lib/postgresql/*/bin"))
    script = tmp_path / "app.py"
    script.write_text(DATABASE)
    recipe.write_text(f"""
[source]
root = "{root_of("python3")}"
[sandbox]
mounts = ["{script}:/app.py"]
[[service]]
name = "db"
root = "{server}"
user = "postgres"
command = ["sh", "-c", {json.dumps(INITDB)}]
env = {{ PATH = "/bin:/usr/bin:/{bin_directory.relative_to(server)}" }}
health = ["sh", "-c", "pg_isready -h 127.0.0.1"]
[[service]]
name = "cache"
root = "{cache}"
command = "redis-server --save '' --bind 0.0.0.0"
[[run]]
command = "python3 /app.py"
[[run.probes]]
url = "http://127.0.0.1:8000/"
pattern = "none"
[[run.probes]]
url = "http://127.0.0.1:8000/"
method = "POST"
status = 201
[[run.probes]]
url = "http://127.0.0.1:8000/"
pattern = "rows"
""")
    slim("trace", "--recipe", recipe, "-o", tmp_path / "out")
    verdict = json.loads((tmp_path / "out" / "check.json").read_text())
    assert verdict["verdict"] == "passed"
