"""Programs that are executed again and again: what differs between two executions is never taken for a repetition."""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path

import pytest

from tests.oracle.recorder_harness import STOP_BASED, Done, record
from tracer.recorder.processes import Processes
from tracer.recorder.protocol import Choice
from tracer.recorder.tracee import Program

both = pytest.mark.parametrize("choice", STOP_BASED, ids=lambda choice: choice.value)
TRUE = os.path.realpath("/bin/true")


def _shell(script: str, choice: Choice, work: Path) -> Done:
    done = record(["/bin/sh", "-c", script], choice, cwd=work, env={"LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"})
    assert done.code == 0
    return done


def _executed(done: Done, path: str) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    return {(each.workdir, each.environment) for each in done.recording.executions if each.path == path}


@both
def test_every_environment_is_noted(choice: Choice, tmp_path: Path) -> None:
    done = _shell(
        "i=0; while [ $i -lt 30 ]; do for p in a b c; do PYTHONPATH=/$p NOISE=$i /bin/true; done; /bin/true; "
        "i=$((i+1)); done; LD_LIBRARY_PATH=/late /bin/true",
        choice,
        tmp_path,
    )
    seen = {dict(environment).get("PYTHONPATH") for _, environment in _executed(done, "/bin/true")}
    assert seen == {"/a", "/b", "/c", None}
    assert "/late" in {dict(environment).get("LD_LIBRARY_PATH") for _, environment in _executed(done, "/bin/true")}
    assert {dict(environment)["LANG"] for _, environment in _executed(done, "/bin/true")} == {"C.UTF-8"}


@both
@pytest.mark.parametrize("directory", ["", "cd /usr; "])
def test_a_repeated_exec_is_not_looked_into_again(
    choice: Choice, directory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in the recorder's own process, to which the patched method comes by fork."""
    asked, program_of = mmap.mmap(-1, 8), Processes.program_of

    def counting(self: Processes, tid: int) -> Program:
        asked[:8] = (int.from_bytes(asked[:8], "little") + 1).to_bytes(8, "little")
        return program_of(self, tid)

    monkeypatch.setattr(Processes, "program_of", counting)
    done = _shell(f"{directory}i=0; while [ $i -lt 300 ]; do /bin/true; i=$((i+1)); done", choice, tmp_path)
    assert len(_executed(done, "/bin/true")) == 1
    assert int.from_bytes(asked[:8], "little") < 300  # of 600: each child before and after its exec


@both
def test_every_directory_is_noted(choice: Choice, tmp_path: Path) -> None:
    done = _shell(
        "loop() { i=0; while [ $i -lt 20 ]; do /bin/true; i=$((i+1)); done; }\n"
        "loop; (cd /usr && loop); (cd /etc && /bin/true); cd /var && loop",
        choice,
        tmp_path,
    )
    assert {workdir for workdir, _ in _executed(done, "/bin/true")} == {str(tmp_path), "/usr", "/etc", "/var"}


@both
def test_relative_names_mean_what_lies_in_the_directory_of_the_moment(choice: Choice, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tool").symlink_to("/bin/true")
    done = _shell(
        "loop() { i=0; while [ $i -lt 20 ]; do ./tool; i=$((i+1)); done; }\n(cd one && loop); cd two && loop",
        choice,
        tmp_path,
    )
    executed = {each.path for each in done.recording.executions}
    assert {f"{tmp_path}/one/tool", f"{tmp_path}/two/tool"} <= executed


@both
def test_what_ran_is_named_for_programs_scripts_and_what_fails(choice: Choice, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\ntest -e /by/script\n")
    script.chmod(0o755)
    (tmp_path / "nothing").write_text("not a program")
    (tmp_path / "nothing").chmod(0o755)
    done = _shell(
        "i=0; while [ $i -lt 20 ]; do ./script; cat /by/cat; missing-program; ./nothing; test -e /by/loop; "
        "i=$((i+1)); done 2>/dev/null; true",
        choice,
        tmp_path,
    )
    shell, cat = os.path.realpath("/bin/sh"), os.path.realpath("/bin/cat")
    assert (done.by("/by/script"), done.by("/by/cat"), done.by("/by/loop")) == ({shell}, {cat}, {shell})
    assert {"/usr/bin/missing-program", "/bin/missing-program"} <= done.paths
    executed = {each.path for each in done.recording.executions}
    assert f"{tmp_path}/script" in executed
    assert not {path for path in executed if path.endswith("/missing-program")}


@both
def test_a_long_environment_is_read_to_its_end(choice: Choice, tmp_path: Path) -> None:
    filler = {f"FILLER_{i}": "x" * (i % 90) for i in range(700)}
    environment = {**filler, "BIG": "y" * 100_000, "PYTHONPATH": "/last", "PATH": "/usr/bin:/bin"}
    loop = "i=0; while [ $i -lt 10 ]; do /bin/true; i=$((i+1)); done"
    done = record(["/bin/sh", "-c", loop], choice, cwd=tmp_path, env=environment)
    assert done.code == 0
    assert {dict(environment)["PYTHONPATH"] for _, environment in _executed(done, "/bin/true")} == {"/last"}


@both
def test_the_root_of_a_process_is_asked_again_after_a_chroot(choice: Choice, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to change the root")
    jail = tmp_path / "jail"
    jail.mkdir()
    script = (
        "import os\nfor i in range(20): os.path.exists('/before')\n"
        f"if os.fork() == 0:\n    os.chroot({str(jail)!r}); os.chdir('/'); os.path.exists('/inside')\n"
        "    os.path.exists('near'); os._exit(0)\n"
        "os.wait(); os.path.exists('/outside')\n"
    )
    done = record([sys.executable, "-I", "-S", "-c", script], choice, cwd=tmp_path)
    assert done.code == 0
    assert {"/before", f"{jail}/inside", f"{jail}/near", "/outside"} <= done.paths
    assert not {"/inside", f"{jail}/outside"} & done.paths
