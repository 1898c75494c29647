"""--publish: a port of the sandbox's network is reached from outside, in the run and in the check."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slimmer.exercise.listening import listeners
from tests.apps.conftest import Slim
from tests.running import NOBODY, as_user, own, readable_directory
from tests.support import needs_root, requires, root_of
from tracer.errors import TracerError
from tracer.session import Command, PortForward, Session, SessionOptions

APP = """
import http.server
class H(http.server.BaseHTTPRequestHandler):
    def log_message(self, *a): pass
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body[::-1])
http.server.ThreadingHTTPServer(("127.0.0.1", 80), H).serve_forever()
"""
# A test-suite as somebody has it: it knows an address, and nothing of sandboxes.
SUITE = """
import os, sys, urllib.request
port, log, code = sys.argv[1:]
body = os.urandom(3_000_000)
with urllib.request.urlopen(f"http://127.0.0.1:{port}/", data=body, timeout=30) as answer:
    assert answer.read() == body[::-1]
with open(log, "a") as stream:
    print(os.readlink("/proc/self/ns/net"), file=stream)
print("the suite is done")
sys.exit(int(code))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "suite.py").write_text(SUITE)
    return tmp_path


def words(files: Path, port: int) -> list[str]:
    mount = f"{files / 'app.py'}:/srv/app.py"
    where = ["--root", str(root_of("python3")), "--mount", mount, "-o", str(files / "out"), "--publish", f"{port}:80"]
    return [*where, "--run", "python3 /srv/app.py", "--ready", "80"]


@requires("mmdebstrap")
def test_a_suite_outside_exercises_the_fat_root_and_the_slim_image(slim: Slim, files: Path) -> None:
    port, log = free_port(), files / "log"
    suite = ("--", sys.executable, files / "suite.py", str(port), log, "0")
    slim("trace", *words(files, port), *suite)
    verdict = json.loads((files / "out" / "check.json").read_text())
    assert verdict["verdict"] == "passed"
    rounds = log.read_text().split()
    assert len(rounds) >= 2  # in the fat root and in the check
    assert set(rounds) == {os.readlink("/proc/self/ns/net")}  # outside: in the network of who started it
    # The output's own recipe publishes the port again.
    slim("check", files / "out")
    assert len(log.read_text().split()) > len(rounds)
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))  # nothing is left that listens


@requires("mmdebstrap")
def test_its_exit_code_counts_and_a_port_in_use_is_named(slim: Slim, files: Path) -> None:
    port = free_port()
    suite = ("--", sys.executable, files / "suite.py", str(port), files / "log", "4")
    said = slim("trace", *words(files, port), *suite, code=1).stderr
    assert "exited with 4" in said
    assert "the suite is done" in said
    with socket.create_server(("127.0.0.1", port)):
        said = slim("trace", *words(files, port), *suite, code=1).stderr
    assert f"127.0.0.1 port {port}" in said
    assert "name another port" in said
    assert not (files / "out").exists()


# nc -l of busybox answers one connection: what it reads to the end, in capitals.
SERVER = "while :; do nc -l -p 7 127.0.0.1 -e tr a-z A-Z; done"


@contextlib.contextmanager
def session(place: Path) -> Iterator[Session]:
    with Session.start(SessionOptions(root=str(place), record=False)) as started:
        yield started


@needs_root
@requires("busybox")
@pytest.mark.parametrize("uid", [0, NOBODY])
def test_connections_are_led_whole_and_by_any_user(uid: int) -> None:
    sent = b"abc" * 400_000

    def ask(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), 20) as stream:
            stream.sendall(sent)
            stream.shutdown(socket.SHUT_WR)  # tr answers all of it only now
            return b"".join(iter(lambda: stream.recv(65536), b""))

    with readable_directory() as place:
        (place / "bin").mkdir()
        shutil.copy2("/bin/busybox", place / "bin/busybox")
        for name in ("sh", "nc", "tr"):
            (place / "bin" / name).symlink_to("busybox")
        own(place, uid)

        def work() -> tuple[bytes, bytes, str]:
            port, nobody = free_port(), free_port()
            with session(place) as started:
                started.publish([PortForward(port, 7), PortForward(nobody, 8)])
                null = os.open("/dev/null", os.O_WRONLY)
                app = started.spawn(Command(("/bin/sh", "-c", SERVER), {"PATH": "/bin"}), stdout=null, stderr=null)
                os.close(null)
                with pytest.raises(ConnectionResetError), socket.create_connection(("127.0.0.1", nobody), 20) as stream:
                    stream.recv(1)
                answers = []
                for _ in range(2):
                    while 7 not in listeners(app.pid):
                        time.sleep(0.01)
                    answers.append(ask(port))
                with pytest.raises(TracerError) as caught, session(place) as other:
                    other.publish([PortForward(port, 7)])
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), 5)
            return answers[0], answers[1], str(caught.value)

        first, second, said = as_user(uid, work)
    assert first == second == sent.upper()
    assert "name another port" in said
