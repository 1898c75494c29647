"""Probes against a real server on loopback, and what they make of its answers."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from slimmer.errors import UsageProblem
from slimmer.exercise import discover
from slimmer.exercise.model import Answer
from slimmer.exercise.probe import NoAnswer, judge, send
from slimmer.recipe import Probe

PAGES = {
    "/": (
        "text/html",
        '<a href="/two">2</a> <a href="http://elsewhere/">e</a> <form action="/del" method=post></form>',
    ),
    "/two": ("text/html", '<img src="pic.png"><a href="/#top">up</a><a href="/gone">g</a>'),
    "/pic.png": ("image/png", "png"),
    "/openapi.json": (
        "application/json",
        json.dumps(
            {
                "paths": {
                    "/item/{id}": {
                        "get": {
                            "parameters": [
                                {"name": "id", "in": "path", "example": "a b"},
                                {"name": "q", "in": "query", "required": True, "schema": {"type": "integer"}},
                            ]
                        },
                        "delete": {},
                    },
                    "/list": {"get": {"parameters": [{"$ref": "#/shared/limit"}]}},
                },
                "shared": {"limit": {"name": "limit", "in": "query", "example": 5}},
            }
        ),
    ),
    "/item/a%20b?q=1": ("text/plain", "item"),
    "/list?limit=5": ("text/plain", "list"),
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        kind, body = PAGES.get(self.path, ("text/plain", ""))
        self.send_response(200 if self.path in PAGES else 404)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body.encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.end_headers()
        self.wfile.write(body + self.headers["X-Who"].encode() + self.headers["Host"].encode())

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://app.local:{server.server_port}"  # the name is the Host header's; the way is loopback
        server.shutdown()
        thread.join()


def ask(probe: Probe) -> Answer:
    return send(probe, socket.socket)


def test_a_request_carries_method_headers_body_and_host(base: str) -> None:
    answer = ask(Probe(f"{base}/x", 201, "POST", {"X-Who": "me"}, "hello", "hellome"))
    assert (answer.status, answer.problem) == (201, "")
    assert answer.body == b"hellome" + base.removeprefix("http://").encode()


def test_a_wrong_status_shows_the_body(base: str) -> None:
    assert ask(Probe(f"{base}/gone")).problem.startswith("status 404")
    assert ask(Probe(f"{base}/gone", 404)).problem == ""
    assert ask(Probe(f"{base}/two", 500)).problem.startswith("status 200, not 500: <img")


def test_nobody_there_is_no_answer() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(NoAnswer):
            ask(Probe(f"http://127.0.0.1:{taken.getsockname()[1]}/"))


@pytest.mark.parametrize(
    ("probe", "problem"),
    [
        (Probe("http://x/", json={"/a/1": 3}), ""),
        (Probe("http://x/", json={"/a/1": 4}), "/a/1 is 3, not 4"),
        (Probe("http://x/", json={"/b": 4}), "nothing at /b"),
        (Probe("http://x/", pattern="no such"), "no 'no such' in"),
        (Probe("http://x/", pattern=r'"a": \['), ""),
    ],
)
def test_a_body_is_judged_by_pattern_and_pointer(probe: Probe, problem: str) -> None:
    found = judge(probe, 200, b'{"a": [2, 3]}')
    assert found.startswith(problem)
    assert bool(found) == bool(problem)


def test_a_tcp_probe_sends_and_expects() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            stream, _ = server.accept()
            with stream:
                assert stream.recv(100) == b"PING\r\n"
                stream.sendall(b"+PO")
                stream.sendall(b"NG\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        answer = ask(Probe(f"tcp://127.0.0.1:{server.getsockname()[1]}", body="PING\\r\\n", pattern=r"\+PONG"))
        thread.join()
    assert answer.problem == ""


def test_a_crawl_stays_on_its_origin_and_never_posts(base: str) -> None:
    answers = list(discover.crawl(f"{base}/", ask))
    assert [answer.probe.removeprefix(f"GET {base}") for answer in answers] == ["/", "/two", "/pic.png", "/gone"]
    assert not any(answer.problem for answer in answers)  # a dead link is found the same in fat and slim


def test_a_crawl_ends_at_its_limits(base: str) -> None:
    assert len(list(discover.crawl(f"{base}/", ask, pages=2))) == 2
    assert len(list(discover.crawl(f"{base}/", ask, depth=0))) == 1


def test_an_openapi_document_gives_its_gets_with_examples(base: str) -> None:
    answers = list(discover.openapi(f"{base}/openapi.json", ask, ""))
    assert [(answer.probe.removeprefix(f"GET {base}"), answer.status) for answer in answers[1:]] == [
        ("/item/a%20b?q=1", 200),
        ("/list?limit=5", 200),
    ]


def test_what_is_no_openapi_document_is_said(base: str) -> None:
    with pytest.raises(UsageProblem, match="not an OpenAPI document"):
        list(discover.openapi(f"{base}/two", ask, ""))


def dripping(head: bytes, drop: bytes) -> tuple[socket.socket, threading.Event]:
    """A server that sends a head and then a drop now and then, for ever."""
    server, over = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def serve() -> None:
        stream, _ = server.accept()
        with stream, contextlib.suppress(OSError):
            stream.recv(4096)
            stream.sendall(head)
            while not over.wait(0.05):
                stream.sendall(drop)

    threading.Thread(target=serve, daemon=True).start()
    return server, over


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: ", b""])
def test_an_answer_that_drips_has_an_end_all_the_same(head: bytes) -> None:
    server, over = dripping(head, b"x")
    try:
        with server, pytest.raises(NoAnswer, match="did not end within"):
            send(Probe(f"http://127.0.0.1:{server.getsockname()[1]}/"), socket.socket, timeout=0.4)
    finally:
        over.set()


def test_a_conversation_that_never_pauses_has_an_end_all_the_same() -> None:
    server, over = dripping(b"hello", b".")
    try:
        with server:
            answer = send(Probe(f"tcp://127.0.0.1:{server.getsockname()[1]}", body="x"), socket.socket, timeout=0.4)
    finally:
        over.set()
    assert answer.body.startswith(b"hello")


def test_of_an_event_stream_the_first_event_is_the_answer() -> None:
    server, over = dripping(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n", b"")
    try:
        with server:
            answer = send(Probe(f"http://127.0.0.1:{server.getsockname()[1]}/"), socket.socket)
    finally:
        over.set()
    assert (answer.status, answer.body, answer.problem) == (200, b"data: 1\n\n", "")
