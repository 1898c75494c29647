"""Recorder by seccomp user notification: the kernel stops a call, we read its path, and let it go on.

One stop is three system calls here and two switches of context. With
SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (Linux 6.6) both happen on one CPU.

What a stop costs, on the 2-core virtual machine where this was tuned (Linux 6.18, Debian's CPython 3.11), in
microseconds, for one path after the other:

    two switches of context on one CPU, RECV and SEND    5.5   the kernel's, mostly; 50 and more across CPUs
    pread of the path on the process's open memory       1.1   process_vm_readv: 1.9, and cold five times that
    unpack, find the process, look the string up, note   1.0
    a directory descriptor's path                        3.5   one readlink; the working directory is remembered

Where the program works between its stops, both find their caches full of the other's: 13 for nginx, of
which 9 to 11 remain when the loop does nothing but RECV and SEND (6.6 when that loop is C). So nginx at one file a
request, 10 us of work, can not be recorded below 1.85x in Python, and imports not below 1.2x. A new process costs most
where it is asked for below /proc/PID, so that is spared where its parent's other children were the same.
Under ptrace a stop is wait, PTRACE_GET_SYSCALL_INFO, the same reading, and PTRACE_CONT: two more on one CPU, 60 and
more across CPUs, hence the pinning.

The loop sleeps in RECV itself: poll before it would cost another microsecond. What else may want the
service interrupts it by a signal (see tracer.recorder.server).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import struct
from collections.abc import Sequence

from tracer.errors import TracerError
from tracer.kernel.bpf import RET_USER_NOTIF
from tracer.kernel.seccomp import filter_for, install
from tracer.kernel.syscalls import Action
from tracer.recorder.dispatcher import Dispatcher

RECV = 0xC0502100
SEND = 0xC0182101
SET_FLAGS = 0x40082104
_SYNC_WAKE_UP = 1

_NOTICE = 80  # bytes of a struct seccomp_notif: id, pid, flags, nr, arch, instruction pointer, six arguments
_ANSWER = struct.Struct("=QqiI")  # struct seccomp_notif_resp: id, val, error, flags
_CONTINUE = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE


def code(*, changes: bool) -> bytes:
    """The filter: `changes` also stops what changes a file through a descriptor."""
    actions = set(Action) - {Action.TRACER}
    if not changes:
        actions.discard(Action.CHANGES_FD)
    return filter_for(RET_USER_NOTIF, actions)


def probe() -> str:
    """Why the kernel refuses a listener here, tried in a throwaway child; empty when it does not."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            try:
                os.close(install(code(changes=False), listener=True))
            except TracerError as error:
                os.write(writer, f"{error.message} ({error.hint})".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as stream:
        refusal = stream.read()
    os.waitpid(pid, 0)
    return refusal.decode()


class Listener:
    """A listener's descriptor and the memory that notices and answers pass through.

    The kernel insists on a zeroed notice. Bytearrays, because fcntl.ioctl first takes other bytes for an error and
    formats its message, each time.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._notice = bytearray(_NOTICE)
        self._wide = memoryview(self._notice).cast("Q")
        self._narrow = memoryview(self._notice).cast("I")
        with contextlib.suppress(OSError):  # before 6.6
            fcntl.ioctl(fd, SET_FLAGS, _SYNC_WAKE_UP)

    def serve(self, dispatcher: Dispatcher, wanted: Sequence[bool]) -> bool:
        """Serve until `wanted` holds something (True) or the last process is gone (False)."""
        fd, recv, send, ioctl = self.fd, RECV, SEND, fcntl.ioctl
        notice, empty, stop = self._notice, bytes(_NOTICE), dispatcher.stop
        wide, narrow = self._wide, self._narrow
        go_on = bytearray(_ANSWER.pack(0, 0, 0, _CONTINUE))
        identity = memoryview(go_on).cast("Q")
        while not wanted:
            notice[:] = empty
            try:
                ioctl(fd, recv, notice)
            except OSError as error:
                if error.errno == errno.EINTR:
                    continue
                if error.errno == errno.ENOENT:  # its sender was killed, or there is none left
                    return not self._hung_up()
                raise
            result = stop(narrow[2], wide[2], wide)
            if result is None:
                identity[0] = wide[0]
                try:
                    ioctl(fd, send, go_on)
                    continue
                except OSError:
                    pass
            self._send(result)
        return True

    def serve_once(self, dispatcher: Dispatcher) -> bool:
        """One notice of a listener that poll said is ready; False when there was none."""
        self._notice[:] = bytes(_NOTICE)
        try:
            fcntl.ioctl(self.fd, RECV, self._notice)
        except OSError as error:
            if error.errno in (errno.EINTR, errno.ENOENT):
                return False
            raise
        self._send(dispatcher.stop(self._narrow[2], self._wide[2], self._wide))
        return True

    def _send(self, result: int | None) -> None:
        """Answer, again when a signal came between; who was killed meanwhile needs none (ENOENT)."""
        identity = self._wide[0]
        answer = _ANSWER.pack(identity, 0, 0, _CONTINUE) if result is None else _ANSWER.pack(identity, 0, result, 0)
        while True:
            try:
                fcntl.ioctl(self.fd, SEND, answer)
                return
            except InterruptedError:
                continue
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINPROGRESS):
                    return
                raise

    def _hung_up(self) -> bool:
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        return any(event & select.POLLHUP for _, event in poll.poll(0))

    def close(self) -> None:
        os.close(self.fd)
