"""Real services for `slim harden`: how each is trained, and how it is asked in podman under its policy."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slimmer.harden.seccomp import Level
from tests import daemons
from tests.support import root_of

PG = "/usr/lib/postgresql/15/bin"


@dataclass(frozen=True)
class Service:
    """`ask`: a command in the container, or a URL of its network."""

    name: str
    packages: tuple[str, ...]
    run: str
    training: tuple[str, ...]
    ask: str
    answer: str
    user: str = ""
    setup: str = ""
    workdir: str = "/"


NGINX = """
cat > /etc/nginx/nginx.conf <<'C'
pid /tmp/nginx.pid;
error_log stderr;
events { worker_connections 64; }
http { access_log off; server { listen 8081; root /srv; } }
C
echo served > /srv/index.html
chown www-data /var/lib/nginx
"""
PYTHON = """
cat > /srv/app.py <<'C'
import http.server, json, sqlite3, threading
base = sqlite3.connect("/var/lib/app/base", check_same_thread=False)
base.execute("create table if not exists t (n integer)")
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        base.execute("insert into t values (1)"); base.commit()
        body = json.dumps({"rows": base.execute("select count(*) > 0 from t").fetchone()[0]}).encode()
        self.send_response(200); self.send_header("content-length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer(("0.0.0.0", 8090), H).serve_forever()
C
mkdir -p /var/lib/app && chown 1000:1000 /var/lib/app
"""
NODE = """
cat > /srv/app.js <<'C'
const http = require("http"), zlib = require("zlib"), fs = require("fs");
http.createServer((q, s) => {
  fs.writeFileSync("/tmp/last", q.url);
  s.end(zlib.gunzipSync(zlib.gzipSync("node " + fs.readFileSync("/tmp/last"))));
}).listen(8070, "0.0.0.0");
C
"""
SERVICES = (
    Service(
        *("nginx", ("nginx-light",), "/usr/sbin/nginx -e stderr -g 'daemon off;'"),
        ("--probe", "http://127.0.0.1:8081/"),
        *("http://127.0.0.1:8081/", "served", "www-data", NGINX),
    ),
    Service(
        *("python", ("python3",), "python3 /srv/app.py", ("--probe", "http://127.0.0.1:8090/")),
        *("http://127.0.0.1:8090/", '{"rows": 1}', "1000:1000", PYTHON),
    ),
    Service(
        *("redis", ("redis-server",), "redis-server --save '' --dir /var/lib/redis --port 6380"),
        ("--ready", "6380", "--exec", "redis-cli -p 6380 set key value", "--exec", "redis-cli -p 6380 save"),
        *("redis-cli -p 6380 set key value", "OK", "redis"),
    ),
    Service(
        *("node", ("nodejs",), "node /srv/app.js", ("--probe", "http://127.0.0.1:8070/a")),
        *("http://127.0.0.1:8070/a", "node /a", "1000:1000", NODE),
    ),
    Service(
        "postgres",
        ("postgresql-15",),
        f"{PG}/postgres -D /var/lib/postgresql/15/main -c config_file=/etc/postgresql/15/main/postgresql.conf "
        "-c unix_socket_directories=/tmp -c listen_addresses=",
        (
            *("--ready", "/ready to accept connections/"),
            *("--exec", "psql -h /tmp -U postgres -At -c 'create table if not exists t (n int)'"),
        ),
        "psql -h /tmp -U postgres -At -c 'create table if not exists t (n int)'",
        "CREATE TABLE",
        "postgres",
        "echo 'local all all trust' > /etc/postgresql/15/main/pg_hba.conf",
        "/var/lib/postgresql",
    ),
)


def slim(*words: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "slimmer", *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def traced(service: Service, place: Path) -> Path:
    """An output for the service."""
    root = root_of(*service.packages, setup=service.setup)
    out = place / service.name
    user = ("--user", service.user) if service.user else ()
    slim(
        *("trace", "--root", root, "--run", service.run, *service.training, *user, "--workdir", service.workdir),
        *("-o", out, "--no-challenge", "-q"),
    )
    return out


def harden(out: Path, level: Level) -> dict[str, list[str]]:
    """What `slim harden --json` says; the files are in `out`."""
    value: dict[str, list[str]] = json.loads(slim("harden", out, "--level", level.value, "--trust", "-q", "--json"))
    return value


def answers_in_podman(service: Service, out: Path) -> None:
    """The image starts in podman with the policy's flags and answers as in its training."""
    flags = (out / "harden/flags.txt").read_text().replace("harden/seccomp", f"{out}/harden/seccomp").split("\n")
    with daemons.podman() as podman:
        image = run(*podman, "pull", "-q", f"oci:{out / 'image'}").strip()
        options = [each for each in daemons.PODMAN_RUN if each != "--rm"]
        name = run(*podman, "run", "-d", *options, *filter(None, flags), image).strip()
        try:
            _ask(service, podman, name)
        finally:
            subprocess.run([*podman, "rm", "-f", "-t", "1", "-v", name], capture_output=True)


def _ask(service: Service, podman: Sequence[str], name: str) -> None:
    if service.ask.startswith("http"):
        process = run(*podman, "inspect", "-f", "{{.State.Pid}}", name).strip()
        ask = ["nsenter", "-t", process, "-n", "curl", "-s", "-m", "10", service.ask]
    else:
        ask = [*podman, "exec", name, *shlex.split(service.ask)]
    deadline = time.monotonic() + 60
    while True:
        done = subprocess.run(ask, capture_output=True, text=True)
        if done.stdout.strip() == service.answer:
            return
        state = subprocess.run([*podman, "inspect", "-f", "{{.State.Running}}", name], capture_output=True, text=True)
        if state.stdout.strip() != "true" or time.monotonic() > deadline:
            logs = subprocess.run([*podman, "logs", name], capture_output=True, text=True)
            raise AssertionError(
                f"{service.name}: {done.stdout!r} {done.stderr[-300:]!r}; {logs.stdout[-500:]}{logs.stderr[-800:]}"
            )
        time.sleep(0.2)


def run(*words: str | Path) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout
