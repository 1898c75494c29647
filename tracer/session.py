"""Runs commands in a root, recorded or not: the one thing that `slimmer` starts processes with.

    caller ── keeper ── init or supervisor ── commands
       ├── recorder (service)
       └── wire: spawn, socket, drain, kill, …

The caller passes descriptors and gets exit statuses through pipes; whatever way it
ends, nothing of the tree survives it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType

from tracer.errors import TracerError
from tracer.kernel import userns
from tracer.options import Bind, Command, Identity, Isolation, Network, Outcome, SessionOptions
from tracer.recording import ENVIRONMENT, Execution
from tracer.runner import before_image, protocol, qemu
from tracer.runner.ending import end
from tracer.runner.port_forward import PortForward, forward
from tracer.runner.process import Process, pid_of
from tracer.runner.process_one import Init
from tracer.session_place import SessionPlace

__all__ = [
    "Bind",
    "Command",
    "Identity",
    "Init",
    "Isolation",
    "Network",
    "Outcome",
    "PortForward",
    "Process",
    "Session",
    "SessionOptions",
]


class Session(SessionPlace):
    """A context manager; make one with `start`."""

    @classmethod
    def start(cls, options: SessionOptions, beside: Session | None = None) -> Session:
        """Make the place to run commands in, in the network of `beside`. Raises TracerError; then nothing is left."""
        session = cls(options, beside)
        try:
            session._start()
        except BaseException:
            session.close()
            raise
        return session

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def spawn(self, command: Command, *, stdin: int | None = None, stdout: int, stderr: int) -> Process:
        """Start a command with these descriptors of the caller's (stdin None: /dev/null); recorded from its exec on.

        Raises TracerError when it cannot be executed; then nothing is left running.
        """
        if not command.argv:
            raise TracerError("the command is empty", "name a program and its arguments")
        request = command.request(in_place=self._options.in_place)
        reader, writer = os.pipe2(os.O_CLOEXEC)
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC) if stdin is None else -1
        try:
            answer, descriptors = self._ask(request, null if stdin is None else stdin, stdout, stderr, writer)
            answer.check()
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
            if null >= 0:
                os.close(null)
        handle = descriptors[0] if descriptors else -1
        pid = pid_of(handle) if handle >= 0 else answer.number if self._options.in_place else 0
        process = Process(reader, handle, pid)
        search = tuple(sorted(each for each in command.env.items() if each[0] in ENVIRONMENT))
        self._emulated += [Execution(path, command.workdir, search) for path in answer.paths]
        self._processes.append(process)
        self._commands.append(command.argv)
        return process

    def socket(self, family: int, kind: int) -> socket.socket:
        """An unconnected socket in the commands' network namespace: a probe runs in the caller over it."""
        if self._network:
            answer, descriptors = self._ask(protocol.OpenSocket(int(family), int(kind)))
            answer.check()
            return socket.socket(fileno=descriptors[0])
        return socket.socket(family, kind)

    def run_outside(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        stdin: bytes | None = None,
        workdir: str | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program of the host, on the host's files, in the commands' network namespace; not recorded.

        Once ports are published it runs in the caller's own network, where these are reached.

        Raises OSError when it cannot be started, subprocess.TimeoutExpired when it takes longer (it is killed).
        """
        return subprocess.run(
            list(argv),
            env=dict(env) if env is not None else None,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=timeout,
            cwd=workdir,
            preexec_fn=self._enter,
        )

    def start_outside(self, argv: Sequence[str], *, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
        """The same, as a process that goes on, and leads a process group. Raises OSError, SubprocessError."""
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            preexec_fn=self._enter,
            process_group=0,
        )

    def _enter(self) -> None:
        userns.enter(() if self._forwarder else self._network)

    def publish(self, forwards: Sequence[PortForward]) -> None:
        """From now on ports of the commands' network are reached from the caller's. Raises TracerError.

        It forks: before the caller's first thread.
        """
        self._forwarder = forward(forwards, self._network)

    def paths_seen(self) -> int:
        """Distinct paths recorded so far; cheap."""
        return self._service.count() if self._service else 0

    def alive(self) -> bool:
        """Whether commands can still run: the recorder and the process that starts them are there."""
        if self._wire is None:
            return False
        poll = select.poll()
        poll.register(self._wire.fileno(), 0)
        return not poll.poll(0)

    def busy(self) -> bool:
        """Whether anything still runs of what was started here, daemons that it left behind too."""
        try:
            return self._left(0)
        except protocol.Closed:
            return False

    def stop(self, signal_number: int = signal.SIGTERM, grace: float = 10.0) -> None:
        """End everything: the signal to the commands; after at most `grace` seconds SIGKILL to all that is left."""
        end(self._processes, lambda request: self._ask(request)[0].number, signal_number, grace)

    def _left(self, seconds: float) -> bool:
        return bool(self._ask(protocol.Drain(seconds))[0].number)

    def finish(self) -> Outcome:
        """What the session leaves; after `stop`. Raises TracerError when the recorder died or lost events."""
        writes: tuple[str, ...] = ()
        if self._copy:
            writes = self._copy.changes()
        elif not self._options.in_place:
            try:
                writes = self._ask(protocol.Writes())[0].check().paths
            except protocol.Closed:
                if self._service is None:
                    raise TracerError("the sandbox ended before its commands did", "was it killed?") from None
        reached = self._reached()
        recording = None
        if self._service:
            if self._options.calls is not None:
                return Outcome(None, writes=writes, calls=self._service.calls())
            recording = self._service.finish()
            problems = before_image.problems(self._saved) if self._options.in_place else ()
            if self._guest:
                recording = qemu.cleaned(recording, self._guest, self._emulator, self._emulated)
            recording = replace(
                recording,
                commands=tuple(sorted(set(self._commands))),
                incomplete=tuple(sorted({*recording.incomplete, *reached})),
                notes=tuple(sorted({*recording.notes, *problems, *self._options.loosened()})),
            )
        elif reached:
            raise TracerError("; ".join(reached), "what it would have done is not known")
        saved = before_image.load(self._saved) if self._options.in_place and self._service else {}
        return Outcome(recording, saved, writes)

    def _reached(self) -> tuple[str, ...]:
        """Which limits were in the way, for a person."""
        with contextlib.suppress(protocol.Closed):
            return self._limits.reached(full=bool(self._ask(protocol.Full())[0].number))
        return self._limits.reached(full=False)
