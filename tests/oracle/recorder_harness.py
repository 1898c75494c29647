"""Runs one command under a recorder, without a sandbox: the service, a fork, `arm`, exec."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tracer.recorder import service
from tracer.recorder.protocol import Choice, ServiceOptions
from tracer.recording import Recording

STOP_BASED = (Choice.NOTIFY, Choice.PTRACE)


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it: a wait status as an exit code, and the recording."""

    code: int
    recording: Recording

    @property
    def paths(self) -> frozenset[str]:
        return frozenset(access.path for access in self.recording.accesses)

    def kinds(self, path: str) -> set[str]:
        for access in self.recording.accesses:
            if access.path == path:
                return {kind.value for kind in access.kinds}
        return set()

    def by(self, path: str) -> set[str]:
        return {name for access in self.recording.accesses if access.path == path for name in access.by}


def record(
    argv: Sequence[str] | Callable[[], object],
    choice: Choice = Choice.AUTO,
    *,
    cwd: str | os.PathLike[str] = "/",
    env: Mapping[str, str] | None = None,
    options: ServiceOptions | None = None,
    before: Callable[[], None] | None = None,
    output: str = os.devnull,
    seconds: float = 60,
) -> Done:
    """Run a command, or a function in the forked child itself, and give its recording.

    `before` runs in the child before it is armed. Raises TracerError as `start` does, and
    TimeoutError when the command hangs (it is killed).
    """
    running = service.start(options or ServiceOptions(choice=choice))
    try:
        pid = os.fork()
        if pid == 0:
            _become(running, argv, cwd, env, before, output)
        code = wait(pid, seconds)
        return Done(code, running.finish())
    finally:
        running.close()


def wait(pid: int, seconds: float) -> int:
    """The exit code of a child (negative: a signal). Raises TimeoutError after killing its session."""
    deadline = time.monotonic() + seconds
    pause = 0.001
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise TimeoutError(f"process {pid} was still there after {seconds} s")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def _become(
    running: service.RecorderProcess,
    argv: Sequence[str] | Callable[[], object],
    cwd: str | os.PathLike[str],
    env: Mapping[str, str] | None,
    before: Callable[[], None] | None,
    output: str,
) -> None:
    """In the child."""
    code = 99
    try:
        os.setsid()
        os.chdir(cwd)
        null = os.open(os.devnull, os.O_RDONLY)
        out = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(null, 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.close(null)
        os.close(out)
        if before is not None:
            before()
        running.channel.arm()
        running.channel.close()
        if callable(argv):
            argv()
            code = 0
        else:
            os.execve(argv[0], list(argv), dict(os.environ if env is None else env))
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)
