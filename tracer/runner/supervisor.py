"""Commands in the live root: no namespaces, so the tree is held together by subreapers.

    caller ── keeper (subreaper) ── supervisor (subreaper, `init`) ── commands

A process whose parent dies comes to the nearest subreaper above it, so every process
that a command ever started stays a descendant of the supervisor, and of the keeper
when the supervisor is gone. Works in a plain container: no capability is needed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from typing import NoReturn

from tracer.errors import TracerError
from tracer.kernel import capabilities, fork
from tracer.kernel.mounts import LIBC
from tracer.recorder.protocol import Channel
from tracer.runner import init, protocol, session_directory
from tracer.runner.limits import Limits
from tracer.runner.process_one import Init

_PR_SET_CHILD_SUBREAPER = 36


def keep(
    place: str,
    line: protocol.Wire,
    lock: int,
    channel: Channel | None,
    watched: tuple[int, ...],
    protected: tuple[int, ...],
    chroot: str,
    limits: Limits,
) -> NoReturn:
    """The keeper's whole life, in a process that the caller forked. Failures go to the wire as an answer."""
    processes = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        descriptors = channel.descriptors if channel else ()
        fork.alone((line.fileno(), lock, processes, *descriptors, *watched, *limits.entrances))
        LIBC.prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0)
        me = os.getpid()
        child = os.fork()
        if child == 0:
            os.close(lock)
            _supervise(line, processes, channel, watched, (*protected, me), me, chroot, limits)
        fork.close_others((lock, processes))
        while os.wait()[0] != child:
            pass
        Descendants(processes).end()
        session_directory.empty(place)
    finally:
        os._exit(0)


def _supervise(
    line: protocol.Wire,
    processes: int,
    channel: Channel | None,
    watched: tuple[int, ...],
    protected: tuple[int, ...],
    keeper: int,
    chroot: str,
    limits: Limits,
) -> NoReturn:
    try:
        LIBC.prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0)
        also = os.pidfd_open(keeper)
        if os.getppid() != keeper:
            os._exit(1)
        given = (os.pidfd_open(os.getpid()),)
        if chroot:
            os.chroot(chroot)
            os.chdir("/")
        line.reply(protocol.Answer(), given)
        os.close(given[0])
    except OSError as error:
        with contextlib.suppress(protocol.Closed):
            line.reply(protocol.Answer(f"cannot supervise commands here: {error}"))
        os._exit(1)
    init.serve(
        init.InitConfig(
            wire=line,
            tree=Descendants(processes),
            channel=channel,
            watched=(*watched, also),
            single=False,
            pretend_paths=False,
            protected=(*protected, os.getpid()),
            capabilities=capabilities.CHROOT if chroot else None,
            nested=False if chroot else None,
            no_new_privileges=False,
            init=Init.SLIMMER,
            fresh_proc=_nothing,
            changes=_none,
            entrances=limits.entrances,
            memory=bool(limits.memory),
        )
    )


def _nothing() -> None:
    pass


def _none() -> tuple[str, ...]:
    return ()


class Descendants:
    """All processes below this one. `processes` is a descriptor of /proc, which a chroot may lack."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._me = os.getpid()

    def signal(self, number: int) -> None:
        for pid in self.find():
            _send(pid, number)

    def kill(self) -> None:
        """Freeze whatever is found until nothing new appears, so that a fork bomb holds still; then kill it all."""
        me = os.getpid()
        if me != self._me:
            raise TracerError("not the supervisor")
        frozen: set[int] = set()
        for _ in range(1000):
            new = self.find() - frozen
            if not new:
                break
            for pid in new:
                _send(pid, signal.SIGSTOP)
            frozen |= new
        for pid in frozen:
            _send(pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill and reap until none is left; gives up after ten seconds on what cannot be killed."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            self.kill()
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return
            time.sleep(0.005)

    def find(self) -> set[int]:
        """Process ids of all descendants that are not zombies."""
        children: dict[int, list[int]] = {}
        zombies = set()
        for name in os.listdir(self._processes):
            if name.isdigit():
                with contextlib.suppress(OSError, ValueError, IndexError):
                    state, parent = self._state(name)
                    children.setdefault(parent, []).append(int(name))
                    if state in (b"Z", b"X"):
                        zombies.add(int(name))
        found: set[int] = set()
        pending = [self._me]
        while pending:
            for child in children.get(pending.pop(), ()):
                if child not in found:
                    found.add(child)
                    pending.append(child)
        return found - zombies

    def _state(self, name: str) -> tuple[bytes, int]:
        descriptor = os.open(f"{name}/stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._processes)
        try:
            fields = os.read(descriptor, 1024).rpartition(b")")[2].split()
        finally:
            os.close(descriptor)
        return fields[0], int(fields[1])


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
