"""What is spoken on a TCP port: whoever greets first is recognised by that, else a few protocols are tried in turn."""

from __future__ import annotations

import re
import ssl
import time

from slimmer.exercise.probe import NoAnswer, connect
from slimmer.exercise.running import Running
from slimmer.recipe import Probe

GREETING = 0.5  # seconds that a server which speaks first has to begin
HANDSHAKE = 3.0  # seconds
PATIENCE = 30.0  # seconds for the first page: applications compile and connect for it
STARTING = 10.0  # seconds in which a port that answers nothing yet, or 502 to 504, may still be starting
NOT_YET = frozenset({502, 503, 504})

# What servers say first: a name, and what their greeting looks like.
GREETINGS = (
    ("SMTP or FTP", r"^220[ -]"),
    ("SSH", r"^SSH-"),
    ("MySQL", r"^...\x00(?:\x0a|\xff)"),  # a packet of the protocol: version 10, or an error
    ("IMAP", r"^\* OK"),
    ("POP3", r"^\+OK"),
    ("VNC", r"^RFB "),
)
# What others answer: a name, what is sent, what comes back.
# PostgreSQL's StartupMessage, protocol 3.0: it answers R (how to authenticate) or E (an error), message-formats.
QUESTIONS = (
    ("Redis", r"PING\r\n", r"^(?:\+PONG|-[A-Z]+ )"),
    (
        "PostgreSQL",
        r"\x00\x00\x00\x29\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00",
        r"^[RE]\x00\x00",
    ),
    ("memcached", r"version\r\n", r"^VERSION "),
)


def speak(app: Running, port: int) -> tuple[Probe, str]:
    """The probe to begin with on a port, and what is spoken there. Of what says nothing it is a connection alone."""
    deadline = time.monotonic() + STARTING
    while True:
        found = _web(app, port) if not (greeting := _greeting(app, port)) else _greeted(port, greeting)
        if found is None:
            found = _questions(app, port)
        if found is not None or time.monotonic() > deadline or app.asked() or app.over():
            return found or (Probe(f"tcp://127.0.0.1:{port}"), "a connection")
        app.tick()
        time.sleep(0.5)


def _greeting(app: Running, port: int) -> bytes:
    try:
        with connect(app.session.socket, "127.0.0.1", port, 2.0) as stream:
            stream.settimeout(GREETING)
            return stream.recv(256)
    except (NoAnswer, OSError):
        return b""


def _greeted(port: int, greeting: bytes) -> tuple[Probe, str]:
    url = f"tcp://127.0.0.1:{port}"
    for name, pattern in GREETINGS:
        if re.search(pattern.encode(), greeting, re.DOTALL):
            return Probe(url, pattern=pattern), name
    return Probe(url, pattern="."), "a greeting"


def _web(app: Running, port: int) -> tuple[Probe, str] | None:
    plain, status = _page(app, f"http://127.0.0.1:{port}/")
    if plain is not None and status != 400:
        return plain, "HTTP"
    # 400 is what nginx, Apache and Go say to plain HTTP on a port of TLS; others close the connection.
    secure = _page(app, f"https://127.0.0.1:{port}/")[0] if _handshakes(app, port) else None
    if secure is not None:
        return secure, "HTTPS"
    return (plain, "HTTP") if plain is not None else None


def _handshakes(app: Running, port: int) -> bool:
    """Whether TLS is spoken: that shows at once, where a page may take its time."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the application's own, mostly self-signed
    try:
        with context.wrap_socket(connect(app.session.socket, "127.0.0.1", port, HANDSHAKE)):
            return True
    except (NoAnswer, OSError):
        return False


def _page(app: Running, url: str) -> tuple[Probe | None, int]:
    """The first page, when an answer of HTTP comes; one that says "not yet" is asked again for a while."""
    deadline = time.monotonic() + STARTING
    while True:
        try:
            answer = app.send(Probe(url), PATIENCE)
        except NoAnswer:
            return None, 0
        if answer.status not in NOT_YET or time.monotonic() > deadline or app.asked() or app.over():
            return Probe(url, answer.status), answer.status or 0
        app.tick()
        time.sleep(0.3)


def _questions(app: Running, port: int) -> tuple[Probe, str] | None:
    url = f"tcp://127.0.0.1:{port}"
    for name, body, pattern in QUESTIONS:
        probe = Probe(url, body=body, pattern=pattern)
        try:
            with connect(app.session.socket, "127.0.0.1", port, 2.0) as stream:
                stream.sendall(probe.payload())
                answer = stream.recv(256)
        except (TimeoutError, NoAnswer, OSError):
            continue
        if re.search(pattern.encode(), answer, re.DOTALL):
            return probe, name
    return None
