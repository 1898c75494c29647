"""Recorder by seccomp user notification: the kernel stops a call, we read its path, and let it go on.

One stop is three system calls here and two switches of context. With
SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (Linux 6.6) both happen on one CPU; across CPUs each costs
ten times as much. In microseconds, on the machine where it was tuned: 3.5 the switches, 3.1 RECV and SEND, 2.5
process_vm_readv, 1.0 all of Python's; 3.5 more for a path from a directory descriptor, which is a readlink
each time. tests/bench/recorders.py measures the whole.

The loop sleeps in RECV itself: poll before it would cost another microsecond. What else may want the
service interrupts it by a signal (see tracer.service).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import struct

from tracer.collector import Collector
from tracer.errors import TracerError
from tracer.seccomp import RET_USER_NOTIF, filter_for, install
from tracer.syscalls import Action

RECV = 0xC0502100
SEND = 0xC0182101
SET_FLAGS = 0x40082104
_SYNC_WAKE_UP = 1

_NOTICE = struct.Struct("=QIIiIQ6Q")
_EMPTY = bytes(_NOTICE.size)
_CONTINUE = struct.pack("=qiI", 0, 0, 1)


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


def prepare(listener: int) -> None:
    """Once for each new listener."""
    with contextlib.suppress(OSError):  # before 6.6
        fcntl.ioctl(listener, SET_FLAGS, _SYNC_WAKE_UP)


def serve(listener: int, collector: Collector) -> bool:
    """Serve one listener until a signal comes (True) or its last process is gone (False)."""
    recv, send, ioctl = RECV, SEND, fcntl.ioctl
    unpack, empty, go_on, stop = _NOTICE.unpack, _EMPTY, _CONTINUE, collector.stop
    while True:
        try:
            notice = ioctl(listener, recv, empty)
        except OSError as error:
            if error.errno == errno.EINTR:
                return True
            if error.errno == errno.ENOENT:  # its sender was killed, or there is none left
                return not _hung_up(listener)
            raise
        fields = unpack(notice)
        answer = stop(fields[1], fields[3], fields[4], fields)
        reply = notice[:8] + (go_on if answer is None else _result(answer))
        try:
            ioctl(listener, send, reply)
        except OSError:
            _send(listener, reply)


def serve_once(listener: int, collector: Collector) -> bool:
    """One notice of a listener that poll said is ready; False when there was none."""
    try:
        notice = fcntl.ioctl(listener, RECV, _EMPTY)
    except OSError as error:
        if error.errno in (errno.EINTR, errno.ENOENT):
            return False
        raise
    fields = _NOTICE.unpack(notice)
    answer = collector.stop(fields[1], fields[3], fields[4], fields)
    _send(listener, notice[:8] + (_CONTINUE if answer is None else _result(answer)))
    return True


def _send(listener: int, reply: bytes) -> None:
    """Answer, again when a signal came between; who was killed meanwhile needs none (ENOENT)."""
    while True:
        try:
            fcntl.ioctl(listener, SEND, reply)
            return
        except InterruptedError:
            continue
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINPROGRESS):
                return
            raise


def _result(answer: int) -> bytes:
    """The rest of a struct seccomp_notif_resp that gives a call this result in place of doing it."""
    return struct.pack("=qiI", 0, answer, 0)


def _hung_up(listener: int) -> bool:
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return any(event & select.POLLHUP for _, event in poll.poll(0))
