"""Roots of other architectures: real Debian ones, run by qemu-user-static, recorded as if there were no qemu."""

from __future__ import annotations

import os
import platform
import signal
from pathlib import Path

import pytest

from tests.running import NOBODY, as_user, run
from tests.support import needs_root, requires, root_of
from tracer.errors import TracerError
from tracer.recording import Kind, Recording
from tracer.runner import qemu
from tracer.session import Command, Session, SessionOptions

pytestmark = [
    needs_root,
    requires("qemu-aarch64-static"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="names architectures that are foreign to x86-64"),
]
SCRIPT = "/bin/ls -d /etc/deb*; /usr/bin/id -u; /bin/cat /etc/missing; echo done"
HOST = Path("/proc/sys/fs/binfmt_misc")


def record(root: Path, architecture: str) -> tuple[str, Recording, str]:
    with Session.start(SessionOptions(root=str(root), architecture=architecture)) as session:
        status, said = run(session, "busybox", "sh", "-c", SCRIPT)
        session.stop(signal.SIGTERM, 1)
        recording = session.finish().recording
        assert status == 0, said
        assert recording is not None
        return said, recording, session.explanation


@pytest.mark.parametrize(
    ("architecture", "name", "loader", "suite"),
    [
        ("arm64", "aarch64", "/lib/ld-linux-aarch64.so.1", "bookworm"),
        ("armhf", "armv7l", "/lib/ld-linux-armhf.so.3", "bookworm"),
        ("riscv64", "riscv64", "/lib/ld-linux-riscv64-lp64d.so.1", "trixie"),  # the first release with it
        ("s390x", "s390x", "/lib/ld64.so.1", "bookworm"),
    ],
)
@pytest.mark.parametrize("uid", [0, NOBODY])
def test_the_recording_of_a_foreign_root_names_the_guests_paths_only(
    architecture: str, name: str, loader: str, suite: str, uid: int
) -> None:
    # base-files: since trixie only it brings /bin and /lib
    packages = ("coreutils", "busybox", *(("base-files",) if suite != "bookworm" else ()))
    root = root_of(*packages, architecture=architecture, variant="extract", suite=suite)
    if uid and not reachable(root, uid):
        pytest.skip("the fixtures' directory cannot be entered by other users")
    host = sorted(os.listdir(HOST)) if HOST.exists() else []

    def work() -> tuple[str, Recording, str]:
        return record(root, architecture)

    said, recording, explanation = as_user(uid, work) if uid else work()
    assert "registered in the sandbox alone" in explanation
    assert said.splitlines()[-1] == "done"
    assert "\n0\n" in said
    paths = {each.path: each.kinds for each in recording.accesses}
    assert Kind.EXEC in paths["/bin/ls"]
    assert Kind.EXEC in paths["/usr/bin/id"]
    assert paths[loader] == {Kind.READ}
    assert "/etc/missing" in paths
    assert {each.path for each in recording.executions} >= {"/bin/ls", "/bin/cat", "/usr/bin/id"}
    assert recording.architecture == name
    assert "qemu" not in recording.dump()
    assert (sorted(os.listdir(HOST)) if HOST.exists() else []) == host


def reachable(root: Path, uid: int) -> bool:
    return as_user(uid, lambda: os.access(root / "bin", os.X_OK | os.R_OK))


def test_without_a_binfmt_of_its_own_the_command_runs_by_the_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(1, "Operation not permitted", "binfmt_misc")

    monkeypatch.setattr(qemu, "register", refuse)
    monkeypatch.setattr(qemu, "registered", lambda _: False)
    root = root_of("coreutils", "busybox", architecture="arm64", variant="extract")
    with Session.start(SessionOptions(root=str(root), architecture="linux/arm64")) as session:
        assert run(session, "ls", "-d", "/etc") == (0, "/etc\n")
        with pytest.raises(TracerError, match="command not found in the root: nothing"):
            session.spawn(Command(("nothing",), {"PATH": "/bin"}), stdout=1, stderr=2)
        session.stop(signal.SIGTERM, 1)
        recording = session.finish().recording
        assert recording is not None
        assert "programs that it starts cannot run" in session.explanation
    paths = {each.path: each.kinds for each in recording.accesses}
    assert Kind.EXEC in paths["/bin/ls"]
    assert [each.path for each in recording.executions] == ["/bin/ls"]
    assert "qemu" not in recording.dump()


def test_what_is_missing_for_a_foreign_root_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TracerError, match="qemu-aarch64-static is needed") as caught:
        Session.start(SessionOptions(root=str(tmp_path), architecture="arm64", record=False))
    assert "install qemu-user-static" in caught.value.hint
    with pytest.raises(TracerError, match="cannot be executed: /nowhere"):
        Session.start(SessionOptions(root=str(tmp_path), architecture="arm64", qemu="/nowhere", record=False))
    with pytest.raises(TracerError, match="needs libraries"):
        Session.start(SessionOptions(root=str(tmp_path), architecture="arm64", qemu="/bin/sh", record=False))
    with pytest.raises(TracerError, match="no such architecture: vax"):
        Session.start(SessionOptions(root=str(tmp_path), architecture="vax", record=False))
