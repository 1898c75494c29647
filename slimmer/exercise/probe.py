"""One probe: sent over a socket of the sandbox's network, judged by what the recipe expects.

Every host name means the sandbox's loopback: the application has no other network,
and a name such as `app.local` still reaches it in the Host header.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import os
import posixpath
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import SplitResult, quote, unquote

from slimmer.errors import UsageProblem
from slimmer.exercise.model import BODY_LIMIT, Answer
from slimmer.recipe import Probe
from slimmer.recipe_checks import SCHEMES
from slimmer.values import natural, printable, url

MakeSocket = Callable[[int, int], socket.socket]

TIMEOUT = 30.0  # seconds for one answer, all of it
ENDLESS = frozenset({"text/event-stream", "multipart/x-mixed-replace"})  # what comes without an end
EVENT = 5.0  # seconds to wait for the first event of such a stream
MAX_LINKS = 40  # path_resolution(7)
LITERAL = "%/:?#[]@!$&'()*+,;=\"<>\\^`{|}"  # sent as typed; spaces and letters beyond ASCII are quoted
PORTS = {"http": 80, "https": 443}


class NoAnswer(Exception):
    """Nobody listens there, or the connection broke before an answer came: worth another try while starting."""


def connect(make: MakeSocket, host: str, port: int, timeout: float = TIMEOUT, *, shared: bool = False) -> socket.socket:
    """A connection to the application. Raises NoAnswer.

    With `shared` (the host's network) the name is the host's to resolve; otherwise it is loopback, v4 then v6.
    """
    targets: list[tuple[int, str]] = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
    if ":" in host:
        targets = [(socket.AF_INET6, host)]
    elif (shared and host not in ("localhost", "0.0.0.0")) or re.fullmatch(r"127\.\d+\.\d+\.\d+", host):
        targets = [(socket.AF_INET, host)]
    problem = ""
    for family, address in targets:
        try:
            stream = make(family, socket.SOCK_STREAM)
        except OSError as error:
            problem = problem or str(error)
            continue
        try:
            stream.settimeout(timeout)
            stream.connect((address, port))
        except OSError as error:
            stream.close()
            problem = problem or f"{error.strerror or error}"
            continue
        return stream
    raise NoAnswer(f"no connection to port {port}: {problem}")


def connect_unix(top: str, path: str, timeout: float = TIMEOUT) -> socket.socket:
    """A connection to a unix socket of the application; `top` is its root as seen from here. Raises NoAnswer."""
    folder = -1
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        place = confined(top, path)
        # By a descriptor of its directory: sun_path holds 108 bytes, unix(7).
        folder = os.open(posixpath.dirname(place), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        stream.settimeout(timeout)
        stream.connect(f"/proc/self/fd/{folder}/{posixpath.basename(place)}")
        return stream
    except OSError as error:
        stream.close()
        raise NoAnswer(f"no connection to {path}: {error.strerror or error}") from error
    finally:
        if folder >= 0:
            os.close(folder)


def confined(top: str, path: str) -> str:
    """A path of the root `top`, links followed as a process in there follows them. Raises OSError on a loop."""
    done: list[str] = []
    rest = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    links = 0
    while rest:
        part = rest.pop()
        if part == "..":
            done = done[:-1]
            continue
        here = "/".join([top.rstrip("/"), *done, part])
        try:
            target = os.readlink(here)
        except OSError:
            done.append(part)
            continue
        links += 1
        if links > MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if target.startswith("/"):
            done = []
        rest += [each for each in reversed(target.split("/")) if each not in ("", ".")]
    return "/".join([top.rstrip("/"), *done]) or "/"


def send(probe: Probe, make: MakeSocket, *, shared: bool = False, timeout: float = TIMEOUT, top: str = "") -> Answer:
    """Send a probe and judge the answer; `top` is the application's root, for unix sockets.

    Raises NoAnswer when there is none.
    """
    parts = url(probe.url, SCHEMES)
    port = parts.port
    name = f"{probe.method} {probe.url}"
    try:
        if parts.scheme in ("tcp", "unix"):
            with _open(probe, parts, port, make, timeout, shared, top) as stream:
                return _converse(probe, stream, timeout)
        status, kind, body, location = _http(probe, parts, port or PORTS[parts.scheme], make, timeout, shared)
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(f"{type(error).__name__}: {error}") from error
    return Answer(name, status, body, kind, judge(probe, status, body), location)


def _http(
    probe: Probe, parts: SplitResult, port: int, make: MakeSocket, timeout: float, shared: bool
) -> tuple[int, str, bytes, str]:
    host = parts.hostname or "127.0.0.1"
    deadline = time.monotonic() + timeout
    stream = connect(make, host, port, timeout, shared=shared)
    watch = _Watch(stream, timeout)
    try:
        if parts.scheme == "https":
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE  # the application's own, mostly self-signed
            stream = context.wrap_socket(stream, server_hostname=host)
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
        connection.sock = stream
        target = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=LITERAL)
        headers = {"Host": parts.netloc.rpartition("@")[2], "User-Agent": "slim", "Accept": "*/*", **probe.headers}
        connection.request(probe.method, target, probe.body.encode() or None, headers)
        response = connection.getresponse()
        kind = response.headers.get("Content-Type", "")
        if kind.partition(";")[0].strip().lower() in ENDLESS:
            event = _first_event(response, stream, min(EVENT, deadline - time.monotonic()))
            return response.status, kind, event, ""
        body = response.read(BODY_LIMIT)
        if watch.over:
            raise NoAnswer(f"the answer did not end within {timeout:g} s ({len(body)} bytes until then)")
        return response.status, kind, body, response.headers.get("Location", "")
    except (OSError, http.client.HTTPException) as error:
        if watch.over:
            raise NoAnswer(f"the answer did not end within {timeout:g} s") from error
        raise
    finally:
        watch.close()
        stream.close()


class _Watch:
    """Ends a connection when its time is over: a byte now and then satisfies a socket's own timeout for ever."""

    def __init__(self, stream: socket.socket, seconds: float) -> None:
        self.over = False
        self._stream = stream.dup()
        self._timer = threading.Timer(max(0.0, seconds), self._end)
        self._timer.daemon = True
        self._timer.start()

    def _end(self) -> None:
        self.over = True
        with contextlib.suppress(OSError):
            self._stream.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._timer.cancel()
        self._timer.join()
        self._stream.close()


def _first_event(response: http.client.HTTPResponse, stream: socket.socket, seconds: float) -> bytes:
    """What comes first of a stream without an end: one event, or what there is of it in time."""
    deadline = time.monotonic() + seconds
    got = b""
    with contextlib.suppress(OSError):
        while len(got) < BODY_LIMIT and (left := deadline - time.monotonic()) > 0:
            stream.settimeout(left)
            chunk = response.read1(65536)
            got += chunk
            if not chunk or re.search(rb"\r?\n\r?\n", got):
                break
    return got


def _open(
    probe: Probe, parts: SplitResult, port: int | None, make: MakeSocket, timeout: float, shared: bool, top: str
) -> socket.socket:
    if parts.scheme == "unix":
        path = unquote(parts.path)
        if parts.netloc or not path.startswith("/"):
            raise UsageProblem(f"{probe.url}: an absolute path is missing", "write unix:///run/app.sock")
        if not top:
            raise NoAnswer(f"no connection to {path}: the application is gone")
        return connect_unix(top, path, timeout)
    if port is None:
        raise UsageProblem(f"{probe.url}: a port is missing", "write tcp://127.0.0.1:6379")
    return connect(make, parts.hostname or "127.0.0.1", port, timeout, shared=shared)


def _converse(probe: Probe, stream: socket.socket, timeout: float) -> Answer:
    if probe.body:
        stream.sendall(probe.payload())
    got = b""
    deadline = time.monotonic() + timeout
    stream.settimeout(min(2.0, timeout) if not probe.pattern else timeout)
    try:
        while len(got) < BODY_LIMIT and time.monotonic() < deadline and (chunk := stream.recv(65536)):
            got += chunk
            if probe.pattern and re.search(probe.pattern.encode(), got, re.DOTALL):
                break
            stream.settimeout(max(0.01, deadline - time.monotonic()) if probe.pattern else 0.3)
    except TimeoutError:
        pass
    problem = "" if re.search(probe.pattern.encode(), got, re.DOTALL) else f"no {probe.pattern!r} in {show(got)}"
    return Answer(probe.url, None, got, "", problem)


def judge(probe: Probe, status: int, body: bytes) -> str:
    """Why an answer is not what the probe expects; empty when it is."""
    if probe.status is not None and status != probe.status:
        return f"status {status}, not {probe.status}: {show(body)}"
    if probe.status is None and status >= 400:
        return f"status {status}: {show(body)} (if that is right: --probe {probe.url}={status})"
    if probe.pattern and not re.search(probe.pattern.encode(), body, re.DOTALL):
        return f"no {probe.pattern!r} in {show(body)}"
    if probe.json:
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return f"the body is not JSON: {show(body)}"
        for pointer, value in probe.json.items():
            found, there = _point(document, pointer)
            if not there or found != value:
                return f"{pointer} is {found!r:.60}, not {value!r:.60}" if there else f"nothing at {pointer}"
    return ""


def _point(document: Any, pointer: str) -> tuple[Any, bool]:
    """RFC 6901."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, Mapping) and key in document:
            document = document[key]
        elif isinstance(document, list) and (at := natural(key, len(document) - 1)) is not None:
            document = document[at]
        else:
            return None, False
    return document, True


def show(body: bytes, lines: int = 3) -> str:
    """The first lines of a body, for a message."""
    text = body[:600].decode("utf-8", "replace").strip().splitlines()[:lines]
    return " / ".join(printable(line.strip()[:160]) for line in text if line.strip()) or "(empty body)"
