"""Which recorder is used: asked for, probed at the start, and changed for a single command that refuses a listener."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.oracle.recorder_harness import record, wait
from tests.support import needs_root
from tracer.errors import TracerError
from tracer.kernel import seccomp
from tracer.kernel.bpf import RET_ALLOW
from tracer.recorder import service
from tracer.recorder.protocol import Choice, ServiceOptions

Start = Callable[..., service.RecorderProcess]


@pytest.fixture
def start() -> Iterator[Start]:
    """`service.start`, with an end."""
    with contextlib.ExitStack() as stack:

        def started(options: ServiceOptions | None = None) -> service.RecorderProcess:
            return stack.enter_context(contextlib.closing(service.start(options or ServiceOptions())))

        yield started


def _take_the_listener() -> None:
    """As a container runtime would: a listener for nothing, which there can only be one of."""
    seccomp.install(seccomp.filter_for(RET_ALLOW, ()), listener=True)


def test_notify_is_the_first_choice(start: Start, tmp_path: Path) -> None:
    running = start()
    assert running.recorder == "notify"
    assert running.explanation.startswith("notify")


def test_a_command_that_refuses_a_listener_is_traced() -> None:
    done = record(["/bin/cat", "/etc/hostname"], Choice.AUTO, before=_take_the_listener)
    assert done.code == 0
    assert done.recording.recorder == ("ptrace",)
    assert "/etc/hostname" in done.paths


def test_a_command_that_refuses_what_was_asked_for_is_not_run(tmp_path: Path) -> None:
    done = record(["/bin/cat", "/etc/hostname"], Choice.NOTIFY, before=_take_the_listener, output=f"{tmp_path}/o")
    assert done.code == 99
    message = (tmp_path / "o").read_text()
    assert "this command cannot be recorded" in message
    assert "a seccomp listener is already there" in message
    assert done.paths == frozenset()


def test_where_there_is_a_listener_already_the_start_chooses_ptrace(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        f"sys.path.insert(0, {os.getcwd()!r})\n"
        "from tests.oracle.test_recorder_is_chosen_by_what_the_kernel_allows import _take_the_listener\n"
        "from tracer.recorder import service\nfrom tracer.errors import TracerError\n"
        "from tracer.recorder.protocol import Choice, ServiceOptions\n"
        "_take_the_listener()\n"
        "running = service.start(ServiceOptions())\n"
        "print(running.recorder)\nprint(running.explanation)\nrunning.close()\n"
        "try: service.start(ServiceOptions(choice=Choice.NOTIFY))\nexcept TracerError as error: print(error.message)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    recorder, explanation, refusal = done.stdout.splitlines()
    assert recorder == "ptrace"
    assert "a seccomp listener is already there" in explanation
    assert refusal.startswith("recording by notify is not possible here")


def test_commands_of_both_kinds_are_recorded_together(start: Start, tmp_path: Path) -> None:
    """Several listeners and tracees at once, started and ended in any order."""
    running = start()
    pids = []
    for number in range(6):
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                if number % 2:
                    _take_the_listener()
                running.channel.arm()
                script = f"for i in 1 2 3 4 5; do test -e /n{number}-$i; sleep 0.02; done"
                os.execv("/bin/sh", ["sh", "-c", script])
            finally:
                os._exit(99)
        pids.append(pid)
        time.sleep(0.01 * (number % 3))
    assert [wait(pid, 20) for pid in pids] == [0] * 6
    recording = running.finish()
    paths = {access.path for access in recording.accesses}
    assert {f"/n{number}-{i}" for number in range(6) for i in range(1, 6)} <= paths
    assert recording.recorder == ("notify", "ptrace")


def test_arming_while_another_command_is_idle_takes_no_time(start: Start) -> None:
    """The service sleeps in the listener of the first; the second must not wait for it to do something."""
    running = start(ServiceOptions(choice=Choice.NOTIFY))
    taken = []
    sleeper = os.fork()
    if sleeper == 0:
        os.setsid()
        running.channel.arm()
        os.execv("/bin/sleep", ["sleep", "60"])
    time.sleep(0.3)
    for _ in range(10):
        begin = time.monotonic()
        pid = os.fork()
        if pid == 0:
            os.setsid()
            running.channel.arm()
            os.execv("/bin/true", ["true"])
        assert wait(pid, 10) == 0
        taken.append(time.monotonic() - begin)
    os.kill(sleeper, 9)
    os.waitpid(sleeper, 0)
    assert "/bin/true" in {access.path for access in running.finish().accesses}
    assert sorted(taken)[5] < 0.2


def test_a_service_that_was_killed_is_told(start: Start) -> None:
    running = start()
    os.kill(running.pid, 9)
    (said,) = running.finish().incomplete
    assert said.startswith("the recorder was killed (SIGKILL)")


def test_arming_without_a_service_fails_and_does_not_hang(start: Start, tmp_path: Path) -> None:
    running = start()
    os.kill(running.pid, 9)
    os.waitpid(running.pid, 0)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            running.channel.arm()
        except TracerError:
            code = 7
        finally:
            os._exit(code)
    assert wait(pid, 10) == 7


def test_count_grows_while_it_records(start: Start) -> None:
    running = start()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        running.channel.arm()
        os.execv("/bin/sh", ["sh", "-c", "i=0; while [ $i -lt 100 ]; do test -e /c$i; i=$((i+1)); done; sleep 0.6"])
    time.sleep(0.5)
    assert running.count() >= 100
    wait(pid, 10)
    running.finish()
    assert running.count() >= 100


@needs_root
@pytest.mark.skipif(not Path("/usr/lib64/ld-linux-x86-64.so.2").exists(), reason="/usr is not a root of its own here")
def test_paths_are_those_inside_the_recorded_root(start: Start) -> None:
    running = start()
    enter = "import os, time; os.chroot('/usr'); os.chdir('/'); print(flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", enter], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    running.recorded_root(holder.pid)
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            os.chroot("/usr")
            os.chdir("/")
            running.channel.arm()
            script = "test -e /share/doc; cd /share/..//share; test -e y; test -e ../../z; cd ..; test -e up"
            os.execve("/bin/sh", ["sh", "-c", script], {})
        finally:
            os._exit(99)
    assert wait(pid, 10) == 1
    recording = running.finish()
    holder.kill()
    holder.wait()
    holder.stdout.close()
    by = {access.path: access.by for access in recording.accesses}
    shell = os.path.realpath("/bin/sh").removeprefix("/usr")
    assert {by[path] for path in ("/share/doc", "/share/y", "/z", "/up")} == {frozenset({shell})}
    assert not [path for path in by if path.startswith("/usr/")]
    assert [(each.path, each.workdir) for each in recording.executions] == [("/bin/sh", "/")]


def test_a_root_that_cannot_be_seen_is_told(start: Start) -> None:
    running = start()
    with pytest.raises(TracerError, match="cannot see the root of process"):
        running.recorded_root(1 << 22)
