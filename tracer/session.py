"""Runs commands in a root, recorded or not: the one thing that `slimmer` starts processes with.

    caller ── keeper ── init or supervisor ── commands
       ├── recorder (service)
       └── wire: spawn, socket, drain, kill, …

The caller passes descriptors and gets exit statuses through pipes; whatever way it
ends, nothing of the tree survives it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

from tracer import aside, chroot, interior, leftovers, qemu, sandbox, supervisor, userns, wire
from tracer.errors import TracerError
from tracer.options import Bind, Command, Identity, Isolation, Network, SessionOptions
from tracer.process import Process, pid_of
from tracer.recorder import Service, ServiceOptions
from tracer.recording import ENVIRONMENT, Execution, Recording

__all__ = [
    "Bind",
    "Command",
    "Identity",
    "Isolation",
    "Network",
    "Outcome",
    "Process",
    "Session",
    "SessionOptions",
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a session leaves. Files of `saved` are gone after `Session.close`, unless the options name a place."""

    recording: Recording | None  # None when nothing was recorded; `root` is the caller's to fill in
    saved: Mapping[str, aside.Saved | None] = field(default_factory=dict)  # in place: the state before the first change
    writes: tuple[str, ...] = ()  # sandbox: canonical paths that the run created, changed or removed


class Session:
    """A context manager; make one with `start`."""

    def __init__(self, options: SessionOptions) -> None:
        self._options = options
        self._service: Service | None = None
        self._wire: wire.Wire | None = None
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
        self._asking = False
        self._why: list[str] = []

    @classmethod
    def start(cls, options: SessionOptions) -> Session:
        """Make the place to run commands in. Raises TracerError; then nothing is left behind."""
        session = cls(options)
        try:
            session._start()
        except BaseException:
            session.close()
            raise
        return session

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def recorder(self) -> str:
        """ "notify", "ptrace", …; "" when nothing is recorded."""
        return self._service.recorder if self._service else ""

    @property
    def explanation(self) -> str:
        """How the commands are kept apart and recorded, and why so."""
        return "; ".join(each for each in self._why if each)

    # -- starting

    def _start(self) -> None:
        removed = leftovers.clean()
        if removed:
            self._why.append(f"removed what a killed run left: {', '.join(removed)}")
        options = self._options
        root = os.path.realpath(options.root)
        if not os.path.isdir(root):
            raise TracerError(f"the root is not a directory: {options.root}")
        if options.in_place:
            if root != "/":
                raise TracerError(f"only the live root can be run in place, not {options.root}")
            if options.binds:
                raise TracerError("nothing can be mounted for a run in the live root", "name a root with --root")
            self._place, self._lock = leftovers.create()
            self._record(None)
            self._supervise("")
            self._why.append("in the live root, without namespaces, on the host's network")
            return
        self._place, self._lock = leftovers.create()
        refused = options.isolation is Isolation.AUTO and root != "/" and userns.refused()
        if options.isolation is Isolation.CHROOT or (refused and userns.capable(userns.CAP_SYS_CHROOT)):
            self._copy = chroot.prepare(root, self._place, options.hostname, self._binds(), fresh_tmp=options.fresh_tmp)
            self._record(None)
            self._supervise(self._copy.place)
            self._why += [f"namespaces are refused ({refused})" if refused else "", *self._copy.notes]
            return
        self._guest = qemu.guest(options.architecture) if options.architecture else None
        self._emulator = qemu.find(self._guest, options.qemu) if self._guest else ""
        ids = userns.plan(options.identity.uid, options.identity.gid, own=self._guest is not None)
        self._record(ids)
        self._sandbox(root, ids)

    def _record(self, ids: userns.Plan | None) -> None:
        if not self._options.record:
            return
        from tracer import service

        change = None
        if self._options.in_place:
            change = aside.Store(self._saved).before_change
        single = ids is not None and ids.map is userns.Map.SINGLE
        self._service = service.start(ServiceOptions(self._options.recorder, change, single))
        self._why.append(self._service.explanation)

    def _sandbox(self, root: str, ids: userns.Plan) -> None:
        options = self._options
        look = interior.Furnishing(
            root=root,
            place=self._place,
            hostname=options.hostname,
            private_network=options.network is Network.NONE,
            binds=self._binds(),
            fresh_tmp=options.fresh_tmp,
            ids=ids,
            foreign=not ids.has(os.stat(root).st_uid),
            guest=self._guest,
            emulator=self._emulator,
        )
        sandbox.prepare(look)
        service = self._service
        mine, theirs = socket.socketpair()
        with mine, theirs, self._forking() as (line, watched):
            if self._keeper == 0:
                mine.close()
                answered = service is not None and service.recorder in ("notify", "ptrace")
                sandbox.keep(
                    look, line, theirs, self._lock, service.channel if service else None, watched, not answered
                )
            theirs.close()
            if ids.map is not userns.Map.NONE and mine.recv(1) == b"u":
                userns.write_maps(self._keeper, ids)
                mine.send(b"m")
        notes = self._began()
        self._why += [ids.why, notes]

    @property
    def _saved(self) -> Path:
        if self._options.saved:
            return Path(self._options.saved, os.path.basename(self._place))
        return Path(self._place, "saved")

    def _binds(self) -> tuple[interior.Mount, ...]:
        return tuple(
            interior.Mount(os.path.realpath(each.source), each.target, each.writable) for each in self._options.binds
        )

    def _supervise(self, chroot: str) -> None:
        service = self._service
        protected = (os.getpid(), service.pid) if service else (os.getpid(),)
        with self._forking() as (line, watched):
            if self._keeper == 0:
                channel = service.channel if service else None
                supervisor.keep(self._place, line, self._lock, channel, watched, protected, chroot)
        self._why.append(self._began())

    @contextlib.contextmanager
    def _forking(self) -> Iterator[tuple[wire.Wire, tuple[int, ...]]]:
        """Fork the keeper; the body runs on both sides, and never returns in the child."""
        mine, theirs = socket.socketpair()
        self._wire, line = wire.Wire(mine), wire.Wire(theirs)
        watched = (os.pidfd_open(self._service.pid),) if self._service else ()
        # A Ctrl-C between fork and the child's own signal handling would unwind the caller's stack in the child.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._keeper = os.fork()
            if self._keeper:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            try:
                yield line, watched
            finally:
                if self._keeper == 0:
                    os._exit(1)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            line.close()
            for descriptor in watched:
                os.close(descriptor)

    def _began(self) -> str:
        """Wait until the first process is there. Raises TracerError with what it says."""
        assert self._wire is not None
        try:
            answer, descriptors = self._wire.answer()
        except wire.Closed:
            raise TracerError("the process that starts commands ended before it began", "was it killed?") from None
        answer.check()
        first, *self._namespaces = descriptors  # type: ignore[assignment]
        pid = pid_of(first)
        os.close(first)
        if self._service:
            self._service.recorded_root(pid)
            self._service.channel.close()
        return answer.hint

    # -- running

    def spawn(self, command: Command, *, stdin: int | None = None, stdout: int, stderr: int) -> Process:
        """Start a command with these descriptors of the caller's (stdin None: /dev/null); recorded from its exec on.

        Raises TracerError when it cannot be executed; then nothing is left running.
        """
        if not command.argv:
            raise TracerError("the command is empty", "name a program and its arguments")
        identity = command.identity
        if self._options.in_place and os.geteuid() != 0 and identity == Identity():
            identity = Identity(os.geteuid(), os.getegid(), tuple(os.getgroups()))
        request = wire.Spawn(
            command.argv,
            tuple(command.env.items()),
            command.workdir,
            identity.uid,
            identity.gid,
            identity.groups,
        )
        reader, writer = os.pipe2(os.O_CLOEXEC)
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC) if stdin is None else -1
        try:
            answer, descriptors = self._ask(request, (null if stdin is None else stdin, stdout, stderr, writer))
            answer.check()
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
            if null >= 0:
                os.close(null)
        handle = descriptors[0] if descriptors else -1
        pid = pid_of(handle) if handle >= 0 else answer.number if self._options.in_place else 0
        process = Process(reader, handle, pid)
        search = tuple(sorted(each for each in command.env.items() if each[0] in ENVIRONMENT))
        self._emulated += [Execution(path, command.workdir, search) for path in answer.paths]
        self._processes.append(process)
        self._commands.append(command.argv)
        return process

    def socket(self, family: int, kind: int) -> socket.socket:
        """An unconnected socket in the commands' network namespace: a probe runs in the caller over it."""
        if self._private_network():
            answer, descriptors = self._ask(wire.OpenSocket(int(family), int(kind)))
            answer.check()
            return socket.socket(fileno=descriptors[0])
        return socket.socket(family, kind)

    def run_outside(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        stdin: bytes | None = None,
        workdir: str | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program of the host, on the host's files, in the commands' network namespace; not recorded.

        Raises OSError when it cannot be started, subprocess.TimeoutExpired when it takes longer (it is killed).
        """
        return subprocess.run(
            list(argv),
            env=dict(env) if env is not None else None,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=timeout,
            cwd=workdir,
            preexec_fn=self._join if self._private_network() else None,
        )

    def _private_network(self) -> bool:
        return bool(self._namespaces) and self._options.network is Network.NONE

    def _join(self) -> None:
        network, *user = self._namespaces
        for descriptor in user:
            userns.join(descriptor, userns.NEWUSER)
        userns.join(network, userns.NEWNET)

    def paths_seen(self) -> int:
        """Distinct paths recorded so far; cheap."""
        return self._service.count() if self._service else 0

    def alive(self) -> bool:
        """Whether commands can still run: the recorder and the process that starts them are there."""
        if self._wire is None:
            return False
        poll = select.poll()
        poll.register(self._wire.fileno(), 0)
        return not poll.poll(0)

    def busy(self) -> bool:
        """Whether anything still runs of what was started here, daemons that it left behind too."""
        try:
            return self._left(0)
        except wire.Closed:
            return False

    def stop(self, signal_number: int = signal.SIGTERM, grace: float = 10.0) -> None:
        """End everything: the signal to the commands; after at most `grace` seconds SIGKILL to all that is left.

        Commands that have ended leave the signal to what they left behind (daemons), which
        gets the rest of the grace; where a command took the signal, what outlives it gets a second at most.
        """
        deadline = time.monotonic() + grace
        running = [each for each in self._processes if each.poll() is None]
        for each in running:
            each.signal(signal_number)
        for each in running:
            each.wait(max(0.0, deadline - time.monotonic()))
        if running:
            deadline = min(deadline, time.monotonic() + 1.0)
        with contextlib.suppress(wire.Closed):
            if not self._left(0):
                return
            self._ask(wire.Signal(signal_number))
            while time.monotonic() < deadline:
                if not self._left(min(0.1, max(0.0, deadline - time.monotonic()))):
                    return
            self._ask(wire.Kill())

    def _left(self, seconds: float) -> bool:
        return bool(self._ask(wire.Drain(seconds))[0].number)

    def finish(self) -> Outcome:
        """What the session leaves; after `stop`. Raises TracerError when the recorder died or lost events."""
        writes: tuple[str, ...] = ()
        if self._copy:
            writes = self._copy.changes()
        elif not self._options.in_place:
            try:
                writes = self._ask(wire.Writes())[0].check().paths
            except wire.Closed:
                if self._service is None:
                    raise TracerError("the sandbox ended before its commands did", "was it killed?") from None
        recording = None
        if self._service:
            recording = self._service.finish()
            problems = aside.problems(self._saved) if self._options.in_place else ()
            if self._guest:
                recording = qemu.cleaned(recording, self._guest, self._emulator, self._emulated)
            recording = replace(
                recording,
                commands=tuple(sorted(set(self._commands))),
                notes=tuple(sorted({*recording.notes, *problems})),
            )
        saved = aside.load(self._saved) if self._options.in_place and self._service else {}
        return Outcome(recording, saved, writes)

    def close(self) -> None:
        """Kill all that runs and remove all that was made. Nothing happens the second time."""
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
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        if self._place:
            if os.path.lexists(self._place):
                leftovers.remove(self._place)
            self._place = ""

    def _ask(self, request: wire.Request, descriptors: tuple[int, ...] = ()) -> tuple[wire.Answer, tuple[int, ...]]:
        """One request and its answer. Ctrl-C waits so long: half an exchange would spoil the next."""
        if self._wire is None or self._asking:
            raise TracerError("the session was closed or interrupted", "start another one")
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
        self._asking = True
        try:
            answer = self._wire.ask(request, descriptors)
            self._asking = False
        except wire.Closed:
            self._asking = False
            if isinstance(request, wire.Spawn | wire.OpenSocket):
                raise TracerError(
                    "the commands' first process is gone, and all that ran with it",
                    "it or the recorder was killed, or memory ran out",
                ) from None
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return answer
