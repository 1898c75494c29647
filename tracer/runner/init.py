"""The process that starts commands: pid 1 of a sandbox, or the supervisor of a run in the live root.

It is forked from the caller and never executes another program itself. It serves
one request after the other from its wire, reaps whatever ends (orphans come to it:
it is pid 1, or a subreaper), and ends everything when the caller or the recorder is
gone: a tree whose recorder died would get ENOSYS from every open.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import stat
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, Protocol, assert_never

from tracer.errors import TracerError
from tracer.kernel import capabilities, denied, filters, userns
from tracer.kernel.fork import close_others, dumpable, no_new_privileges
from tracer.recorder.protocol import Channel
from tracer.runner import limits, process_one, programs, protocol
from tracer.runner.process_one import Init

UMASK = 0o022


class ProcessGroup(Protocol):
    """All the processes that commands started, by whatever way there is to reach them."""

    def signal(self, number: int) -> None:
        """To every one."""

    def kill(self) -> None:
        """SIGKILL to every one, in a way that a fork cannot escape. Reaping is the caller's."""


@dataclass(frozen=True, slots=True)
class InitConfig:
    """What the process that starts commands has and does."""

    wire: protocol.Wire
    tree: ProcessGroup
    channel: Channel | None
    watched: tuple[int, ...]  # pidfds; when one of these processes ends, all ends
    single: bool  # one id only: others cannot be had
    pretend_paths: bool  # nobody else answers chown
    protected: tuple[int, ...]  # processes that commands may not signal
    capabilities: frozenset[int] | None  # None: those of the caller
    nested: bool | None  # None: no call is denied; True: but those that make a sandbox
    no_new_privileges: bool
    init: Init
    fresh_proc: Callable[[], None]  # called in a command that is process 1 of a pid namespace
    changes: Callable[[], tuple[str, ...]]
    seccomp: bytes = b""  # a program of the caller's, beside the other filters
    entrances: tuple[int, ...] = ()  # of the control group that commands are put in
    most: int = 0  # processes that the sandbox allows by itself; 0: any number
    nproc: bool = False  # it does so by RLIMIT_NPROC
    memory: bool = False  # the group limits it
    through: str = ""  # an emulator that takes `-0 ARGV0 PROGRAM ARGUMENTS`


def serve(duty: InitConfig) -> NoReturn:
    """Serve until the caller goes or a watched process ends; then end the tree and this process."""
    try:
        _Loop(duty).run()
    except protocol.Closed:
        pass
    finally:
        duty.tree.kill()
        os._exit(0)


class _Loop:
    def __init__(self, duty: InitConfig) -> None:
        self._duty = duty
        self._statuses: dict[int, int] = {}  # pid → the pipe that gets its wait status
        self._children = False
        self._first = True
        self._full = False
        self._inner = -1  # a process of the pid namespace that commands are started in, where that is not ours
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
                    answer, given = protocol.Answer(error.message, error.hint), ()
                except OSError as error:
                    answer, given = protocol.Answer(f"{type(request).__name__} failed in the sandbox: {error}"), ()
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
            raise protocol.Closed
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

    def _serve(
        self, request: protocol.Request, descriptors: tuple[int, ...]
    ) -> tuple[protocol.Answer, tuple[int, ...]]:
        match request:
            case protocol.Spawn():
                return self._spawn(request, descriptors)
            case protocol.OpenSocket():
                made = socket.socket(request.family, request.type)
                return protocol.Answer(), (made.detach(),)
            case protocol.Signal():
                self._duty.tree.signal(request.number)
                return protocol.Answer(), ()
            case protocol.Drain():
                return protocol.Answer(number=self._drain(request.seconds)), ()
            case protocol.Kill():
                return protocol.Answer(number=self._kill()), ()
            case protocol.Writes():
                return protocol.Answer(paths=self._duty.changes()), ()
            case protocol.Full():
                return protocol.Answer(number=int(self._full)), ()
            case _:
                assert_never(request)

    def _drain(self, seconds: float) -> int:
        """1 when something still runs after so many seconds, else 0."""
        deadline = time.monotonic() + seconds
        self._count()
        while True:
            self._reap()
            left = deadline - time.monotonic()
            if not self._children or left <= 0:
                return int(self._children)
            if self._duty.wire.fileno() in self._wait(
                left
            ):  # the caller asks nothing before it is answered: it is gone
                raise protocol.Closed

    def _kill(self) -> int:
        deadline = time.monotonic() + 10  # uninterruptible I/O can hold a killed process back
        while True:
            self._duty.tree.kill()
            if not self._drain(0.05):
                return 0
            if time.monotonic() > deadline:
                return 1

    def _count(self) -> None:
        """Notice when all processes are there that may be. Where /proc is another namespace's, nothing is known."""
        if self._duty.most and not self._full:
            with contextlib.suppress(OSError):
                own = os.readlink("/proc/self") == str(os.getpid())
                self._full = own and limits.count() >= self._duty.most

    def _spawn(self, request: protocol.Spawn, descriptors: tuple[int, ...]) -> tuple[protocol.Answer, tuple[int, ...]]:
        standard, status = descriptors[:3], descriptors[3]
        env = dict(request.env)
        program = programs.find(request.argv[0], env, request.workdir)
        reader, writer = os.pipe2(os.O_CLOEXEC)
        child, first = self._fork(request, program)
        if child == 0:
            self._become(request, program, standard, writer, first)
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
        return protocol.Answer(number=child, paths=started), (handle,) if handle >= 0 else ()

    def _fork(self, request: protocol.Spawn, program: str) -> tuple[int, bool]:
        """As os.fork, and whether the child is process 1 of a new pid namespace."""
        first, self._first = self._first, False
        if first and process_one.wanted(self._duty.init, request.argv, os.path.join(request.workdir, program)):
            child = process_one.fork_into_new()
            if child:
                self._inner = os.pidfd_open(child)
            return child, True
        if self._inner >= 0:
            try:
                return process_one.fork_into(self._inner), False
            except OSError:  # its process 1 has ended
                os.close(self._inner)
                self._inner = -1
        return os.fork(), False

    def _failure(self, reader: int) -> bytes:
        """What the child says before exec; b"" when exec succeeded."""
        told = bytearray()
        self._poll.register(reader, select.POLLIN)
        self._poll.modify(self._duty.wire.fileno(), 0)  # only that it hangs up
        try:
            while True:
                ready = self._wait(None)
                if self._duty.wire.fileno() in ready:
                    raise protocol.Closed
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

    def _become(
        self, request: protocol.Spawn, program: str, standard: tuple[int, ...], writer: int, first: bool
    ) -> NoReturn:
        """In the forked child. Past `arm` it may not name a path before exec: each would be recorded."""
        stage = "start"
        try:
            signal.set_wakeup_fd(-1)
            most = self._duty.most if self._duty.nproc else 0
            limits.enter(self._duty.entrances, most, memory=self._duty.memory)
            for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            if first:
                self._duty.fresh_proc()
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
            os.umask(UMASK)
            os.makedirs(request.workdir, exist_ok=True)  # runtimes make one that the image names and has not
            os.chdir(request.workdir)
            stage = "record"
            if self._duty.channel is not None:
                self._duty.channel.arm()
            if self._duty.single:
                filters.pretend(paths=self._duty.pretend_paths)
            if self._duty.protected:
                filters.protect(self._duty.protected)
            stage = "confine"
            close_others((writer,))
            if self._duty.nested is not None:
                denied.deny(nested=self._duty.nested, recorded=self._duty.channel is not None)
            if self._duty.seccomp:
                filters.install(self._duty.seccomp)
            if self._duty.no_new_privileges:
                no_new_privileges()
            if self._duty.capabilities is not None:
                capabilities.limit(self._duty.capabilities)
            stage = "identity"
            if not self._duty.single:
                # A recorder without this one can only look into what belongs to the command's user.
                if self._duty.capabilities is not None and userns.capable(userns.CAP_SYS_PTRACE):
                    capabilities.keep_over_identity()
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
