"""Runs in the live root, in a chroot, and all of it inside an ordinary container."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import ENV, NOBODY, as_user, photograph, readable_directory, run, small_root
from tests.support import needs_root, requires, root_of
from tracer.errors import TracerError
from tracer.kernel import filters, userns
from tracer.kernel.bpf import op
from tracer.runner import before_image
from tracer.session import Bind, Command, Isolation, Outcome, Session, SessionOptions

pytestmark = needs_root
HERE = SessionOptions(root="/", in_place=True)
PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def place() -> Iterator[Path]:
    with readable_directory() as directory:
        yield directory


def change(place: Path) -> tuple[str, Outcome, dict[str, str | None]]:
    """A recorded run in the live root that changes files of a directory; what it said, what was recorded, and the
    contents that `saved` holds."""
    script = f"cd {place}; id -u; cat kept; echo after >changed; rm gone; mv dir moved; echo x >new; ln -s kept link"
    with Session.start(HERE) as session:
        status, said = run(session, "sh", "-c", script)
        assert status == 0, said
        session.stop(signal.SIGTERM, 1)
        outcome = session.finish()
        kept = {
            os.path.relpath(path, place): saved.content.read_text() if saved and saved.content else None
            for path, saved in outcome.saved.items()
            if path.startswith(f"{place}/")
        }
    return said, outcome, kept


@pytest.mark.parametrize("uid", [0, NOBODY])
def test_the_state_before_the_run_is_kept_for_root_and_for_a_user(place: Path, uid: int) -> None:
    (place / "dir").mkdir()
    for name in ("kept", "changed", "gone", "dir/inside"):
        (place / name).write_text(f"{name} before\n")
    for path in (place, place / "dir", *place.iterdir(), place / "dir/inside"):
        os.chown(path, uid, uid)
    said, outcome, saved = change(place) if uid == 0 else as_user(uid, lambda: change(place))
    assert said == f"{uid}\nkept before\n"
    assert saved == {
        "changed": "changed before\n",
        "gone": "gone before\n",
        "dir": None,
        "dir/inside": "dir/inside before\n",
        "moved": None,
        "moved/inside": None,
        "new": None,
        "link": None,
    }
    assert outcome.saved[f"{place}/dir"] is not None
    assert outcome.saved[f"{place}/moved"] is None
    assert isinstance(outcome.saved[f"{place}/gone"], before_image.BeforeImage)
    assert outcome.recording is not None
    assert outcome.recording.commands[0][0] == "sh"
    assert f"{place}/kept" in {each.path for each in outcome.recording.accesses}


def test_what_cannot_be_had_in_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TracerError, match="only the live root"):
        Session.start(SessionOptions(root=str(tmp_path), in_place=True))
    with pytest.raises(TracerError, match="nothing can be mounted"):
        Session.start(SessionOptions(root="/", in_place=True, binds=(Bind("/etc", "/x"),)))


def test_without_namespaces_the_switch_and_what_still_works_are_named(place: Path) -> None:
    """A seccomp filter stands in for a container's: it refuses unshare(2) as docker's default profile does."""
    root = small_root(place / "root")

    def work() -> str:
        refuse_unshare()
        with pytest.raises(TracerError) as caught:
            Session.start(SessionOptions(root=str(root), record=False))
        return str(caught.value)

    said = as_user(NOBODY, work)
    assert "cannot make the namespaces of a sandbox: [Errno 1] Operation not permitted" in said
    assert "still works in place" in said


def refuse_unshare() -> None:
    number = {"x86_64": 272, "aarch64": 97}[os.uname().machine]
    filters.install(
        b"".join(
            (
                op(0x20, 0),
                op(0x15, number, 0, 1),
                op(0x06, 0x00050000 | 1),
                op(0x06, 0x7FFF0000),
            )
        )
    )
    userns._refused.cache_clear()


def test_root_without_namespaces_runs_in_a_chroot_on_a_copy(place: Path) -> None:
    root = small_root(place / "root")
    (root / "run").mkdir()
    before = photograph(root)
    (place / "secret").write_text("token\n")

    def work() -> tuple[str, tuple[str, ...], bool, str]:
        refuse_unshare()
        os.setgroups([5])
        binds = (Bind(str(place / "secret"), "/run/secret"),)
        with Session.start(SessionOptions(root=str(root), binds=binds)) as session:
            said = run(
                session, "sh", "-c", "cat /run/secret /etc/hostname; rm /etc/group; echo x >/new; ls /proc; pwd"
            )[1]
            with pytest.raises(TracerError, match="command not found in the root: nothing"):
                session.spawn(Command(("nothing",), ENV), stdout=1, stderr=2)
            session.stop(signal.SIGTERM, 1)
            outcome = session.finish()
        assert outcome.recording is not None
        recorded = "/run/secret" in {each.path for each in outcome.recording.accesses}
        return said, outcome.writes, recorded, session.explanation

    said, writes, recorded, explanation = as_user(0, work)
    assert said == "token\nslimmer\n/\n"
    assert writes == ("/etc/group", "/new")
    assert recorded
    assert "namespaces are refused" in explanation
    assert "no /proc" in explanation
    assert {name: each[:6] for name, each in photograph(root).items()} == {
        name: each[:6] for name, each in before.items()
    }


def test_a_chroot_can_be_asked_for_and_copies_hard_links_holes_and_odd_files(place: Path) -> None:
    root = small_root(place / "root")
    (root / "hard").hardlink_to(root / "etc/passwd")
    with (root / "sparse").open("wb") as stream:
        stream.truncate(1 << 30)
    os.mkfifo(root / "pipe", 0o640)
    os.chown(root / "etc/group", 7, 8)
    options = SessionOptions(root=str(root), record=False, isolation=Isolation.CHROOT)
    with Session.start(options) as session:
        said = run(session, "stat", "-c", "%F %a %u %g %h %s", "/hard", "/sparse", "/pipe", "/etc/group")[1]
        session.stop(signal.SIGTERM, 1)
        assert session.finish().writes == ()
    size = (root / "etc/passwd").stat().st_size
    assert said.splitlines()[:3] == [
        f"regular file 644 0 0 2 {size}",
        f"regular file 644 0 0 1 {1 << 30}",
        "fifo 640 0 0 1 0",
    ]
    assert " 7 8 " in said.splitlines()[3]


IN_A_CONTAINER = """
import sys
from tracer.session import *
from tests.running import ENV, run
if sys.argv[1] == "in place":
    options = SessionOptions(root="/", in_place=True)
else:
    options = SessionOptions(root="/slim")
with Session.start(options) as session:
    status, said = run(session, "sh", "-c", "echo $$ >/var/tmp/out; id -u; ls /etc >/dev/null; (setsid sleep 1000 &)")
    session.stop(15, 0.2)
    outcome = session.finish()
    print(status, said.strip(), outcome.recording.recorder, len(outcome.recording.accesses) > 10)
"""


@requires("podman", "runc")
@pytest.mark.parametrize("uid", [0, 1000])
@pytest.mark.parametrize("way", ["in place", "sandbox"])
def test_it_works_in_an_ordinary_container(place: Path, uid: int, way: str) -> None:
    """Default seccomp profile, default capabilities, as root and as another user."""
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    slim = small_root(place / "slim")
    (slim / "var/tmp").mkdir(mode=0o777)
    (slim / "var/tmp").chmod(0o1777)
    command = (
        "podman --runtime runc run --rm --network=none --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 "
        f"--user {uid} -v {packages}:/packages:ro -v {PROJECT}:/project:ro -v {slim}:/slim:ro "
        f"-e PYTHONPATH=/packages:/project -e PYTHONDONTWRITEBYTECODE=1 --rootfs {root_of('python3')}:O python3 -c"
    )
    done = subprocess.run([*command.split(), IN_A_CONTAINER, way], capture_output=True, text=True, timeout=60)
    shown = uid if way == "in place" else 0
    assert done.stdout == f"0 {shown} ('notify',) True\n", done.stderr
