"""`slim trace --run …` in the live root: what the run changes is packed as it was, and nothing of slimmer's own is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.machine import HOME, SLIM, Machine, install, same_python
from tests.support import needs_root, plant, requires, root_of

pytestmark = [needs_root, requires("mmdebstrap"), same_python]

CHANGES = """#!/bin/sh
cd /srv/work
cat appended truncated renamed removed dir/inside late
echo more >>appended
: >truncated
mv renamed elsewhere
rm removed
mv dir moved
echo new >created
mkdir made
echo y >made/file
chmod 600 late
cat made/file created elsewhere moved/inside >/dev/null
date +%N
"""
SERVES = """#!/bin/sh
trap 'cat /srv/work/at-the-end; echo stopped; exit 0' TERM
trap 'echo interrupted; exit 5' INT
cat /srv/work/late
echo up
while :; do sleep 0.1; done
"""
DEAF = """#!/bin/sh
trap '' TERM INT
echo up
while :; do sleep 0.1; done
"""
FORKS = """#!/bin/sh
echo main
setsid sh -c 'sleep 0.5; cat /srv/work/late >/dev/null; echo $$ >/srv/work/daemon' >/dev/null 2>&1 &
"""
STAYS = """#!/bin/sh
setsid sh -c 'cat /srv/work/late >/dev/null; while :; do sleep 0.1; done' >/dev/null 2>&1 &
"""
BEFORE = {name: f"{name} before\n" for name in ("appended", "truncated", "renamed", "removed", "dir/inside", "late")}


@pytest.fixture(scope="module")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tool")
    install(place)
    return place


@pytest.fixture
def machine(tmp_path: Path, tool: Path) -> Machine:
    made = Machine(tmp_path / "machine", root_of("python3"), tool)
    programs = {"changes": CHANGES, "serves": SERVES, "forks": FORKS, "stays": STAYS}
    plant(made.changes / "srv/work", {**BEFORE, "at-the-end": "end\n", "unused": "u\n", "tmp/x": "x\n"})
    plant(made.changes / "srv/bin", {name: f"#755 {text}" for name, text in programs.items()})
    return made


def paths(out: Path, name: str = "manifest.json") -> dict[str, dict[str, object]]:
    return {row["path"]: row for row in json.loads((out / name).read_text())["paths"]}


@pytest.mark.parametrize(("user", "keep"), [(0, "recorded"), (0, "reachable"), (1000, "reachable")])
def test_changed_files_are_packed_as_they_were_and_new_ones_are_not(user: int, keep: str, machine: Machine) -> None:
    work = machine.changes / "srv/work"
    subprocess.run(["chown", "-R", f"{user}:{user}", work], check=True)
    before = {name: (work / name).stat() for name in BEFORE}
    places = ("-o", "/srv/work/out", "--rootfs", "/srv/work/tree", "--archive", "/srv/work/image.tar")
    words = ("trace", "--run", "/srv/bin/changes", *places, "--keep", keep)
    said = machine.run(*SLIM, *words, user=user, env={"TMPDIR": "/srv/work/tmp"}).stderr
    tree = work / "tree/srv/work"
    assert {name: (tree / name).read_text() for name in BEFORE} == BEFORE
    for name, status in before.items():
        packed = (tree / name).stat()
        assert (packed.st_mode, packed.st_uid, int(packed.st_mtime)) == (
            status.st_mode,
            status.st_uid,
            int(status.st_mtime),
        ), name
    found = {str(each.relative_to(tree)) for each in tree.rglob("*")}
    if keep == "recorded":
        assert found == {*BEFORE, "dir"}
    assert (work / "appended").read_text() == "appended before\nmore\n", "the run itself is done once, for real"
    manifest, removed = paths(work / "out"), paths(work / "out", "removed.json")
    assert ("/srv/work/unused" in removed) == (keep == "recorded")
    for own in ("/srv/work/tree", "/srv/work/out", f"{HOME}/lib", "/srv/work/image.tar", "/srv/work/tmp/slim"):
        assert not any(path.startswith(own) for path in manifest), own
    for new in ("created", "made", "made/file", "elsewhere", "moved", "moved/inside"):
        assert f"/srv/work/{new}" not in manifest
        assert f"/srv/work/{new}" not in removed
    assert "passed: 2 of 2 comparisons equal" in said, said
    assert sorted(each.name for each in (work / "tmp").iterdir()) == ["x"]
    assert not [each.name for each in work.iterdir() if each.name.startswith(".")]


def inside(process: subprocess.Popen[bytes]) -> int:
    """The outer number of the machine's first process."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if children:
            return int(children[0])
        time.sleep(0.01)
    raise AssertionError("it did not start")


def until(process: subprocess.Popen[bytes], text: bytes) -> bytes:
    """Read stderr until a text came."""
    assert process.stderr is not None
    said = b""
    while text not in said:
        more = os.read(process.stderr.fileno(), 4096)
        assert more, said
        said += more
    return said


def to_the_tool(process: subprocess.Popen[bytes]) -> None:
    os.kill(inside(process), signal.SIGINT)


def to_the_group(process: subprocess.Popen[bytes]) -> None:
    """As a terminal does."""
    os.killpg(process.pid, signal.SIGINT)


@pytest.mark.parametrize("send", [to_the_tool, to_the_group])
def test_the_first_interrupt_ends_the_run_and_goes_on_to_the_image(
    send: Callable[[subprocess.Popen[bytes]], None], machine: Machine
) -> None:
    words = ("trace", "--run", "/srv/bin/serves", "-o", "/srv/work/out", "--json")
    process = machine.popen([*SLIM, *words], start_new_session=True)
    until(process, b"up\n")
    send(process)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert b"stopped" in said
    assert b"interrupted" not in said, "the application is ended by its stop signal, not by the terminal's"
    assert json.loads(out)["check"] == "passed"
    check = json.loads((machine.changes / "srv/work/out/check.json").read_text())
    assert [(row["fat"], row["slim"]) for row in check["comparisons"]] == [("ran until Ctrl-C", "runs on")]
    assert {"/srv/work/late", "/srv/work/at-the-end"} <= set(paths(machine.changes / "srv/work/out"))


@pytest.mark.parametrize("send", [to_the_tool, to_the_group])
def test_the_second_interrupt_aborts_and_leaves_nothing(
    send: Callable[[subprocess.Popen[bytes]], None], machine: Machine
) -> None:
    plant(machine.changes / "srv/bin", {"deaf": f"#755 {DEAF}"})
    words = ("trace", "--run", "/srv/bin/deaf", "--grace", "30", "-o", "/srv/work/out")
    process = machine.popen([*SLIM, *words], start_new_session=True)
    until(process, b"up\n")
    send(process)
    until(process, b"stopping")
    began = time.monotonic()
    send(process)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert time.monotonic() - began < 10
    assert b"slim: interrupted\n  nothing was published\n" in said
    assert b"Traceback" not in said
    assert not [each.name for each in (machine.changes / "srv/work").iterdir() if "out" in each.name]


def test_what_a_daemon_reads_after_its_parent_has_ended_counts(machine: Machine) -> None:
    machine.run(*SLIM, "trace", "--run", "/srv/bin/forks", "-o", "/srv/work/out")
    manifest = paths(machine.changes / "srv/work/out")
    assert "/srv/work/late" in manifest
    assert "/srv/work/daemon" not in manifest


def test_a_daemon_that_stays_is_ended_with_the_run(machine: Machine) -> None:
    began = time.monotonic()
    machine.run(*SLIM, "trace", "--run", "/srv/bin/stays", "--for", "1", "-o", "/srv/work/out")
    assert time.monotonic() - began < 30
    assert "/srv/work/late" in paths(machine.changes / "srv/work/out")


def test_where_no_sandbox_can_be_made_the_image_is_written_and_the_check_says_why_not(machine: Machine) -> None:
    forbid = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'
    nested = ("unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c", forbid, "sh")
    drop = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs")
    subprocess.run(["chown", "-R", "1000:1000", machine.changes / "srv/work"], check=True)
    words = ("trace", "--run", "cat /srv/work/late", "-o", "/srv/work/out")
    said = machine.run(*nested, *drop, *SLIM, *words, user=1000, env={"HOME": "/srv/work"}).stderr
    check = next(line for line in said.splitlines() if line.lstrip().startswith("check "))
    assert "not performed: the slim image cannot be run here: " in check
    assert "max_user_namespaces" in check
    assert json.loads((machine.changes / "srv/work/out/check.json").read_text())["verdict"] == "not performed"
