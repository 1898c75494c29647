"""An application while it runs: its process, what it prints, its ports, and how it is asked."""

from __future__ import annotations

import contextlib
import os
import shlex
import time

from slimmer.errors import SlimmerError
from slimmer.exercise.listening import listeners, owned
from slimmer.exercise.model import Answer
from slimmer.exercise.observer import Observer
from slimmer.exercise.output import Stream
from slimmer.exercise.probe import TIMEOUT, NoAnswer, connect, send
from slimmer.exercise.words import ending, last_lines
from slimmer.recipe import Probe, Run
from tracer.session import Command, Process, Session

LEFT_BEHIND = 10.0  # seconds that a command's helpers have to end after it: a container ends with its first process


class Running:
    """One run's application in its session. `shared`: on the host's network."""

    def __init__(
        self,
        session: Session,
        run: Run,
        command: Command,
        observer: Observer,
        shared: bool,
        taken: frozenset[int] = frozenset(),
    ) -> None:
        self.session = session
        self.run = run
        self.command = command
        self.observer = observer
        self.shared = shared
        self.began = time.monotonic()
        self.out = Stream(observer.echo)
        self.err = Stream(observer.echo)
        self.process: Process
        self._root = -1  # of the application, open: it outlives a first process that ends
        self._before = listeners() if shared else taken  # the host's ports, or those of services beside it

    def start(self) -> None:
        """Raises TracerError when it cannot be executed."""
        try:
            self.process = self.session.spawn(self.command, stdout=self.out.fd, stderr=self.err.fd)
            with contextlib.suppress(OSError):
                self._root = os.open(f"/proc/{self.process.pid}/root", os.O_PATH | os.O_CLOEXEC)
        finally:
            self.out.started()
            self.err.started()

    def leave(self) -> None:
        """Nothing is asked any more."""
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def finish_streams(self) -> None:
        self.out.finish()
        self.err.finish()

    def new_ports(self) -> frozenset[int]:
        """The ports that listen since it was started, in its network."""
        return listeners(self.process.pid) - self._before

    def own_ports(self) -> frozenset[int]:
        """The same; on the host's network those that it, or what it started, holds itself."""
        ports = self.new_ports()
        return owned(self.process.pid, ports) if ports and self.shared else ports

    def listening(self, port: int) -> bool:
        try:
            connect(self.session.socket, "127.0.0.1", port, 1.0).close()
        except NoAnswer:
            return False
        return True

    def send(self, probe: Probe, timeout: float = TIMEOUT) -> Answer:
        """Raises NoAnswer."""
        top = f"/proc/self/fd/{self._root}" if self._root >= 0 else ""
        return send(probe, self.session.socket, shared=self.shared, timeout=timeout, top=top)

    def ask(self, probe: Probe, timeout: float = TIMEOUT) -> Answer:
        self.tick()
        try:
            return self.send(probe, timeout)
        except NoAnswer as error:
            return Answer(f"{probe.method} {probe.url}", None, b"", "", f"no answer: {error}")

    def over(self) -> bool:
        """It has ended, and left nothing behind that still runs."""
        return self.process.poll() is not None and not self.session.busy()

    def done(self) -> bool:
        """A program that is no server has ended well: the commands that follow it need nothing of it."""
        run = self.run
        return self.process.poll() == run.expect_exit and not (run.ready or run.probes or run.crawl or run.openapi)

    def refuse_gone(self) -> None:
        """The program died under the probes: the rest would only say so again."""
        if self.over() and not self.done():
            code = self.process.poll()
            raise SlimmerError(f"{self.words()} {ending(code)} during the exercise", self.last_lines())

    def asked(self) -> bool:
        """Somebody asked for its end."""
        return self.observer.interrupt.asked

    def tick(self) -> None:
        self.observer.tick(time.monotonic() - self.began, self.session.paths_seen())

    def words(self) -> str:
        return shlex.join(self.command.argv)[:200]

    def last_lines(self) -> str:
        return last_lines(self.err.tail() + b"\n" + self.out.tail())
