"""Looks into processes of another user, where the service may not.

Without CAP_SYS_PTRACE, root in a container may not read the memory or the links of a process
that runs as www-data; another process of www-data may (ptrace(2), "Ptrace access mode
checking": equal ids, all three, and not changed since the program began). So the service forks one helper for each
user that it meets, which takes on that user's ids and answers over a socket.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket

from tracer.kernel.fork import die_with_parent

_LONGEST = 4200  # bytes of an answer: a path and its mark


class Helpers:
    """One for each user and group, started when first needed."""

    def __init__(self) -> None:
        self._helpers: dict[tuple[int, int], socket.socket | None] = {}

    def memory(self, tid: int) -> int | None:
        """A descriptor of /proc/TID/mem, None when its user may not open it either."""
        helper = self._of(tid)
        if helper is None:
            return None
        try:
            helper.send(b"mem %d" % tid)
            _, descriptors, _, _ = socket.recv_fds(helper, 16, 1)
        except OSError:
            return None
        return descriptors[0] if descriptors else None

    def link(self, tid: int, name: bytes) -> bytes | None:
        """Where a link of /proc/TID leads, None when its user may not read it either."""
        helper = self._of(tid)
        if helper is None:
            return None
        try:
            helper.send(b"link %d %s" % (tid, name))
            return helper.recv(_LONGEST)[1:] or None
        except OSError:
            return None

    def _of(self, tid: int) -> socket.socket | None:
        try:
            with open(f"/proc/{tid}/status", "rb") as stream:
                lines = stream.read().split(b"\n")
        except OSError:
            return None
        ids = {line.split(b":")[0]: line.split()[1:] for line in lines if line.startswith((b"Uid:", b"Gid:"))}
        if len(ids) < 2:  # it ended while we read
            return None
        who = int(ids[b"Uid"][1]), int(ids[b"Gid"][1])
        if who not in self._helpers:
            try:
                self._helpers[who] = _start(*who)
            except OSError:  # no descriptor or no process is free: perhaps the next time
                return None
        return self._helpers[who]


def _start(uid: int, gid: int) -> socket.socket | None:
    """Fork one; None when we may not take on these ids."""
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    service = os.getpid()
    if os.fork() == 0:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            die_with_parent()
            mine.close()
            if os.getppid() == service:
                theirs.setblocking(True)
                theirs.send(b"ready")
                _answer(theirs)
        finally:
            os._exit(0)
    theirs.close()
    if mine.recv(16) == b"ready":
        return mine
    mine.close()
    return None


def _answer(theirs: socket.socket) -> None:
    """Until the service is gone."""
    while request := theirs.recv(_LONGEST):
        what, tid, *name = request.split(b" ", 2)
        if what == b"mem":
            descriptors = []
            with contextlib.suppress(OSError):
                descriptors.append(os.open(b"/proc/%s/mem" % tid, os.O_RDONLY | os.O_CLOEXEC))
            socket.send_fds(theirs, [b"."], descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
        else:
            target = b""
            with contextlib.suppress(OSError):
                target = os.readlink(b"/proc/%s/%s" % (tid, name[0]))
            theirs.send(b"." + target)
