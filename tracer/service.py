"""Starts the recorder process and talks to it: the implementation of `tracer.recorder`.

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

from tracer import notify
from tracer.channel import GO, Channel, Method
from tracer.collector import Collected, accesses, executions
from tracer.errors import TracerError
from tracer.recorder import Choice, ServiceOptions
from tracer.recording import Recording
from tracer.server import serve

__all__ = ["Channel", "Service", "start"]


class Service:
    """The recorder process, as its parent sees it."""

    def __init__(
        self, pid: int, recorder: str, explanation: str, channel: Channel, words: socket.socket, counter: mmap.mmap
    ) -> None:
        self._pid = pid
        self._recorder = recorder
        self._explanation = explanation
        self._channel = channel
        self._words = words
        self._counter = counter
        self._reaped = False

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
    def channel(self) -> Channel:
        return self._channel

    def recorded_root(self, pid: int) -> None:
        """See tracer.recorder.Service. Raises TracerError when the service is gone or cannot see that process."""
        try:
            self._words.sendall(b"root %d\n" % pid)
            answer = self._words.recv(4096)
        except OSError as error:
            raise TracerError(f"the recorder is gone: {error.strerror}") from error
        if answer != GO:
            why = os.fsdecode(answer) or "it has ended"
            raise TracerError(f"the recorder cannot see the root of process {pid}: {why}")

    def count(self) -> int:
        return int.from_bytes(self._counter[:8], sys.byteorder)

    def finish(self) -> Recording:
        """See tracer.recorder.Service."""
        self._channel.close()
        blocks: list[bytes] = []
        with self._words, contextlib.suppress(OSError):
            with contextlib.suppress(OSError):  # it may have ended already, with a last word to read
                self._words.sendall(b"finish\n")
            while block := self._words.recv(1 << 16):
                blocks.append(block)
        status = self._reap()
        answer = b"".join(blocks)
        if not answer:
            how = f"by signal {os.WTERMSIG(status)}" if status >= 0 and os.WIFSIGNALED(status) else "early"
            raise TracerError(f"the recorder (process {self._pid}) ended {how}; what it recorded is lost")
        value = pickle.loads(answer)
        if isinstance(value, str):
            raise TracerError("the recorder failed; what it recorded is lost", value)
        collected: Collected = value
        if collected.lost:
            raise TracerError(collected.lost, "record under less load, or with --recorder notify")
        return Recording(
            accesses=accesses(collected),
            executions=executions(collected),
            architecture=platform.machine(),
            recorder=tuple(collected.recorders) or (self._recorder,),
            notes=tuple(collected.notes),
        )

    def close(self) -> None:
        """See tracer.recorder.Service."""
        self._channel.close()
        self._words.close()
        with contextlib.suppress(ProcessLookupError):
            if not self._reaped:
                os.kill(self._pid, signal.SIGKILL)
        self._reap()

    def _reap(self) -> int:
        """Its wait status, -1 when someone else has waited for it."""
        if self._reaped:
            return -1
        self._reaped = True
        try:
            return os.waitpid(self._pid, 0)[1]
        except ChildProcessError:
            return -1


def start(options: ServiceOptions) -> Service:
    """Fork the service. Raises TracerError when the wanted recorder cannot work here."""
    changes = options.before_change is not None
    methods, explanation = _choose(options.choice)
    codes: dict[Method, bytes] = {}
    for method in methods:
        if method is Method.NOTIFY:
            codes[method] = notify.code(changes=changes)
        elif method is Method.PTRACE:
            from tracer import ptrace

            codes[method] = ptrace.code(changes=changes)
    channel_end, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel_end.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)  # before anyone can send
    words_end, words = socket.socketpair()
    counter = mmap.mmap(-1, mmap.PAGESIZE)
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        channel.close()
        words.close()
        serve(parent, options, channel_end, words_end, counter)
    channel_end.close()
    words_end.close()
    return Service(pid, methods[0].value, explanation, Channel(channel, methods, codes), words, counter)


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
        from tracer import fanotify

        fanotify.probe()
        if choice is Choice.FANOTIFY:
            return (Method.FANOTIFY,), "fanotify, because it was asked for: opened files only"
        methods, explanation = _choose(Choice.NOTIFY)
        return methods, f"{explanation}, and fanotify beside it"
    refusal = notify.probe()
    if refusal:
        return (Method.PTRACE,), f"ptrace, on one CPU, because notify is not possible here: {refusal}"
    return (Method.NOTIFY, Method.PTRACE), "notify: complete, and the fastest of those that are"
