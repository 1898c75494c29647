"""What programs say when nothing answers by a name or a port brings the advice about services; a lost module not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slimmer.exercise.model import RunOutcome
from slimmer.exercise.services import HINT, unreached
from slimmer.recipe import Recipe, Sandbox
from tracer.session import Network

NOTHING = RunOutcome(("app",), 1, False, b"", b"")


@pytest.mark.parametrize(
    "said",
    [
        b'psycopg2.OperationalError: connection to server at "db", port 5432 failed: Connection refused',
        b"Error: getaddrinfo ENOTFOUND db",
        b"Error: connect ECONNREFUSED 127.0.0.1:6379",
        b"java.net.UnknownHostException: db",
        b"dial tcp: lookup db: no such host",
        b'could not translate host name "db" to address: Name or service not known',
    ],
)
def test_what_was_not_reached_is_a_service(said: bytes) -> None:
    assert unreached(replace(NOTHING, errors=said), Recipe()) == HINT
    assert unreached(replace(NOTHING, output=said), Recipe()) == HINT
    shared = Recipe(sandbox=Sandbox(network=Network.HOST))
    assert unreached(replace(NOTHING, errors=said), shared) == "", "its network is not a loopback"


@pytest.mark.parametrize(
    "said",
    [
        b"ModuleNotFoundError: No module named 'markupsafe'",
        b"java.lang.ClassNotFoundException: a.B",
        b"Error: Cannot find module 'x'\n  code: 'MODULE_NOT_FOUND'",
        b"FileNotFoundError: [Errno 2] No such file or directory: '/etc/app.toml'",
    ],
)
def test_what_was_not_found_is_none(said: bytes) -> None:
    assert unreached(replace(NOTHING, errors=said), Recipe()) == ""
