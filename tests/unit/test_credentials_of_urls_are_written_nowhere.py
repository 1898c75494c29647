"""A password or a token in a URL that is asked: used by the run, and in no file, line or message that comes of it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from slimmer.cli.described import recipe_over
from slimmer.errors import UsageProblem
from slimmer.exercise.withheld import require_credentials, without_credentials
from slimmer.pipeline.trace import settled
from slimmer.recipe import Probe, Recipe, Run
from slimmer.values import withheld

URL = "http://bob:hunter2@127.0.0.1:8000/?token=t0ken&page=2"
MASKED = "http://bob:***@127.0.0.1:8000/?token=***&page=2"
GIVEN = Recipe(runs=(Run(("app",), ready=URL, probes=(Probe(URL, 201, pattern="x"),), crawl=(URL,), openapi=(URL,)),))


def test_a_published_recipe_has_none() -> None:
    text = settled(GIVEN, (), {}).dump()
    assert "hunter2" not in text
    assert "t0ken" not in text
    assert text.count(MASKED) == 4


def test_a_run_asks_for_them_again_and_takes_them_in_their_places() -> None:
    written = without_credentials(GIVEN)
    with pytest.raises(UsageProblem, match="--probe http://bob") as caught:
        require_credentials(written)
    assert [f"--{name} {MASKED}" in caught.value.message for name in ("ready", "crawl", "openapi")] == [True] * 3
    more = "http://127.0.0.1:8000/more"
    named = {"ready": URL, "probes": [URL, more], "crawls": [URL], "openapis": [URL]}
    again = recipe_over(written, named)
    assert again == recipe_over(GIVEN, {"probes": [more]})
    require_credentials(again)


@pytest.mark.parametrize("text", ["http://h/", "http://h/***", "http://h/?q=***x", "8000", "/ready: \\*\\*\\*/", ""])
def test_what_never_had_any_is_complete(text: str) -> None:
    assert not withheld(text)


class Refusing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(500)
        self.end_headers()
        self.wfile.write(b"no \x1b]0;owned\x07\x1b[2J")

    def log_message(self, *_: object) -> None:
        pass


HOSTILE = """import sys
from slimmer.cli.progress import ConsoleProgress
from slimmer.exercise.observer import Interrupt
progress = ConsoleProgress(verbose=True).progress(Interrupt())
progress.say("found \\x1b]0;owned\\x07 at http://bob:hunter2@h/")
progress.observer.stage("exercising \\x1b[2J")
progress.observer.echo(b"\\x1b[31mred\\x1b[0m \\x1b[2J\\x1b]0;owned\\x07 \\xc2\\x9b2J\\n")
"""


def test_lines_on_a_terminal_are_shown_and_not_obeyed() -> None:
    """All but an application's colours."""
    primary, secondary = pty.openpty()
    subprocess.run([sys.executable, "-c", HOSTILE], stderr=secondary, check=True)
    os.close(secondary)
    got = b""
    try:
        while chunk := os.read(primary, 65536):
            got += chunk
    except OSError:  # the end of a terminal, EIO
        pass
    os.close(primary)
    assert b"\x1b[31mred\x1b[0m" in got
    for sequence in (b"\x1b]", b"\x1b[2J", b"\x07", b"\xc2\x9b", b"hunter2"):
        assert sequence not in got
    assert b"\\x1b]0;owned" in got


def test_a_failed_probe_is_told_without_them(tmp_path: Path) -> None:
    server = HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://bob:hunter2@127.0.0.1:{server.server_port}/?token=t0ken"
    code = f"""
from slimmer.exercise.probe import send
from slimmer.recipe import Probe
from slimmer.errors import SlimmerError
import socket
answer = send(Probe({url!r}), socket.socket)
from slimmer.cli.main import _fail
_fail(f"{{answer.probe}}: {{answer.problem}}", "", 1)
import sys; sys.argv.append("--json")
_fail(f"{{answer.probe}}: {{answer.problem}}", "", 1)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    server.shutdown()
    server.server_close()
    assert "hunter2" not in done.stderr
    assert "t0ken" not in done.stderr
    assert "\x1b" not in done.stderr
    assert json.loads(done.stderr.splitlines()[-1])["exit_code"] == 1
