"""Where a session's commands run: how that is made, and how nothing of it is left.

in place      the live root, under a supervisor
in a sandbox  namespaces over an overlay (`runner.sandbox`)
in a chroot   on a copy of the root, where no namespaces can be had
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from tracer.errors import TracerError
from tracer.kernel import signals, userns
from tracer.options import Isolation, Network, SessionOptions
from tracer.recorder.protocol import Service, ServiceOptions
from tracer.recording import Execution
from tracer.runner import before_image, chroot, keeper, protocol, qemu, rootfs, sandbox, session_directory, supervisor
from tracer.runner.joined import Joined, joined
from tracer.runner.limits import Limits, limited
from tracer.runner.port_forward import Forwarder
from tracer.runner.process import Process, pid_of


class SessionPlace:
    """The state of a session, from its start to its end."""

    def __init__(self, options: SessionOptions, beside: SessionPlace | None = None) -> None:
        self._options = options
        self._beside = beside
        self._ids: userns.Plan | None = None
        self._service: Service | None = None
        self._wire: protocol.Wire | None = None
        self._keeper = 0
        self._place = ""
        self._lock = -1
        self._namespaces: tuple[int, ...] = ()
        self._processes: list[Process] = []
        self._commands: list[tuple[str, ...]] = []
        self._guest: qemu.Guest | None = None
        self._emulator = ""
        self._emulated: list[Execution] = []
        self._copy: chroot.Copy | None = None
        self._limits = Limits()
        self._joined: Joined | None = None
        self._forwarder: Forwarder | None = None
        self._why: list[str] = []

    @property
    def recorder(self) -> str:
        """ "notify", "ptrace", …; "" when nothing is recorded."""
        return self._service.recorder if self._service else ""

    @property
    def explanation(self) -> str:
        """How the commands are kept apart and recorded, and why so."""
        return "; ".join(each for each in self._why if each)

    def _start(self) -> None:
        removed = session_directory.clean()
        if removed:
            self._why.append(f"removed what a killed run left: {', '.join(removed)}")
        options = self._options
        root = os.path.realpath(options.root)
        if not os.path.isdir(root):
            raise TracerError(f"the root is not a directory: {options.root}")
        if options.join and not self._beside:
            self._joined = joined(options.join)
        if options.in_place:
            if root != "/":
                raise TracerError(f"only the live root can be run in place, not {options.root}")
            self._refuse_joined()
            if options.binds:
                raise TracerError("nothing can be mounted for a run in the live root", "name a root with --root")
            self._make_place()
            self._limit(sandbox=False)
            self._record(None)
            self._supervise("")
            self._why.append("in the live root, without namespaces, on the host's network")
            return
        self._make_place()
        refused = options.isolation is Isolation.AUTO and root != "/" and userns.refused()
        if options.isolation is Isolation.CHROOT or (refused and userns.capable(userns.CAP_SYS_CHROOT)):
            self._refuse_joined()
            if not options.trusted:
                raise chroot.not_enough(refused or "")
            self._copy = chroot.prepare(root, self._place, options.hostname, self._binds(), fresh_tmp=options.fresh_tmp)
            self._limit(sandbox=False)
            self._record(None)
            self._supervise(self._copy.place)
            self._why += [f"namespaces are refused ({refused})" if refused else "", *self._copy.notes]
            return
        self._guest = qemu.guest(options.architecture) if options.architecture else None
        self._emulator = qemu.find(self._guest, options.qemu) if self._guest else ""
        ids = self._beside._ids if self._beside else self._joined.ids if self._joined else None
        self._ids = ids = ids or userns.plan(options.identity.uid, options.identity.gid, own=self._guest is not None)
        self._limit(sandbox=True, own_user_namespace=ids.map is not userns.Map.NONE)
        self._record(ids)
        self._sandbox(root, ids)

    def _make_place(self) -> None:
        with signals.held_back():  # a signal between the making and its being known here would leave it
            self._place, self._lock = session_directory.create()

    def _refuse_joined(self) -> None:
        if self._joined and self._joined.namespaces:
            raise TracerError("only a sandbox can share a network", "name a root with --root or --image")

    def _limit(self, *, sandbox: bool, own_user_namespace: bool = False) -> None:
        options, name = self._options, os.path.basename(self._place)
        self._limits = limited(name, options.pids, options.memory, sandbox, own_user_namespace)
        self._why.append(self._limits.why)

    def _record(self, ids: userns.Plan | None) -> None:
        if not (self._options.record or self._options.calls):
            return
        from tracer.recorder import service

        change = before_image.Store(self._saved).before_change if self._options.in_place else None
        single = ids is not None and ids.map is userns.Map.SINGLE
        self._service = service.start(ServiceOptions(self._options.recorder, change, single, self._options.calls))
        self._why.append(self._service.explanation)

    def _sandbox(self, root: str, ids: userns.Plan) -> None:
        options = self._options
        look = rootfs.SandboxSpec(
            root=root,
            place=self._place,
            hostname=options.hostname,
            hosts=options.hosts,
            join=self._beside._network if self._beside else self._joined.namespaces if self._joined else (),
            files=self._files,
            private_network=self._private,
            binds=self._binds(),
            fresh_tmp=options.fresh_tmp,
            ids=ids,
            foreign=not ids.has(os.stat(root).st_uid),
            guest=self._guest,
            emulator=self._emulator,
            capabilities=options.granted,
            confinement=options.confinement,
            limits=self._limits,
            nested=options.allow_nested,
            init=options.init,
        )
        sandbox.prepare(look)
        service = self._service
        mine, theirs = socket.socketpair()
        with mine, theirs, keeper.forked(self._service) as (self._keeper, self._wire, line, watched):
            if self._keeper == 0:
                mine.close()
                answered = service is not None and service.recorder in ("notify", "ptrace")
                sandbox.keep(
                    look, line, theirs, self._lock, service.channel if service else None, watched, not answered
                )
            theirs.close()
            if look.own_user_namespace and mine.recv(1) == b"u":
                userns.write_maps(self._keeper, ids)
                mine.send(b"m")
        notes = self._began()
        self._why += [ids.why, *self._options.loosened(), notes]

    @property
    def _saved(self) -> Path:
        if self._options.saved:
            return Path(self._options.saved, os.path.basename(self._place))
        return Path(self._place, "saved")

    def _binds(self) -> tuple[rootfs.Mount, ...]:
        return tuple(
            rootfs.Mount(os.path.realpath(each.source), each.target, each.writable) for each in self._options.binds
        )

    def _supervise(self, chroot: str) -> None:
        service = self._service
        protected = (os.getpid(), service.pid) if service else (os.getpid(),)
        with keeper.forked(self._service) as (self._keeper, self._wire, line, watched):
            if self._keeper == 0:
                channel = service.channel if service else None
                supervisor.keep(self._place, line, self._lock, channel, watched, protected, chroot, self._limits)
        self._why.append(self._began())

    def _began(self) -> str:
        """Wait until the first process is there. Raises TracerError with what it says."""
        assert self._wire is not None
        try:
            answer, descriptors = self._wire.answer()
        except protocol.Closed:
            raise TracerError("the process that starts commands ended before it began", "was it killed?") from None
        answer.check()
        first, *self._namespaces = descriptors  # type: ignore[assignment]
        pid = pid_of(first)
        os.close(first)
        if self._service:
            self._service.recorded_root(pid)
            self._service.channel.close()
        return answer.hint

    @property
    def _files(self) -> dict[str, str]:
        """What the network that is shared says of its names."""
        return self._joined.files if self._joined else self._beside._files if self._beside else {}

    @property
    def _private(self) -> bool:
        """Whether the commands' network is not the caller's own."""
        if self._beside:
            return self._beside._private
        return bool(self._joined.namespaces) if self._joined else self._options.network is Network.NONE

    @property
    def _network(self) -> tuple[int, ...]:
        """How the commands' network is entered; nothing where it is the caller's own."""
        return self._joined.namespaces if self._joined else self._namespaces if self._private else ()

    def close(self) -> None:
        """Kill all that runs and remove all that was made. Nothing happens the second time."""
        if self._forwarder:
            self._forwarder.close()
        if self._wire:
            self._wire.close()
            self._wire = None
        if self._keeper:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._keeper, 0)
            self._keeper = 0
        if self._service:
            self._service.close()
            self._service = None
        for process in self._processes:
            process.close()
        self._processes.clear()
        for descriptor in self._namespaces:
            os.close(descriptor)
        self._namespaces = ()
        if self._joined:
            self._joined.close()
            self._joined = None
        self._limits.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        if self._place:
            if os.path.lexists(self._place):
                session_directory.remove(self._place)
            self._place = ""

    def _ask(self, request: protocol.Request, *descriptors: int) -> tuple[protocol.Answer, tuple[int, ...]]:
        if self._wire is None:
            raise TracerError("the session was closed", "start another one")
        return self._wire.ask(request, descriptors)
