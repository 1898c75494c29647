"""Real applications, trained once: the slim image then serves in podman and in a plain chroot."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.apps.conftest import HOUSE, Podman, Slim
from tests.support import needs_root, requires, root_of

APPS = HOUSE / "fixtures" / "apps"
PATIENCE = 20.0


@dataclass(frozen=True)
class App:
    """One application: how its root is made, what it is trained with, what must then hold."""

    name: str
    packages: tuple[str, ...]
    run: str
    training: tuple[str, ...]
    verify: Callable[[], None] | None = None  # a server: talks to it
    output: bytes = b""  # a command: what it prints
    port: int = 0
    user: str = ""
    limit_mb: float = 0  # of regular files, at --keep recorded
    setup: str = ""


def get(port: int, path: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def verify_notes() -> None:
    status, headers, body = get(8090, "/api")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body)["hello"] == "world"
    assert b"It works" in get(8090, "/")[2]


def verify_nginx() -> None:
    status, headers, body = get(8081, "/")
    assert (status, headers["Content-Type"], body) == (200, "text/html", b"<h1>Served</h1>\n")
    workers = subprocess.run(["pgrep", "-f", "nginx: worker"], capture_output=True, text=True).stdout.split()
    owners = {os.stat(f"/proc/{pid}").st_uid for pid in workers}
    assert 33 in owners, "no worker runs as www-data"


def redis(*words: str) -> bytes:
    with socket.create_connection(("127.0.0.1", 6380), timeout=5) as stream:
        stream.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words))
        return stream.recv(4096)


def verify_redis() -> None:
    assert redis("SET", "k", "v") == b"+OK\r\n"
    assert redis("GET", "k") == b"$1\r\nv\r\n"
    assert redis("SAVE") == b"+OK\r\n"


STATIC = r"""
cat > /tmp/s.c <<'C'
#include <stdio.h>
int main(void) {
    char text[32] = "";
    FILE *file = fopen("/etc/debian_version", "r");
    if (file && fgets(text, 32, file)) printf("static %s", text);
    return 0;
}
C
gcc -static -o /usr/local/bin/static /tmp/s.c
cat > /tmp/d.c <<'C'
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    void *z = dlopen("libz.so.1", RTLD_NOW);
    if (!z) { puts(dlerror()); return 1; }
    const char *(*version)(void) = (const char *(*)(void)) dlsym(z, "zlibVersion");
    printf("dlopened %.1s\n", version());
    return 0;
}
C
gcc -o /usr/local/bin/opens /tmp/d.c
rm /tmp/s.c /tmp/d.c
"""

CASES = (
    App(
        name="notes",
        packages=("python3",),
        run="python3 /app/server.py 8090",
        training=("--probe", "http://127.0.0.1:8090/api", "--probe", "http://127.0.0.1:8090/"),
        verify=verify_notes,
        port=8090,
        limit_mb=25,
    ),
    App(
        name="nginx",
        packages=("nginx-light",),
        run="/usr/sbin/nginx -c /app/nginx.conf -g 'daemon off;'",
        training=("--probe", "http://127.0.0.1:8081/"),
        verify=verify_nginx,
        port=8081,
        limit_mb=15,
    ),
    App(
        name="redis",
        packages=("redis-server",),
        run="redis-server /app/redis.conf",
        training=("--ready", "6380", "--exec", "redis-cli -p 6380 ping"),
        verify=verify_redis,
        port=6380,
        user="redis",
    ),
    App(
        name="bash",
        packages=("bash",),
        run="/app/words.sh /app/text.txt",
        training=(),
        output=b"word the 3\nword and 2\nword dog 1\n",
    ),
    App(name="static", packages=("gcc", "libc6-dev"), run="static", training=(), output=b"static 12", setup=STATIC),
    App(name="opens", packages=("gcc", "libc6-dev"), run="opens", training=(), output=b"dlopened 1\n", setup=STATIC),
)


def fat_root(app: App) -> Path:
    overlay = APPS / app.name
    return root_of(*app.packages, overlay=overlay if overlay.is_dir() else None, setup=app.setup)


def trace(slim: Slim, app: App, root: Path, out: Path, *more: str, **options: object) -> dict[str, object]:
    user = ("--user", app.user) if app.user else ()
    archive = ("--archive", f"{out}.tar", "--tag", f"localhost/{app.name}:test") if "--no-check" not in more else ()
    done = slim(
        *("trace", "--root", root, "--run", app.run, *app.training, *user, "-o", out, "--json", *archive, *more),
        **options,
    )
    summary: dict[str, object] = json.loads(done.stdout)
    return summary


@contextlib.contextmanager
def serving(process: subprocess.Popen[bytes], port: int) -> Iterator[None]:
    deadline = time.monotonic() + PATIENCE
    try:
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                pytest.fail(f"it does not listen: {process.communicate()[0]!r}")
            time.sleep(0.05)
        yield
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
        process.communicate()


def hold(app: App, start: Callable[[], subprocess.Popen[bytes]]) -> None:
    """What must hold of a started image."""
    process = start()
    if app.verify is None:
        output = process.communicate(timeout=PATIENCE)[0]
        assert (process.returncode, output[: len(app.output)]) == (0, app.output)
        return
    with serving(process, app.port):
        app.verify()


@needs_root
@requires("podman", "runc", "umoci", "skopeo", "mmdebstrap")
@pytest.mark.parametrize("keep", ["recorded", "reachable"])
@pytest.mark.parametrize("app", CASES, ids=lambda app: app.name)
def test_the_image_runs_in_podman_and_in_a_chroot(
    app: App, keep: str, slim: Slim, podman: Podman, tmp_path: Path
) -> None:
    root = fat_root(app)
    out = tmp_path / "out"
    summary = trace(slim, app, root, out, "--keep", keep)
    assert summary["check"] == "passed"
    sizes = summary["slim"], summary["fat"]
    slim_bytes, fat_bytes = (size["bytes"] for size in sizes if isinstance(size, dict))
    if app.limit_mb and keep == "recorded":
        assert slim_bytes < app.limit_mb * 1e6
    assert slim_bytes < 0.3 * fat_bytes

    inspected = subprocess.run(["skopeo", "inspect", f"oci:{out}/image"], capture_output=True, check=True)
    assert json.loads(inspected.stdout)["Os"] == "linux"

    podman("load", "--input", f"{out}.tar")
    name = f"localhost/{app.name}:test"
    hold(app, lambda: podman.popen("run", "--rm", "--network", "host", *Podman.LIMITS, name))
    podman("rmi", "--force", name)

    bundle = tmp_path / "bundle"
    subprocess.run(["umoci", "unpack", "--image", f"{out}/image:{name}", bundle], check=True, capture_output=True)
    user = ("--userspec", app.user) if app.user else ()
    words = shlex.split(app.run)
    hold(
        app,
        lambda: subprocess.Popen(
            ["chroot", *user, f"{bundle}/rootfs", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        ),
    )


SETTINGS: Sequence[tuple[dict[str, str], int]] = (
    ({}, 0o022),
    ({"TZ": "Asia/Tokyo", "PYTHONHASHSEED": "1"}, 0o077),
    ({"LANG": "de_DE.ISO-8859-1", "LC_ALL": "de_DE.ISO-8859-1"}, 0o000),
    ({"PYTHONHASHSEED": "42", "TERM": "dumb", "HOME": "/nonexistent"}, 0o027),
    ({"LC_ALL": "C", "TZ": "America/New_York"}, 0o002),
)


@needs_root
@requires("mmdebstrap")
@pytest.mark.parametrize("app", CASES, ids=lambda app: app.name)
def test_five_recordings_give_one_image_id(app: App, slim: Slim, tmp_path: Path) -> None:
    root = fat_root(app)
    found = set()
    for number, (env, umask) in enumerate(SETTINGS):
        scratch = tmp_path / f"scratch{number}"
        scratch.mkdir()
        summary = trace(
            slim, app, root, tmp_path / f"out{number}", "--no-check", env={"TMPDIR": str(scratch), **env}, umask=umask
        )
        found.add((summary["image_id"], summary["manifest_digest"]))
        assert list(scratch.iterdir()) == []
    assert len(found) == 1
