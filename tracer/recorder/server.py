"""The recorder process itself: its loop, and whom it listens to.

It sleeps where the work comes from: in the listener's ioctl while there is one, in waitpid while
there are tracees. What else may want it (a command to arm, the caller's control) raises SIGIO, which interrupts
that sleep; a timer does the same a few times a second, so that a signal that came a moment too early
costs a moment and not for ever.

The handlers of both set a flag and do nothing else: Python runs them between any two steps of a stop, whose tables must
not change below it. What a flag asks for is done between stops.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import mmap
import os
import pickle
import resource
import select
import signal
import socket
import struct
import sys
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from tracer.errors import TracerError
from tracer.kernel.fork import close_others, die_with_parent
from tracer.recorder import notify
from tracer.recorder.access_log import Collected
from tracer.recorder.call_log import dispatcher_for
from tracer.recorder.channel import GO, NO, Method
from tracer.recorder.custody import Custody
from tracer.recorder.dispatcher import Dispatcher
from tracer.recorder.failure import explained
from tracer.recorder.journal import Journal
from tracer.recorder.protocol import Choice, ServiceOptions

if TYPE_CHECKING:
    from tracer.recorder.command_tree import CommandTree
    from tracer.recorder.fanotify import Watcher
    from tracer.recorder.ptrace import Tracer

_TICK = 0.25  # seconds
_TICKS_A_FRAME = 8  # of the journal: what a kill can lose
_CREDENTIALS = struct.Struct("=iii")


def serve(
    parent: int,
    options: ServiceOptions,
    channel: socket.socket,
    control: socket.socket,
    counter: mmap.mmap,
    journal: Journal,
    custody: Custody,
) -> NoReturn:
    """The forked process. Whatever goes wrong in it, what was seen until then is in the journal when it ends."""
    status = 1
    try:
        _become_service(parent)
        # A pipe of the caller's that stays open here would never end for whoever reads it.
        close_others((channel.fileno(), control.fileno(), journal.descriptor, *custody.descriptors))
        server = _Server(dispatcher_for(options), channel, control, counter, options.choice, journal, custody)
        try:
            server.run()
            status = 0
        except BaseException as error:
            server.fail(error)
    finally:
        os._exit(status)


def _become_service(parent: int) -> None:
    die_with_parent()
    if os.getppid() != parent:
        os._exit(1)
    with contextlib.suppress(OSError):
        os.setsid()  # a Ctrl-C or a hang-up is for the caller; we end when it says so or ends
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sys.settrace(None)
    sys.setprofile(None)
    gc.disable()
    gc.freeze()


class _Server:
    """The loop of the service."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        channel: socket.socket,
        control: socket.socket,
        counter: mmap.mmap,
        choice: Choice,
        journal: Journal,
        custody: Custody,
    ) -> None:
        self._journal = journal
        self._custody = custody
        self._ticks = 0
        self._choice = choice
        self._watcher: Watcher | None = None  # imported when first needed
        self._tree: CommandTree | None = None
        self._root_pid = 0
        self._dispatcher = dispatcher
        self._channel = channel
        self._control = control
        self._counter = counter
        self._arming: dict[int, socket.socket] = {}
        self._listeners: dict[int, notify.Listener] = {}
        self._tracer: Tracer | None = None  # imported when first needed
        self._used: set[str] = set()
        self._wanted: list[bool] = []  # not empty: stop serving, there is something else to do
        self._tick_due = False
        self._finished = False
        self._control_buffer = b""
        self._woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)  # by SIGCHLD; made while there are descriptors to be had

    def run(self) -> None:
        signal.signal(signal.SIGIO, self._want)
        signal.signal(signal.SIGALRM, self._alarm)
        for end in (self._channel, self._control):
            self._alert(end)
        signal.setitimer(signal.ITIMER_REAL, _TICK, _TICK)
        while not self._finished:
            tracees = len(self._tracer) if self._tracer is not None else 0
            self._wanted.clear()
            if self._tick_due:
                self._tick_due = False
                self._tick()
            busy = tracees or len(self._listeners) == 1
            self._poll_once(0 if busy else _TICK)
            if self._tracer is not None and not tracees:
                self._tracer.serve_ready()  # a child whose parent was killed before it told of it
            if self._wanted:
                continue
            if len(self._listeners) == 1 and not tracees:
                ((fd, listener),) = self._listeners.items()
                if not listener.serve(self._dispatcher, self._wanted):
                    self._drop(fd)
            elif tracees and self._tracer is not None:
                if self._listeners:
                    self._serve_both(self._tracer)
                else:
                    self._tracer.serve(self._wanted)
        self._drain()
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._publish()
        collected = self._dispatcher.collected()
        collected.recorders = sorted(self._used)
        if self._watcher is not None:
            self._finish_watching(self._watcher, collected)
        self._control.setblocking(True)
        self._control.sendall(pickle.dumps(collected, pickle.HIGHEST_PROTOCOL))

    def fail(self, error: BaseException) -> None:
        """Note why this ends, with what was seen until now. Whoever watches this process then kills what it traced."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._dispatcher.log.write(self._journal, self._used, explained(error))

    def _want(self, _number: int, _frame: FrameType | None) -> None:
        self._wanted.append(True)

    def _alarm(self, _number: int, _frame: FrameType | None) -> None:
        self._tick_due = True
        self._wanted.append(True)

    def _serve_both(self, tracer: Tracer) -> None:
        """Listeners and tracees at once: only where a listener was refused to some of the commands."""
        reader, writer = self._woken
        former = signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        try:
            while self._listeners and len(tracer) and not self._wanted:
                tracer.serve_ready()
                self._poll_once(_TICK, reader)
                with contextlib.suppress(BlockingIOError):
                    os.read(reader, 4096)
        finally:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, former)

    @staticmethod
    def _alert(end: socket.socket) -> None:
        end.setblocking(False)
        fcntl.fcntl(end, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(end, fcntl.F_SETFL, fcntl.fcntl(end, fcntl.F_GETFL) | os.O_ASYNC)

    def _tick(self) -> None:
        self._dispatcher.tick()
        self._ticks += 1
        if self._ticks % _TICKS_A_FRAME == 0:
            self._dispatcher.processes.tidy()
            self._dispatcher.log.write(self._journal, self._used)
        if self._watcher is not None:
            self._watcher.read()
            self._watcher.tick()
        if self._tree is not None:
            self._tree.tick()
        self._publish()

    def _publish(self) -> None:
        self._counter[:8] = self._dispatcher.log.count().to_bytes(8, sys.byteorder)

    # -- everything but the single listener ------------------------------------

    def _poll_once(self, timeout: float, *more: int) -> None:
        """Whatever is ready: control, commands to arm, and the listeners when there are several."""
        poll = select.poll()
        watched = self._watcher.descriptors if self._watcher is not None else ()
        for fd in (self._channel.fileno(), self._control.fileno(), *self._arming, *self._listeners, *watched, *more):
            poll.register(fd, select.POLLIN)
        for fd, event in poll.poll(timeout * 1000):
            if fd == self._channel.fileno():
                self._read_channel()
            elif fd == self._control.fileno():
                self._read_control()
            elif fd in self._arming:
                self._read_arming(fd)
            elif self._watcher is not None and fd in watched:
                self._watcher.read()
            elif fd in self._listeners:
                if event & select.POLLIN:
                    self._listeners[fd].serve_once(self._dispatcher)
                elif event & (select.POLLHUP | select.POLLERR):
                    self._drop(fd)

    def _drop(self, listener: int) -> None:
        self._listeners.pop(listener).close()

    def _read_channel(self) -> None:
        while True:
            try:
                message, control, _, _ = self._channel.recvmsg(64, 1024)
            except BlockingIOError:
                return
            if not message:  # every other end is closed; the caller may still say finish
                self._channel.close()
                self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)  # never readable
                return
            fds, pid = _unpack(control)
            if not fds:
                continue
            end = socket.socket(fileno=fds[0])
            refusal = self._take(Method(message.decode()), pid)
            if refusal:
                self._answer(end, NO + os.fsencode(refusal))
                end.close()
                continue
            self._dispatcher.processes.arm(pid)
            if message != Method.NOTIFY.encode():
                self._answer(end, GO)
                end.close()
            else:
                self._alert(end)
                self._arming[end.fileno()] = end
                self._answer(end, GO)

    def _take(self, method: Method, pid: int) -> str:
        """Why a process cannot be recorded in this way; empty when it can."""
        refusal = self._watch(pid) if self._choice in (Choice.FANOTIFY, Choice.FANOTIFY_NOTIFY) else ""
        if refusal or method is Method.FANOTIFY:
            return refusal
        return self._seize(pid) if method is Method.PTRACE else self._readable(pid)

    def _watch(self, pid: int) -> str:
        from tracer.recorder.command_tree import CommandTree
        from tracer.recorder.fanotify import Watcher

        if self._watcher is None:
            if not self._root_pid:  # the live root: others use it too
                self._tree = CommandTree()
            self._watcher = Watcher(
                self._dispatcher.log,
                executions=self._choice is Choice.FANOTIFY,
                wanted=self._tree.__contains__ if self._tree is not None else None,
            )
            try:
                self._watcher.watch(self._root_pid)
            except TracerError as error:
                self._watcher = None
                return str(error)
            self._used.add(Method.FANOTIFY.value)
        if self._tree is not None:
            self._tree.add(pid)
        return ""

    def _finish_watching(self, watcher: Watcher, collected: Collected) -> None:
        from tracer.recorder.fanotify import INCOMPLETE, LOST

        if watcher.overflowed:
            collected.lost = LOST
        if self._choice is Choice.FANOTIFY:
            collected.notes = sorted({*collected.notes, INCOMPLETE})
        if self._tree is not None and self._tree.unseen:
            note = "fanotify counted in processes that ended before it could see whose they were"
            collected.notes = sorted({*collected.notes, note})

    def _seize(self, pid: int) -> str:
        from tracer.recorder.ptrace import Tracer

        if self._tracer is None:
            self._tracer = Tracer(self._dispatcher)
        try:
            self._tracer.take(pid)
        except OSError as error:
            return f"the kernel does not let us trace process {pid}: {error.strerror}"
        self._used.add(Method.PTRACE.value)
        return ""

    @staticmethod
    def _readable(pid: int) -> str:
        """Why the memory of a process cannot be read; empty when it can."""
        try:
            os.close(os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            return f"the memory of process {pid} cannot be read: {error.strerror}"
        return ""

    def _read_arming(self, fd: int) -> None:
        end = self._arming.pop(fd)
        with end:
            try:
                message, control, _, _ = end.recvmsg(64, 1024)
            except OSError:
                return
            fds, _ = _unpack(control)
            if message and fds:
                self._custody.hold(fds[0])
                self._listeners[fds[0]] = notify.Listener(fds[0])
                self._used.add(Method.NOTIFY.value)
                self._answer(end, GO)

    @staticmethod
    def _answer(end: socket.socket, answer: bytes) -> None:
        with contextlib.suppress(OSError):
            end.send(answer)

    def _read_control(self) -> None:
        try:
            block = self._control.recv(4096)
        except BlockingIOError:
            return
        if not block:  # the caller is gone; so shall we be
            os._exit(1)
        self._control_buffer += block
        while b"\n" in self._control_buffer:
            word, _, self._control_buffer = self._control_buffer.partition(b"\n")
            if word == b"finish":
                self._finished = True
                self._wanted.append(True)
            else:
                try:
                    root = os.readlink(b"/proc/%d/root" % int(word.split()[1]))
                except OSError as error:
                    self._answer(self._control, os.fsencode(str(error)))
                    continue
                self._root_pid = int(word.split()[1])
                self._dispatcher.processes.start_from(self._root_pid, b"" if root == b"/" else root)
                self._answer(self._control, GO)

    def _drain(self) -> None:
        """What was asked before the end is still noted."""
        if self._watcher is not None:
            self._watcher.read()
        poll = select.poll()
        for fd in self._listeners:
            poll.register(fd, select.POLLIN)
        while any(
            event & select.POLLIN and self._listeners[fd].serve_once(self._dispatcher) for fd, event in poll.poll(0)
        ):
            pass


def _unpack(control: list[tuple[int, int, bytes]]) -> tuple[list[int], int]:
    """The descriptors and the sender's process id among a message's control data."""
    fds: list[int] = []
    pid = 0
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds += [fd for (fd,) in struct.iter_unpack("=i", data[: len(data) // 4 * 4])]
        elif level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            pid = _CREDENTIALS.unpack(data)[0]
    return fds, pid
