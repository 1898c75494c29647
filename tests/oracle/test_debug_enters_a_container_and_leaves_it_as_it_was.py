"""A command beside a container sees its processes, name and files, has other tools, and changes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import ENV, NOBODY, as_user, own, photograph, readable_directory, small_root
from tests.support import needs_root
from tracer.session import Command, Session, SessionOptions

pytestmark = needs_root
ASK = """
echo "name $(cat /proc/sys/kernel/hostname)"; cat /target/var/lib/app/data
tr '\\0' ' ' < /proc/*[0-9]/cmdline | grep -q 'sleep 60' && echo seen
echo x > /target/new || echo "read-only"; echo x > /mine && cat /mine; cat /only-here
"""


@pytest.fixture(scope="module")
def places() -> Iterator[tuple[Path, Path]]:
    with readable_directory() as place:
        slim, tools = small_root(place / "slim"), small_root(place / "tools")
        (tools / "only-here").write_text("tools\n")
        yield slim, tools


def asked(slim: Path, tools: Path) -> tuple[str, str]:
    """What a command prints beside a container of this process's user, and what went wrong."""
    with Session.start(SessionOptions(root=str(slim), record=False, hostname="inner")) as session:
        null = os.open(os.devnull, os.O_WRONLY)
        process = session.spawn(Command(("sleep", "60"), ENV), stdout=null, stderr=null)
        os.close(null)
        words = [
            sys.executable,
            "-m",
            "slimmer",
            "debug",
            str(process.pid),
            "--with",
            str(tools),
            "--",
            "sh",
            "-c",
            ASK,
        ]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        process.signal(9)
    return done.stdout, done.stderr


def test_the_container_is_seen_and_nothing_of_it_changes(places: tuple[Path, Path]) -> None:
    slim, tools = places
    before = photograph(slim), photograph(tools)
    output, errors = asked(slim, tools)
    assert output.split("\n")[:2] == ["name inner", "before"], errors
    assert output.endswith("read-only\nx\ntools\n")
    assert (photograph(slim), photograph(tools)) == before


def test_the_owner_of_its_user_namespace_needs_no_privilege(places: tuple[Path, Path]) -> None:
    slim, tools = places
    own(slim, NOBODY)
    try:
        before = photograph(slim), photograph(tools)
        output, errors = as_user(NOBODY, lambda: asked(slim, tools))
        assert (photograph(slim), photograph(tools)) == before
    finally:
        own(slim, 0)
    assert output.split("\n")[:2] == ["name inner", "before"], errors
    assert output.endswith("read-only\nx\ntools\n")


def test_what_is_not_there_is_said(places: tuple[Path, Path]) -> None:
    asked = [sys.executable, "-m", "slimmer", "debug", "no-such-container", "--with", str(places[1])]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "no running process and no running container" in done.stderr
