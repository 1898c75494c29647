"""The process that starts commands: pid 1 of a sandbox, or the supervisor of a run in the live root.

It is forked from the caller and never executes another program itself. It serves
one request after the other from its wire, reaps whatever ends (orphans come to it:
it is pid 1, or a subreaper), and ends everything when the caller or the recorder is
gone: a tree whose recorder died would get ENOSYS from every open.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import socket
import stat
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NoReturn, Protocol, assert_never

from tracer import filters, programs, userns, wire
from tracer.errors import TracerError
from tracer.mounts import LIBC
from tracer.recorder import Channel

UMASK = 0o022
_PR_SET_DUMPABLE = 4


class Tree(Protocol):
    """All the processes that commands started, by whatever way there is to reach them."""

    def signal(self, number: int) -> None:
        """To every one."""

    def kill(self) -> None:
        """SIGKILL to every one, in a way that a fork cannot escape. Reaping is the caller's."""


@dataclass(frozen=True, slots=True)
class Duty:
    """What the process that starts commands has and does."""

    wire: wire.Wire
    tree: Tree
    channel: Channel | None
    watched: tuple[int, ...]  # pidfds; when one of these processes ends, all ends
    single: bool  # one id only: others cannot be had
    pretend_paths: bool  # nobody else answers chown
    protected: tuple[int, ...]  # processes that commands may not signal
    runtime_capabilities: bool
    changes: Callable[[], tuple[str, ...]]
    through: str = ""  # an emulator that takes `-0 ARGV0 PROGRAM ARGUMENTS`


def alone(keep: Iterable[int]) -> None:
    """In a forked process: close all descriptors but these, standard ones at /dev/null, signals as new, own session."""
    gc.disable()  # a collected object of the caller's would close a descriptor number that is ours by now
    signal.set_wakeup_fd(-1)
    for each in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(each, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with contextlib.suppress(PermissionError):
        os.setsid()
    dumpable()
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for number in (0, 1, 2):
        os.dup2(null, number, inheritable=False)
    close_others(keep)


def dumpable() -> None:
    """After a change of ids: /proc files, and memory, of this process belong to its user again, not to root."""
    LIBC.prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(1), 0, 0, 0)


def close_others(keep: Iterable[int]) -> None:
    """Close every descriptor above 2 but these."""
    previous = 2
    for number in sorted({each for each in keep if each > 2}):
        os.closerange(previous + 1, number)
        previous = number
    os.closerange(previous + 1, 1 << 20)


def serve(duty: Duty) -> NoReturn:
    """Serve until the caller goes or a watched process ends; then end the tree and this process."""
    try:
        _Loop(duty).run()
    except wire.Closed:
        pass
    finally:
        duty.tree.kill()
        os._exit(0)


class _Loop:
    def __init__(self, duty: Duty) -> None:
        self._duty = duty
        self._statuses: dict[int, int] = {}  # pid → the pipe that gets its wait status
        self._children = False
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._woken = reader
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self._poll = select.poll()
        for descriptor in (duty.wire.fileno(), reader, *duty.watched):
            self._poll.register(descriptor, select.POLLIN)

    def run(self) -> NoReturn:
        while True:
            ready = self._wait(None)
            if self._duty.wire.fileno() in ready:
                request, descriptors = self._duty.wire.request()
                try:
                    answer, given = self._serve(request, descriptors)
                except TracerError as error:
                    answer, given = wire.Answer(error.message, error.hint), ()
                except OSError as error:
                    answer, given = wire.Answer(f"{type(request).__name__} failed in the sandbox: {error}"), ()
                finally:
                    for descriptor in descriptors:
                        os.close(descriptor)
                self._reap()  # what ended before it was known by its pid
                self._duty.wire.reply(answer, given)
                for descriptor in given:
                    os.close(descriptor)

    def _wait(self, seconds: float | None) -> set[int]:
        """What is readable; reaps meanwhile. Raises Closed when a watched process has ended."""
        ready = {descriptor for descriptor, _ in self._poll.poll(None if seconds is None else seconds * 1000)}
        if ready & set(self._duty.watched):
            raise wire.Closed
        if self._woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, 1 << 16)
            self._reap()
        return ready

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._children = False
                return
            if pid == 0:
                self._children = True
                return
            pipe = self._statuses.pop(pid, None)
            if pipe is not None:
                with contextlib.suppress(OSError):
                    os.write(pipe, struct.pack("=i", status))
                os.close(pipe)

    def _serve(self, request: wire.Request, descriptors: tuple[int, ...]) -> tuple[wire.Answer, tuple[int, ...]]:
        match request:
            case wire.Spawn():
                return self._spawn(request, descriptors)
            case wire.OpenSocket():
                made = socket.socket(request.family, request.type)
                return wire.Answer(), (made.detach(),)
            case wire.Signal():
                self._duty.tree.signal(request.number)
                return wire.Answer(), ()
            case wire.Drain():
                return wire.Answer(number=self._drain(request.seconds)), ()
            case wire.Kill():
                return wire.Answer(number=self._kill()), ()
            case wire.Writes():
                return wire.Answer(paths=self._duty.changes()), ()
            case _:
                assert_never(request)

    def _drain(self, seconds: float) -> int:
        """1 when something still runs after so many seconds, else 0."""
        deadline = time.monotonic() + seconds
        while True:
            self._reap()
            left = deadline - time.monotonic()
            if not self._children or left <= 0:
                return int(self._children)
            if self._duty.wire.fileno() in self._wait(
                left
            ):  # the caller asks nothing before it is answered: it is gone
                raise wire.Closed

    def _kill(self) -> int:
        deadline = time.monotonic() + 10  # uninterruptible I/O can hold a killed process back
        while True:
            self._duty.tree.kill()
            if not self._drain(0.05):
                return 0
            if time.monotonic() > deadline:
                return 1

    def _spawn(self, request: wire.Spawn, descriptors: tuple[int, ...]) -> tuple[wire.Answer, tuple[int, ...]]:
        standard, status = descriptors[:3], descriptors[3]
        env = dict(request.env)
        program = programs.find(request.argv[0], env, request.workdir)
        reader, writer = os.pipe2(os.O_CLOEXEC)
        child = os.fork()
        if child == 0:
            self._become(request, program, standard, writer)
        os.close(writer)
        self._statuses[child] = os.dup(status)
        try:
            handle = os.pidfd_open(child)
        except OSError:
            handle = -1
        failure = self._failure(reader)
        if failure:
            self._forget(child)
            if handle >= 0:
                os.close(handle)
            stage, number, text = json.loads(failure)
            raise programs.explain(stage, number, text, program, request)
        started = (os.path.normpath(os.path.join(request.workdir, program)),) if self._duty.through else ()
        return wire.Answer(number=child, paths=started), (handle,) if handle >= 0 else ()

    def _failure(self, reader: int) -> bytes:
        """What the child says before exec; b"" when exec succeeded."""
        told = bytearray()
        self._poll.register(reader, select.POLLIN)
        self._poll.modify(self._duty.wire.fileno(), 0)  # only that it hangs up
        try:
            while True:
                ready = self._wait(None)
                if self._duty.wire.fileno() in ready:
                    raise wire.Closed
                if reader in ready:
                    part = os.read(reader, 1 << 16)
                    if not part:
                        return bytes(told)
                    told += part
        finally:
            self._poll.modify(self._duty.wire.fileno(), select.POLLIN)
            self._poll.unregister(reader)
            os.close(reader)

    def _forget(self, child: int) -> None:
        """Reap a child whose exec failed."""
        pipe = self._statuses.pop(child, None)
        if pipe is not None:
            os.close(pipe)
            os.waitpid(child, 0)

    def _become(self, request: wire.Spawn, program: str, standard: tuple[int, ...], writer: int) -> NoReturn:
        """In the forked child. Past `arm` it may not name a path before exec: each would be recorded."""
        stage = "start"
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            for target, descriptor in enumerate(standard):
                _give(descriptor, request.uid, request.gid)
                os.dup2(descriptor, target, inheritable=True)
            argv = [os.fsencode(word) for word in request.argv]
            env = {os.fsencode(name): os.fsencode(value) for name, value in request.env}
            raw = os.fsencode(program)
            if self._duty.through:
                argv[:1] = [b"qemu", b"-0", argv[0], raw]
                raw = os.fsencode(self._duty.through)
            free = userns.capable(userns.CAP_SETUID)
            stage = "workdir"
            os.chdir(request.workdir)
            os.umask(UMASK)
            stage = "record"
            if self._duty.channel is not None:
                self._duty.channel.arm()
            if self._duty.single:
                filters.pretend(paths=self._duty.pretend_paths)
            if self._duty.protected:
                filters.protect(self._duty.protected)
            stage = "identity"
            if self._duty.runtime_capabilities:
                userns.keep_only(userns.RUNTIME_CAPABILITIES)
            if not self._duty.single:
                _identify(request.uid, request.gid, request.groups, free)
                dumpable()
            stage = "exec"
            os.execve(raw, argv, env)
        except OSError as error:
            os.write(writer, json.dumps((stage, error.errno, error.strerror)).encode())
        except TracerError as error:
            os.write(writer, json.dumps((stage, 0, str(error))).encode())
        except BaseException as error:
            os.write(writer, json.dumps((stage, 0, f"{type(error).__name__}: {error}")).encode())
        finally:
            os._exit(127)


def _identify(uid: int, gid: int, groups: tuple[int, ...], free: bool) -> None:
    """Without the capability to change ids (`free`) a process can only stay what it is. Raises OSError."""
    if not free and (*os.getresuid(), *os.getresgid()) == (uid, uid, uid, gid, gid, gid):
        return
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _give(descriptor: int, uid: int, gid: int) -> None:
    """Standard streams that are pipes belong to who runs, so that /dev/stdout opens (as runc's fixStdioPermissions)."""
    with contextlib.suppress(OSError):
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISFIFO(mode):
            os.fchown(descriptor, uid, gid)
