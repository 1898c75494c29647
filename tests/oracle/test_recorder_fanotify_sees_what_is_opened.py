"""The fanotify recorder and `watch`, on real files: what they must see, and what they may not count in."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.oracle.recorder_harness import record
from tests.support import needs_root, plant, requires
from tracer.errors import TracerError
from tracer.recorder.access_log import AccessLog
from tracer.recorder.command_tree import CommandTree
from tracer.recorder.fanotify import Watcher, probe
from tracer.recorder.protocol import Choice
from tracer.recording import Kind, Recording
from tracer.watch import watch


def _possible() -> bool:
    try:
        probe()
    except TracerError:
        return False
    return True


pytestmark = [needs_root, pytest.mark.skipif(not _possible(), reason="the kernel refuses fanotify here")]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return plant(
        tmp_path / "root",
        {
            "/bin/run": '#755 #!/bin/sh\ncd "$1/data" && cat read > /dev/null && ls > /dev/null && echo x > written\n',
            "/data/read": "r",
            "/data/unread": "u",
            "/data/written": "w",
            "/data/looked-at": "l",
        },
    )


@pytest.fixture
def overlay(tree: Path, tmp_path: Path) -> Iterator[Path]:
    for name in ("upper", "work", "merged"):
        (tmp_path / name).mkdir()
    merged = tmp_path / "merged"
    options = f"lowerdir={tree},upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    done = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(merged)], capture_output=True)
    if done.returncode:
        pytest.skip(f"no overlay can be mounted here: {done.stderr.decode()}")
    yield merged
    subprocess.run(["umount", "-l", str(merged)], check=True)


def _watched(root: Path, work: Callable[[], object]) -> Recording:
    """Watch a directory while something happens in it."""
    ready = threading.Event()
    done = threading.Event()

    def later() -> None:
        ready.wait()
        time.sleep(0.15)
        try:
            work()
        finally:
            time.sleep(0.15)
            done.set()

    thread = threading.Thread(target=later)
    thread.start()

    def stop() -> bool:
        ready.set()
        return done.is_set()

    try:
        return watch(str(root), 20, stop)
    finally:
        ready.set()
        thread.join()


def _check(recording: Recording) -> None:
    kinds = {access.path: access.kinds for access in recording.accesses}
    assert kinds["/data/read"] == {Kind.READ}
    assert Kind.EXEC in kinds["/bin/run"]
    assert Kind.WRITE in kinds["/data/written"]
    assert kinds["/data"] == {Kind.LIST}
    assert "/data/unread" not in kinds
    assert "/data/looked-at" not in kinds
    assert [each.path for each in recording.executions] == ["/bin/run"]
    assert recording.recorder == ("fanotify",)


def test_a_directory_is_watched_by_names_of_its_files(tree: Path) -> None:
    _check(_watched(tree, lambda: subprocess.run([tree / "bin/run", tree], check=True)))


def test_an_overlay_is_watched_by_descriptors(overlay: Path) -> None:
    _check(_watched(overlay, lambda: subprocess.run([overlay / "bin/run", overlay], check=True)))


def test_known_files_are_not_told_again(tree: Path) -> None:
    watcher = Watcher(AccessLog(), reads=True)
    watcher.watch_directory(str(tree))
    try:
        subprocess.run(["cat", tree / "data/read"], check=True, capture_output=True)
        assert watcher.read() > 0
        watcher.read()
        # Many more than what others on the machine may open meanwhile: the mark is on the whole mount.
        script = f"import os\nfor i in range(9000): f = os.open('{tree}/data/read', 0); os.read(f, 9); os.close(f)"
        subprocess.run(["/usr/bin/python3", "-I", "-S", "-c", script], check=True)
        told = watcher._log.processes.programs
        assert watcher.read() < 9000
        assert sum(b"/data/read" in scope for each in told.values() for scope in each.scopes.values()) == 1
    finally:
        watcher.close()


def test_a_process_is_watched_by_its_root(tree: Path) -> None:
    inside = subprocess.Popen(["unshare", "-m", "sh", "-c", "sleep 1.2; cat /etc/hostname > /dev/null; sleep 5"])
    try:
        recording = watch(inside.pid, 2.0)
    finally:
        inside.kill()
        inside.wait()
    found = {access.path: access for access in recording.accesses}
    assert Kind.READ in found["/etc/hostname"].kinds


def test_what_cannot_be_watched_is_told(tmp_path: Path) -> None:
    with pytest.raises(TracerError, match="no directory to watch"):
        watch(str(tmp_path / "nothing"), 1)
    with pytest.raises(TracerError, match="no process"):
        watch(1 << 22, 1)


def test_only_the_tree_of_the_command_counts() -> None:
    tree = CommandTree()
    child = subprocess.Popen(["sleep", "9"])
    try:
        assert os.getpid() not in tree
        tree.add(child.pid)
        assert child.pid in tree
        assert 1 not in tree  # it has no parent at all
    finally:
        child.kill()
        child.wait()


_SHORT_LIVES = """
import os
for _ in range(3000):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.write(1, child.to_bytes(4, "little"))
    os.waitpid(child, 0)
"""


def test_processes_that_are_just_ending_are_of_the_command() -> None:
    """While a process is reaped the kernel gives it no parent: read at that moment, it is no stranger."""
    tree = CommandTree()
    strangers = 0
    with subprocess.Popen(["/usr/bin/python3", "-I", "-S", "-c", _SHORT_LIVES], stdout=subprocess.PIPE) as starter:
        tree.add(starter.pid)
        assert starter.stdout is not None
        while number := starter.stdout.read(4):
            before = tree.unseen
            while tree.unseen == before and not strangers:
                strangers += int.from_bytes(number, "little") not in tree
                tree.tick()
    assert strangers == 0


@pytest.mark.parametrize("choice", [Choice.FANOTIFY, Choice.FANOTIFY_NOTIFY], ids=lambda choice: choice.value)
def test_a_command_is_recorded(choice: Choice, tree: Path) -> None:
    done = record([str(tree / "bin/run"), str(tree)], choice, cwd=tree)
    assert done.code == 0
    assert "read" in done.kinds(f"{tree}/data/read")
    assert "write" in done.kinds(f"{tree}/data/written")
    assert f"{tree}/bin/run" in {each.path for each in done.recording.executions}
    assert done.recording.recorder == (("fanotify",) if choice is Choice.FANOTIFY else ("fanotify", "notify"))
    # Only the kernel opens the ELF interpreter, so that notify alone does not see it.
    assert any("/ld-" in path or "/ld.so" in path for path in done.paths)


@requires("strace")
def test_every_file_that_was_opened_is_seen(tmp_path: Path) -> None:
    """Against notify, in one run: what notify saw opened and is there, fanotify saw as well."""
    done = record(["/usr/bin/python3", "-c", "import json, email, decimal"], Choice.FANOTIFY, cwd="/")
    whole = record(["/usr/bin/python3", "-c", "import json, email, decimal"], Choice.NOTIFY, cwd="/")
    opened = {
        os.path.realpath(access.path)
        for access in whole.recording.accesses
        if {Kind.READ, Kind.LIST} & access.kinds and os.path.exists(access.path)
    }
    opened = {path for path in opened if not path.startswith(("/proc/", "/sys/", "/dev/"))}
    assert len(opened) > 30
    assert opened - done.paths == set()
