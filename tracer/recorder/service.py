"""Starts the recorder process and talks to it: the implementation of `tracer.recorder.protocol`.

The service is a fork of its caller (no exec: it is there in a millisecond) and dies with it.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import platform
import signal
import socket
import sys

from tracer.errors import TracerError
from tracer.recorder import notify
from tracer.recorder.access_log import Collected, accesses, executions, recovered
from tracer.recorder.channel import GO, FilterChannel, Method
from tracer.recorder.custody import Custody
from tracer.recorder.journal import Journal
from tracer.recorder.protocol import Choice, ServiceOptions
from tracer.recorder.server import serve
from tracer.recording import Recording

__all__ = ["FilterChannel", "RecorderProcess", "start"]


class RecorderProcess:
    """The recorder process, as its parent sees it."""

    def __init__(
        self,
        pid: int,
        recorder: str,
        explanation: str,
        channel: FilterChannel,
        control: socket.socket,
        counter: mmap.mmap,
        journal: Journal,
        custody: Custody,
    ) -> None:
        self._journal = journal
        self._custody = custody
        self._pid = pid
        self._recorder = recorder
        self._explanation = explanation
        self._channel = channel
        self._control = control
        self._counter = counter
        self._reaped = False
        self._calls: frozenset[tuple[int, int]] = frozenset()

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def recorder(self) -> str:
        return self._recorder

    @property
    def explanation(self) -> str:
        return self._explanation

    @property
    def channel(self) -> FilterChannel:
        return self._channel

    def calls(self) -> frozenset[tuple[int, int]]:
        """See tracer.recorder.protocol.Service."""
        if cut := self.finish().incomplete:
            raise TracerError(f"not all system calls were seen: {cut[0]}", "try again")
        return self._calls

    def recorded_root(self, pid: int) -> None:
        """See the protocol. Raises TracerError when the service is gone or cannot see that process."""
        try:
            self._control.sendall(b"root %d\n" % pid)
            answer = self._control.recv(4096)
        except OSError as error:
            raise TracerError(f"the recorder is gone: {error.strerror}") from error
        if answer != GO:
            why = os.fsdecode(answer) or "it has ended"
            raise TracerError(f"the recorder cannot see the root of process {pid}: {why}")

    def count(self) -> int:
        return int.from_bytes(self._counter[:8], sys.byteorder)

    def finish(self) -> Recording:
        """See tracer.recorder.protocol.Service."""
        self._channel.close()
        blocks: list[bytes] = []
        with self._control, contextlib.suppress(OSError):
            with contextlib.suppress(OSError):  # it may have ended already, with a last word to read
                self._control.sendall(b"finish\n")
            while block := self._control.recv(1 << 16):
                blocks.append(block)
        status = self._reap()
        answer = b"".join(blocks)
        incomplete = ""
        try:
            collected: Collected = pickle.loads(answer)
        except (EOFError, pickle.UnpicklingError):  # killed, or failed
            collected = recovered(self._journal)
            if collected.failure:
                incomplete = f"the recorder failed ({collected.failure})"
            elif status >= 0 and os.WIFSIGNALED(status):
                incomplete = f"the recorder was killed ({signal.Signals(os.WTERMSIG(status)).name})"
            else:
                incomplete = "the recorder ended early"
            incomplete += "; what it traced was ended, and what it had seen until then is kept"
        self._calls = frozenset(collected.calls)
        if collected.lost:
            raise TracerError(collected.lost, "record under less load, or with --recorder notify")
        return Recording(
            accesses=accesses(collected),
            executions=executions(collected),
            architecture=platform.machine(),
            recorder=tuple(collected.recorders) or (self._recorder,),
            notes=tuple(collected.notes),
            incomplete=(incomplete,) if incomplete else (),
        )

    def close(self) -> None:
        """See tracer.recorder.protocol.Service."""
        self._channel.close()
        self._control.close()
        with contextlib.suppress(ProcessLookupError):
            if not self._reaped:
                os.kill(self._pid, signal.SIGKILL)
        self._reap()
        self._journal.close()
        self._custody.close()

    def _reap(self) -> int:
        """Its wait status, -1 when someone else has waited for it."""
        if self._reaped:
            return -1
        self._reaped = True
        try:
            return os.waitpid(self._pid, 0)[1]
        except ChildProcessError:
            return -1


def start(options: ServiceOptions) -> RecorderProcess:
    """Fork the service. Raises TracerError when the wanted recorder cannot work here."""
    changes = options.before_change is not None
    methods, explanation = _choose(Choice.NOTIFY if options.calls else options.choice)
    codes: dict[Method, bytes] = {}
    for method in methods:
        if method is Method.NOTIFY:
            codes[method] = options.calls.program if options.calls else notify.code(changes=changes)
        elif method is Method.PTRACE:
            from tracer.recorder import ptrace

            codes[method] = ptrace.code(changes=changes)
    channel_end, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel_end.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)  # before anyone can send
    control_end, control = socket.socketpair()
    counter = mmap.mmap(-1, mmap.PAGESIZE)
    journal, custody = Journal(), Custody()
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        channel.close()
        control.close()
        serve(parent, options, channel_end, control_end, counter, journal, custody)
    channel_end.close()
    control_end.close()
    return RecorderProcess(
        pid, methods[0].value, explanation, FilterChannel(channel, methods, codes), control, counter, journal, custody
    )


def _choose(choice: Choice) -> tuple[tuple[Method, ...], str]:
    """The methods to try for each command, best first, and why. Raises TracerError."""
    if choice is Choice.PTRACE:
        return (Method.PTRACE,), "ptrace, on one CPU, because it was asked for"
    if choice is Choice.NOTIFY:
        refusal = notify.probe()
        if refusal:
            raise TracerError(f"recording by notify is not possible here: {refusal}", "use --recorder ptrace, or auto")
        return (Method.NOTIFY,), "notify, because it was asked for"
    if choice in (Choice.FANOTIFY, Choice.FANOTIFY_NOTIFY):
        from tracer.recorder import fanotify

        fanotify.probe()
        if choice is Choice.FANOTIFY:
            return (Method.FANOTIFY,), "fanotify, because it was asked for: opened files only"
        methods, explanation = _choose(Choice.NOTIFY)
        return methods, f"{explanation}, and fanotify beside it"
    refusal = notify.probe()
    if refusal:
        return (Method.PTRACE,), f"ptrace, on one CPU, because notify is not possible here: {refusal}"
    return (Method.NOTIFY, Method.PTRACE), "notify: complete, and the fastest of those that are"
