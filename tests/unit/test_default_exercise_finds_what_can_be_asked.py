"""The default exercise: what a port speaks is recognised, pages are found, and what is asked again is what stays."""

from __future__ import annotations

import http.server
import json
import os
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import pytest

from slimmer.exercise.conversation import speak
from slimmer.exercise.default import settle
from slimmer.exercise.discover import is_openapi
from slimmer.exercise.listening import listeners, owned
from slimmer.exercise.model import Answer, Found, RunOutcome
from slimmer.exercise.observer import Observer
from slimmer.exercise.running import Running
from slimmer.exercise.site import visit
from slimmer.recipe import Probe, Recipe, Run
from tracer.session import Command, Process, Session

Pages = Mapping[str, tuple[int, str, str]]  # status, type, body or where a redirect leads


class Here:
    """This process as if it were a session: its network is the one asked, and it goes on."""

    def socket(self, family: int, kind: int) -> socket.socket:
        return socket.socket(family, kind)

    def busy(self) -> bool:
        return True

    def paths_seen(self) -> int:
        return 0

    def poll(self) -> int | None:
        return None


def app() -> Running:
    here = Here()
    found = Running(cast(Session, here), Run(), Command(("app",)), Observer(), shared=False)
    found.process = cast(Process, here)
    found.finish_streams()
    return found


@contextmanager
def serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def site(pages: Pages, asked: list[str]) -> type[socketserver.BaseRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

        def do_GET(self) -> None:
            asked.append(self.path)
            status, kind, body = pages.get(self.path, (404, "text/plain", "nothing"))
            body = body.replace("COUNT", str(len(asked)))
            self.send_response(status)
            self.send_header("Location" if status // 100 == 3 else "Content-Type", body if status // 100 == 3 else kind)
            data = b"" if status // 100 == 3 else body.encode()
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler


API = {
    "swagger": "2.0",
    "basePath": "/v1",
    "paths": {"/pets/{id}": {"get": {"parameters": [{"name": "id", "in": "path", "type": "integer"}]}, "delete": {}}},
}
SITE: Pages = {
    "/": (302, "", "/home"),
    "/home": (200, "text/html", '<a href="/a">a</a> <a href="/once/COUNT">once</a> <a href="http://elsewhere/">x</a>'),
    "/a": (200, "text/html", "a page"),
    "/healthz": (200, "text/plain", "well"),
    "/metrics": (401, "text/plain", "who are you"),
    "/status": (500, "text/plain", "not well"),
    "/swagger.json": (200, "application/json", json.dumps(API)),
    "/v1/pets/1": (200, "application/json", "{}"),
}


def test_a_site_is_followed_through_redirects_links_health_and_its_document() -> None:
    asked: list[str] = []
    with serving(site(SITE, asked)) as port:
        found = visit(app(), f"http://127.0.0.1:{port}/")
    origin = f"http://127.0.0.1:{port}"
    statuses = {probe.url.removeprefix(origin): probe.status for probe, _ in found}
    nowhere = "/no-such-page-of-this-application"
    assert statuses == {
        "/": 302,
        "/home": 200,
        "/a": 200,
        "/healthz": 200,
        "/metrics": 401,
        "/swagger.json": 200,
        "/v1/pets/1": 200,
        nowhere: 404,
    }
    assert all(answer.status == probe.status and not answer.problem for probe, answer in found)
    assert any("Accept-Encoding" in probe.headers for probe, _ in found)


def test_a_site_that_answers_everything_alike_is_asked_for_little() -> None:
    class Catching(dict[str, tuple[int, str, str]]):
        def get(self, key: str, default: Any = None) -> Any:
            return (200, "text/html", "the one page")

    with serving(site(Catching(), [])) as port:
        found = visit(app(), f"http://127.0.0.1:{port}/")
    assert {probe.url.rpartition("/")[2] for probe, _ in found} == {"", "no-such-page-of-this-application"}


def scripted(greeting: bytes, answers: Mapping[bytes, bytes]) -> type[socketserver.BaseRequestHandler]:
    """Greets, and answers what begins like one of `answers`; anything else ends the connection."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(greeting)
            while got := self.request.recv(4096):
                answer = next((text for begin, text in answers.items() if got.startswith(begin)), None)
                if answer is None:
                    return
                self.request.sendall(answer)

    return Handler


# As MariaDB 10.11, Postfix, Redis 7, PostgreSQL 15 and memcached 1.6 answer.
MYSQL = bytes.fromhex("5a0000000a") + b"5.5.5-10.11.6-MariaDB-0+deb12u1\0" + bytes(56)
POSTGRES = b"R\0\0\0\x17\0\0\0\nSCRAM-SHA-256\0\0"


@pytest.mark.parametrize(
    ("name", "greeting", "answers"),
    [
        ("MySQL", MYSQL, {}),
        ("SMTP or FTP", b"220 mail.example ESMTP Postfix (Debian)\r\n", {}),
        ("a greeting", b"hello\n", {}),
        ("Redis", b"", {b"PING": b"+PONG\r\n", b"GET": b"-ERR wrong number of arguments for 'get' command\r\n"}),
        ("Redis", b"", {b"PING": b"-NOAUTH Authentication required.\r\n"}),
        ("PostgreSQL", b"", {b"\0\0\0\x29\0\x03": POSTGRES}),
        ("memcached", b"", {b"version": b"VERSION 1.6.18\r\n", b"GET": b"ERROR\r\n"}),
    ],
    ids=["mysql", "smtp", "unknown", "redis", "redis-password", "postgresql", "memcached"],
)
def test_what_is_not_http_is_recognised_and_its_probe_works(
    name: str, greeting: bytes, answers: Mapping[bytes, bytes]
) -> None:
    with serving(scripted(greeting, answers)) as port:
        probe, found = speak(app(), port)
        assert found == name
        assert app().ask(probe).problem == ""


def test_what_was_found_is_what_every_later_run_asks() -> None:
    probe = Probe("http://127.0.0.1/", 200)
    found = Found((probe,), (Answer("GET http://127.0.0.1/", 200, b""),))
    outcome = RunOutcome(("app",), None, True, b"", b"", found=found)
    own = Run(probes=(Probe("http://127.0.0.1/mine"),))
    runs = settle(Recipe(runs=(Run(), own, Run())), (outcome, outcome)).runs
    assert runs == (Run(probes=(probe,)), own, Run())
    assert settle(Recipe(runs=runs), (outcome, outcome, outcome)).runs[:2] == runs[:2]


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (b'{"openapi": "3.1.0", "paths": {}}', True),
        (b"swagger: '2.0'\npaths: {}\n", True),
        (b"<html>openapi paths</html>", False),
        (b"[1, 2]", False),
        (b"{: :", False),
    ],
)
def test_a_document_is_one_by_what_it_holds(text: bytes, is_one: bool) -> None:
    assert is_openapi(text) is is_one


def test_a_port_belongs_to_whoever_holds_it() -> None:
    with serving(scripted(b"", {})) as port:
        assert port in listeners()
        assert owned(os.getpid(), frozenset({port, 1})) == {port}
