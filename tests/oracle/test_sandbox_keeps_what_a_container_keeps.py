"""The same auditor in slimmer's sandbox and in podman's container: nothing is open here that is shut there."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.running import NOBODY, as_user, as_user_with_ranges, readable_directory
from tests.support import needs_root, requires, root_of
from tracer.session import Command, Identity, Session, SessionOptions

pytestmark = [needs_root, pytest.mark.skipif(platform.machine() != "x86_64", reason="the auditor's numbers")]
AUDITOR = Path(__file__).parent.parent / "auditor.py"
HOST = [os.readlink(f"/proc/self/ns/{name}") for name in ("mnt", "pid", "ipc", "uts", "net", "cgroup")]
ENV = {"PATH": "/usr/bin:/bin"}


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What must not be reached: an abstract socket of the host, the caller's environment."""
    monkeypatch.setenv("SLIMMER_AUDIT", "slimmer-audit-secret")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("\0slimmer-audit")
        listening.listen(1)
        yield


@pytest.fixture(scope="module")
def root() -> Iterator[str]:
    with readable_directory() as place:
        copy = place / "root"
        subprocess.run(["cp", "-a", "--reflink=auto", root_of("python3"), copy], check=True)
        yield str(copy)


def audit(root: str, identity: Identity, **options: object) -> dict[str, list[str]]:
    """The auditor's rows, in a sandbox."""
    with (
        Session.start(SessionOptions(root=root, identity=identity, **options)) as session,  # type: ignore[arg-type]
        tempfile.TemporaryFile() as out,
    ):
        command = Command(("python3", "-c", AUDITOR.read_text(), *HOST), ENV, "/", identity)
        status = session.spawn(command, stdout=out.fileno(), stderr=out.fileno()).wait(60)
        out.seek(0)
        said = out.read().decode()
        assert status == 0, said
        rows: dict[str, list[str]] = json.loads(said)
        return rows


def audit_of_podman(root: str, uid: int) -> dict[str, list[str]]:
    command = (
        "podman --runtime runc run --rm --network=none --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 "
        # Docker leaves these two, podman since version 4 does not.
        f"--cap-add NET_RAW,AUDIT_WRITE --user {uid} --rootfs {root}:O python3 -c"
    )
    done = subprocess.run([*command.split(), AUDITOR.read_text(), *HOST], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    rows: dict[str, list[str]] = json.loads(done.stdout)
    return rows


def worse(ours: dict[str, list[str]], theirs: dict[str, list[str]]) -> dict[str, list[str]]:
    """What is open in the one and shut in the other, by row."""
    rows = {row: sorted(set(words) - set(theirs[row])) for row, words in ours.items()}
    return {row: words for row, words in rows.items() if words}


@requires("podman", "runc")
@pytest.mark.parametrize("uid", [0, 1000])
@pytest.mark.parametrize("record", [False, True])
def test_no_row_is_worse_than_podmans(root: str, uid: int, record: bool) -> None:
    theirs = audit_of_podman(root, uid)
    ours = audit(root, Identity(uid, uid), record=record)
    assert worse(ours, theirs) == {}
    assert "CapBnd 27" not in ours["capabilities"]  # mknod


@pytest.mark.parametrize("user", [as_user, as_user_with_ranges], ids=["one id", "a range of ids"])
@pytest.mark.parametrize("uid", [0, 1000])
def test_an_ordinary_users_sandbox_is_as_tight(root: str, uid: int, user: Callable[..., Any]) -> None:
    if user is as_user_with_ranges and not shutil.which("newuidmap"):
        pytest.skip("ranges of ids are given by newuidmap, of the package uidmap")

    def work() -> tuple[dict[str, list[str]], str]:
        with Session.start(SessionOptions(root=root, record=False)) as session:
            why = session.explanation
        return audit(root, Identity(uid, uid), record=True), why

    found, why = user(NOBODY, work)
    assert ("ranges of /etc/subuid" in why) is (user is as_user_with_ranges)
    assert worse(found, audit(root, Identity(uid, uid), record=True)) == {}


SCAN = """
import os, time
end, found, seen = time.time() + 1.5, set(), 0
while time.time() < end:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        for name in ("environ", "maps"):
            try:
                text = open(f"/proc/{pid}/{name}", "rb").read()
            except OSError:
                continue
            seen += 1
            if b"audit-secret" in text or b"slimmer" in text:
                found.add(name)
        try:
            links = [os.readlink(f"/proc/{pid}/fd/{each}") for each in os.listdir(f"/proc/{pid}/fd")]
            found.update("fd" for each in links if "slimmer" in each)
        except OSError:
            pass
print(seen > 0, sorted(found))
"""


@pytest.mark.parametrize("uid", [0, 1000])
def test_nothing_of_slimmers_can_be_read_while_a_command_is_being_started(root: str, uid: int) -> None:
    who = Identity(uid, uid)
    with Session.start(SessionOptions(root=root, identity=who)) as session, tempfile.TemporaryFile() as out:
        looking = session.spawn(
            Command(("python3", "-c", SCAN), ENV, "/", who), stdout=out.fileno(), stderr=out.fileno()
        )
        while looking.poll() is None:
            session.spawn(Command(("true",), ENV, "/", who), stdout=2, stderr=2).wait(10)
        out.seek(0)
        assert out.read().decode() == "True []\n"
