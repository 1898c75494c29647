"""The seam between what runs programs and what records them.

Two processes. The *service* records: it owns listeners or tracees, resolves
paths and collects accesses; it runs outside every namespace of the traced tree,
as a child of the process that calls `start`. The *traced side* is whatever forks
the commands (the sandbox's init, or the in-place supervisor): between fork and
exec of each command it calls `Channel.arm`, and from then on every path that the
command or a descendant of it names is recorded.

    caller ── start() ──► Service (pid, channel, finish)
       └── sandbox init ── fork ── channel.arm() ── exec COMMAND
                                        │ SCM_RIGHTS over SOCK_SEQPACKET
                                        ▼
                                     service
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tracer.recording import Recording


class Choice(enum.StrEnum):
    """What --recorder takes."""

    AUTO = "auto"
    NOTIFY = "notify"
    PTRACE = "ptrace"
    FANOTIFY = "fanotify"
    FANOTIFY_NOTIFY = "fanotify+notify"


class Channel(Protocol):
    """Inherited over fork by whoever starts commands. Usable from any namespace."""

    def arm(self) -> None:
        """Between fork and exec, still privileged: record this process and all that it starts, from here on.

        Sets no_new_privs only when the kernel would refuse otherwise. Raises
        TracerError when the kernel refuses; the service is told, nobody waits for ever.
        """

    def close(self) -> None:
        """For the sides that do not start commands."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Every file descriptor that `arm` needs: a forked side closes all others."""


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which system calls to tell of in place of paths: those for which the BPF program returns RET_USER_NOTIF.

    Such a call goes on, or with `refuse` is answered with EPERM. The program must let sendmsg, recvfrom and close
    pass: by them a command hands over its listener.
    """

    program: bytes
    refuse: bool = False


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """What the service is to know.

    `root_pid`'s root directory (as /proc/PID/root) is the recorded root; None: the
    service's own root, i.e. an in-place run. Paths come out relative to it. It may be
    told later, by `Service.recorded_root`, because the sandbox starts after the service.

    `before_change` is called in the service, while the process that asked is stopped,
    with the path (inside the root, parents resolved, last link not) that is about to be
    created, written, truncated, renamed, removed or have its metadata changed. Only the
    stop-based recorders call it. It must not raise.

    `pretend` is for an ordinary user's namespace that maps one id: there these calls
    would fail. They must be recorded and answered by the service itself, because an
    ERRNO answer of another seccomp filter would outrank the notification.

    With `calls` no path is recorded, but the calls that it tells of (see `Service.calls`).
    """

    choice: Choice = Choice.AUTO
    before_change: Callable[[str], None] | None = None
    pretend: bool = False  # answer chown, lchown, fchownat, and mknod(at) of devices, with success and do nothing
    calls: CallFilter | None = None


class Service(Protocol):
    """The recorder process, as its parent sees it. It dies with its parent (PR_SET_PDEATHSIG)."""

    @property
    def pid(self) -> int:
        """Its process id; when it ends before `finish`, whoever runs commands must kill them."""

    @property
    def recorder(self) -> str:
        """Which recorder was chosen ("notify", "ptrace", …)."""

    @property
    def explanation(self) -> str:
        """Why, in a sentence or two."""

    @property
    def channel(self) -> Channel: ...

    def recorded_root(self, pid: int) -> None:
        """The recorded root is that of this process (in the caller's pid namespace) from now on."""

    def count(self) -> int:
        """Distinct paths seen so far, for the progress line; cheap (shared memory)."""

    def finish(self) -> Recording:
        """Stop recording (all commands have ended) and give what was recorded: accesses, executions, recorder, notes.

        `commands` and `root` are the caller's to fill in. When the service failed or was killed, what it had seen until
        then comes back, marked `incomplete`. Raises TracerError when events were lost.
        """

    def calls(self) -> frozenset[tuple[int, int]]:
        """In place of `finish`: what a CallFilter told of, each as the audit architecture and the call's number.

        Raises TracerError when some may be missing.
        """

    def close(self) -> None:
        """End it whatever it does, and release what it held; nothing is left of it. Harmless after `finish`."""
