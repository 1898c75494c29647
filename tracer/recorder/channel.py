"""How whoever starts a command asks the service to record it: the client's half of arming.

The child that will exec makes a socket pair of its own, sends one end over the shared channel (the
kernel adds who it is, in the service's numbers), and waits for the service's word on its end. For notify it
then installs the filter and sends the listener; for ptrace it is seized first and installs the filter last.
"""

from __future__ import annotations

import ctypes
import enum
import os
import socket
from collections.abc import Mapping, Sequence

from tracer.errors import TracerError
from tracer.kernel.seccomp import Refused, install, libc

_PR_SET_PTRACER = 0x59616D61

GO, NO = b"go", b"no"


class Method(enum.StrEnum):
    """How one command is recorded."""

    NOTIFY = "notify"
    PTRACE = "ptrace"
    FANOTIFY = "fanotify"


class _Declined(Exception):
    """The service cannot take this command in this way; the message says why."""


class FilterChannel:
    """The end of the channel that whoever starts commands inherits."""

    def __init__(self, end: socket.socket, methods: Sequence[Method], codes: Mapping[Method, bytes]) -> None:
        self._end = end
        self._methods = methods
        self._codes = codes

    def arm(self) -> None:
        """See tracer.recorder.protocol.Channel. Tries one method after the other where there is a choice."""
        reasons: list[str] = []
        for method in self._methods:
            mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with mine, theirs:
                try:
                    self._arm(method, mine, theirs)
                    return
                except (_Declined, Refused) as error:
                    reasons.append(f"{method}: {error}")
        raise TracerError("this command cannot be recorded", "\n  ".join(reasons))

    def _arm(self, method: Method, mine: socket.socket, theirs: socket.socket) -> None:
        if method is Method.PTRACE:
            # Where Yama lets only ancestors trace; without it the call fails and is not needed.
            libc.prctl(_PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
        try:
            # The kernel adds who we are, in the service's own numbers.
            socket.send_fds(self._end, [method.encode()], [theirs.fileno()])
        except OSError as error:
            raise TracerError(f"the recorder is gone: {error.strerror}", "look above for why it ended") from error
        theirs.close()
        self._expect(mine)
        if method is Method.FANOTIFY:
            return
        # From here on, a call that names a path waits for the service; sendmsg, recvmsg and close do not.
        listener = install(self._codes[method], listener=method is Method.NOTIFY)
        if method is Method.NOTIFY:
            socket.send_fds(mine, [b"listener"], [listener])
            os.close(listener)
            self._expect(mine)

    @staticmethod
    def _expect(mine: socket.socket) -> None:
        answer = mine.recv(4096)
        if not answer:
            raise TracerError("the recorder has ended", "look above for why")
        if answer != GO:
            raise _Declined(os.fsdecode(answer[len(NO) :]))

    def close(self) -> None:
        """See tracer.recorder.protocol.Channel."""
        self._end.close()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """See tracer.recorder.protocol.Channel."""
        return (self._end.fileno(),)
