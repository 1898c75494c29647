"""The recorder process itself: its loop, and whom it listens to.

It sleeps where the work comes from: in the listener's ioctl while there is one, in waitpid while
there are tracees. What else may want it (a command to arm, the caller's words) raises SIGIO, which interrupts
that sleep; a timer does the same a few times a second, so that a signal that came a moment too early
costs a moment and not for ever.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import mmap
import os
import pickle
import platform
import resource
import select
import signal
import socket
import struct
import sys
import traceback
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from tracer import notify
from tracer.channel import GO, NO, Method
from tracer.collector import Collected, Collector
from tracer.errors import TracerError
from tracer.init import close_others
from tracer.recorder import Choice, ServiceOptions
from tracer.seccomp import libc
from tracer.syscalls import conventions

if TYPE_CHECKING:
    from tracer.fanotify import Tree, Watcher
    from tracer.ptrace import Tracer

_TICK = 0.25  # seconds
_PR_SET_PDEATHSIG = 1
_CREDENTIALS = struct.Struct("=iii")


def serve(
    parent: int, options: ServiceOptions, channel: socket.socket, words: socket.socket, counter: mmap.mmap
) -> NoReturn:
    """The forked process."""
    status = 1
    try:
        _become_service(parent)
        # A pipe of the caller's that stays open here would never end for whoever reads it.
        close_others((channel.fileno(), words.fileno()))
        collector = Collector(conventions(platform.machine()), options.before_change, pretend=options.pretend)
        _Server(collector, channel, words, counter, options.choice).run()
        status = 0
    except BaseException:
        with contextlib.suppress(OSError):
            words.setblocking(True)
            words.sendall(pickle.dumps(traceback.format_exc()))
    finally:
        os._exit(status)


def _become_service(parent: int) -> None:
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
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
        collector: Collector,
        channel: socket.socket,
        words: socket.socket,
        counter: mmap.mmap,
        choice: Choice,
    ) -> None:
        self._choice = choice
        self._watcher: Watcher | None = None  # imported when first needed
        self._tree: Tree | None = None
        self._root_pid = 0
        self._collector = collector
        self._channel = channel
        self._words = words
        self._counter = counter
        self._arming: dict[int, socket.socket] = {}
        self._listeners: dict[int, notify.Listener] = {}
        self._tracer: Tracer | None = None  # imported when first needed
        self._used: set[str] = set()
        self._wanted: list[bool] = []  # not empty: stop serving, there is something else to do
        self._finished = False
        self._spoken = b""

    def run(self) -> None:
        signal.signal(signal.SIGIO, self._want)
        signal.signal(signal.SIGALRM, self._tick)
        for end in (self._channel, self._words):
            self._alert(end)
        signal.setitimer(signal.ITIMER_REAL, _TICK, _TICK)
        while not self._finished:
            tracees = len(self._tracer) if self._tracer is not None else 0
            self._wanted.clear()
            busy = tracees or len(self._listeners) == 1
            self._attend(0 if busy else None if self._tracer is None else _TICK)
            if self._tracer is not None and not tracees:
                self._tracer.serve_ready()  # a child whose parent was killed before it told of it
            if self._wanted:
                continue
            if len(self._listeners) == 1 and not tracees:
                ((fd, listener),) = self._listeners.items()
                if not listener.serve(self._collector):
                    self._drop(fd)
            elif tracees and self._tracer is not None:
                if self._listeners:
                    self._serve_both(self._tracer)
                else:
                    self._tracer.serve(self._wanted)
        self._drain()
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._publish()
        collected = self._collector.collected()
        collected.recorders = sorted(self._used)
        if self._watcher is not None:
            self._finish_watching(self._watcher, collected)
        self._words.setblocking(True)
        self._words.sendall(pickle.dumps(collected, pickle.HIGHEST_PROTOCOL))

    def _want(self, _number: int, _frame: FrameType | None) -> None:
        self._wanted.append(True)
        if self._tracer is not None:
            self._tracer.interrupt()

    def _serve_both(self, tracer: Tracer) -> None:
        """Listeners and tracees at once: only where a listener was refused to some of the commands."""
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        former = signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        try:
            while self._listeners and len(tracer) and not self._wanted:
                tracer.serve_ready()
                self._attend(None, reader)
                with contextlib.suppress(BlockingIOError):
                    os.read(reader, 4096)
        finally:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, former)
            os.close(reader)
            os.close(writer)

    @staticmethod
    def _alert(end: socket.socket) -> None:
        end.setblocking(False)
        fcntl.fcntl(end, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(end, fcntl.F_SETFL, fcntl.fcntl(end, fcntl.F_GETFL) | os.O_ASYNC)

    def _tick(self, _number: int, _frame: FrameType | None) -> None:
        self._collector.tick()
        if self._watcher is not None:
            self._watcher.read()
            self._watcher.tick()
        if self._tree is not None:
            self._tree.tick()
        self._publish()

    def _publish(self) -> None:
        self._counter[:8] = self._collector.count().to_bytes(8, sys.byteorder)

    # -- everything but the single listener ------------------------------------

    def _attend(self, timeout: float | None, *more: int) -> None:
        """Whatever is ready: words, commands to arm, and the listeners when there are several."""
        poll = select.poll()
        watched = self._watcher.descriptors if self._watcher is not None else ()
        for fd in (self._channel.fileno(), self._words.fileno(), *self._arming, *self._listeners, *watched, *more):
            poll.register(fd, select.POLLIN)
        for fd, event in poll.poll(timeout if timeout is None else timeout * 1000):
            if fd == self._channel.fileno():
                self._hear_channel()
            elif fd == self._words.fileno():
                self._hear_words()
            elif fd in self._arming:
                self._hear_arming(fd)
            elif self._watcher is not None and fd in watched:
                self._watcher.read()
            elif fd in self._listeners:
                if event & select.POLLIN:
                    self._listeners[fd].serve_once(self._collector)
                elif event & (select.POLLHUP | select.POLLERR):
                    self._drop(fd)

    def _drop(self, listener: int) -> None:
        self._listeners.pop(listener).close()

    def _hear_channel(self) -> None:
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
            self._collector.processes.arm(pid)
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
        from tracer.fanotify import Tree, Watcher

        if self._watcher is None:
            if not self._root_pid:  # the live root: others use it too
                self._tree = Tree()
            self._watcher = Watcher(
                self._collector,
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
        from tracer.fanotify import INCOMPLETE, LOST

        if watcher.overflowed:
            collected.lost = LOST
        if self._choice is Choice.FANOTIFY:
            collected.notes = sorted({*collected.notes, INCOMPLETE})
        if self._tree is not None and self._tree.unseen:
            note = "fanotify counted in processes that ended before it could see whose they were"
            collected.notes = sorted({*collected.notes, note})

    def _seize(self, pid: int) -> str:
        from tracer.ptrace import Tracer

        if self._tracer is None:
            self._tracer = Tracer(self._collector)
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

    def _hear_arming(self, fd: int) -> None:
        end = self._arming.pop(fd)
        with end:
            try:
                message, control, _, _ = end.recvmsg(64, 1024)
            except OSError:
                return
            fds, _ = _unpack(control)
            if message and fds:
                self._listeners[fds[0]] = notify.Listener(fds[0])
                self._used.add(Method.NOTIFY.value)
                self._answer(end, GO)

    @staticmethod
    def _answer(end: socket.socket, answer: bytes) -> None:
        with contextlib.suppress(OSError):
            end.send(answer)

    def _hear_words(self) -> None:
        try:
            block = self._words.recv(4096)
        except BlockingIOError:
            return
        if not block:  # the caller is gone; so shall we be
            os._exit(1)
        self._spoken += block
        while b"\n" in self._spoken:
            word, _, self._spoken = self._spoken.partition(b"\n")
            if word == b"finish":
                self._finished = True
                self._wanted.append(True)
            else:
                try:
                    root = os.readlink(b"/proc/%d/root" % int(word.split()[1]))
                except OSError as error:
                    self._answer(self._words, os.fsencode(str(error)))
                    continue
                self._root_pid = int(word.split()[1])
                self._collector.processes.start_from(self._root_pid, b"" if root == b"/" else root)
                self._answer(self._words, GO)

    def _drain(self) -> None:
        """What was asked before the end is still noted."""
        if self._watcher is not None:
            self._watcher.read()
        poll = select.poll()
        for fd in self._listeners:
            poll.register(fd, select.POLLIN)
        while any(
            event & select.POLLIN and self._listeners[fd].serve_once(self._collector) for fd, event in poll.poll(0)
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
