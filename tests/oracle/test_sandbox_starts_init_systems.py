"""Programs that must be process 1, as Debian has them: they are, with /proc, signals and later commands to match."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import NOBODY, as_user, own, readable_directory
from tests.support import needs_root, root_of
from tracer.session import Command, Init, Session, SessionOptions

pytestmark = needs_root
ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
SHOW = "echo me $$ $(tr '\\0' ' ' </proc/1/cmdline); trap 'echo got TERM; exit 3' TERM; "
WAIT = "sleep 60 & wait"


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    with readable_directory() as place:
        source = root_of("s6", "execline", "runit", "busybox-static", "tini", "dumb-init", "supervisor")
        subprocess.run(["cp", "-a", "--reflink=auto", source, place / "root"], check=True)
        top = place / "root"
        (top / "init").write_text('#!/bin/sh\n[ $$ -eq 1 ] || exit 100\nexec "$@"\n')
        (top / "init").chmod(0o755)
        # As s6-overlay begins: a chain in execline's language that ends in the scanner of services.
        (top / "overlay").mkdir()
        (top / "overlay/init").write_text(
            "#!/usr/bin/execlineb -P\nforeground { echo stage one }\n/usr/bin/s6-svscan /service\n"
        )
        (top / "overlay/init").chmod(0o755)
        for directory, name in (("service/app", "run"), ("sv/app", "run")):
            (top / directory).mkdir(parents=True)
            (top / directory / name).write_text("#!/bin/sh\nexec sh /app\n")
            (top / directory / name).chmod(0o755)
        (top / "app").write_text("echo up; trap 'echo down; exit' TERM; while :; do sleep 0.1; done\n")
        (top / "etc/inittab").write_text("::sysinit:/bin/sh /app\n::shutdown:/bin/true\n")
        (top / "supervisord.conf").write_text(
            "[supervisord]\nnodaemon=true\nuser=root\nlogfile=/dev/null\nlogfile_maxbytes=0\n"
            "[program:app]\ncommand=sh /app\nstdout_logfile=/dev/stdout\nstdout_logfile_maxbytes=0\n"
        )
        yield top


def until(output: Path, word: str) -> str:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        text = output.read_text()
        if word in text:
            return text
        time.sleep(0.05)
    return output.read_text()


def start(root: Path, argv: tuple[str, ...], word: str, init: Init = Init.AUTO, record: bool = True) -> tuple[str, str]:
    """What a command prints until a word comes, and what a later one sees of process 1."""
    options = SessionOptions(root=str(root), record=record, init=init)
    with Session.start(options) as session, tempfile.NamedTemporaryFile() as out, tempfile.TemporaryFile() as later:
        session.spawn(Command(argv, ENV), stdout=out.fileno(), stderr=out.fileno())
        text = until(Path(out.name), word)
        second = session.spawn(
            Command(("sh", "-c", "cat /proc/1/comm; kill -0 1 && echo same"), ENV), stdout=later.fileno(), stderr=2
        )
        assert second.wait(20) is not None
        later.seek(0)
        seen = later.read().decode()
        session.stop(signal.SIGTERM, 3)
        assert not session.busy()
        outcome = session.finish()
        if outcome.recording is not None:
            paths = {each.path for each in outcome.recording.accesses}
            assert os.path.realpath(f"{root}{argv[0]}").removeprefix(str(root)) in paths or argv[0] in paths
        return text, seen


@pytest.mark.parametrize(
    ("argv", "word", "comm"),
    [
        (("/init", "sh", "-c", f"{SHOW}{WAIT}"), "me 1 ", "sh"),
        (("/usr/bin/s6-svscan", "/service"), "up", "s6-svscan"),
        (("/overlay/init",), "up", "s6-svscan"),
        (("/usr/bin/runsvdir", "/sv"), "up", ""),
        (("/usr/bin/tini", "--", "sh", "/app"), "up", "tini"),
        (("/usr/bin/dumb-init", "sh", "/app"), "up", "dumb-init"),
        (("/bin/busybox", "init"), "up", "busybox"),
        (("/usr/bin/supervisord", "-c", "/supervisord.conf"), "up", ""),
    ],
    ids=lambda value: os.path.basename(value[0]) if isinstance(value, tuple) else "",
)
def test_it_is_process_1_for_all_that_runs_there(root: Path, argv: tuple[str, ...], word: str, comm: str) -> None:
    text, seen = start(root, argv, word)
    assert word in text
    assert "as pid 1" not in text
    if comm:
        assert seen.split()[0] in (comm, "init")


def test_an_ordinary_user_has_it_too(root: Path) -> None:
    own(root, NOBODY)
    try:
        text, seen = as_user(NOBODY, lambda: start(root, ("/init", "sh", "-c", f"{SHOW}{WAIT}"), "me 1 "))
    finally:
        own(root, 0)
    assert "me 1 sh -c" in text
    assert seen == "sh\nsame\n"


def test_it_can_be_asked_for_and_refused(root: Path) -> None:
    assert "me 1 /bin/sh" in start(root, ("/bin/sh", "-c", f"{SHOW}{WAIT}"), "me 1 ", Init.NONE, record=False)[0]
    with Session.start(SessionOptions(root=str(root), record=False, init=Init.SLIMMER)) as session:
        command = Command(("/init", "true"), ENV)
        assert session.spawn(command, stdout=2, stderr=2).wait(20) == 100


def test_orphans_come_to_it_and_all_end_with_it(root: Path) -> None:
    script = '(sleep 30 & echo orphan $!) ; sleep 0.2; cat /proc/*/stat | awk \'$2 == "(sleep)" {print "parent", $4}\''
    with Session.start(SessionOptions(root=str(root), record=False)) as session, tempfile.TemporaryFile() as out:
        command = Command(("/init", "sh", "-c", script), ENV)
        assert session.spawn(command, stdout=out.fileno(), stderr=out.fileno()).wait(20) == 0
        out.seek(0)
        assert "parent 1" in out.read().decode()
        assert not session.busy()
