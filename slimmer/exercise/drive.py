"""One run of a recipe: start, wait until ready, probe, stop.

spawn ─► ready? ─► crawl, openapi, probes, exec, client ─► for SECONDS ─► stop
   └────────── the program may end by itself at any of these
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from slimmer.errors import SlimmerError, UsageProblem
from slimmer.exercise import discover
from slimmer.exercise.listening import listeners, programs
from slimmer.exercise.model import BODY_LIMIT, Answer, Executed, RunOutcome
from slimmer.exercise.output import Stream
from slimmer.exercise.probe import PORTS, NoAnswer, connect, send, show
from slimmer.recipe import Probe, Run
from slimmer.recipe import probe as parse_probe
from tracer.errors import TracerError
from tracer.session import Command, Process, Session

PAUSE = 0.02  # seconds between two looks while waiting
SETTLING = 10.0  # seconds that an application which answers has until the first probe is right
NOT_STARTED = 127  # a shell's exit code for a command that it does not find
EXEC_TIMEOUT = 300.0  # seconds for one --exec or client command
PRIVILEGED = 1024  # ports below are privileged: ip(7), ip_unprivileged_port_start's default
MOMENT = 2.0  # seconds in which what cannot start in the slim root ends by itself
SOON = 0.3  # seconds in which most servers have gone into the background, if they do; they listen before
LEFT_BEHIND = 10.0  # seconds that a command's helpers have to end after it: a container ends with its first process
LISTEN_PATIENCE = 5.0  # seconds to wait for a listening socket when nothing says what ready means


class Interrupt:
    """Ctrl-C: the first ends the run and goes on to the build, the second aborts."""

    def __init__(self) -> None:
        self.asked = False

    def _on_signal(self, number: int, frame: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    @contextlib.contextmanager
    def watching(self) -> Iterator[Interrupt]:
        previous = signal.signal(signal.SIGINT, self._on_signal)
        try:
            yield self
        finally:
            signal.signal(signal.SIGINT, previous)


@dataclass(frozen=True, slots=True)
class Observer:
    """Whom the drive tells how it goes: `stage` by name, `tick` with seconds, `echo` what the program prints."""

    stage: Callable[[str], None] = lambda name: None
    tick: Callable[[float, int], None] = lambda seconds, paths: None
    echo: Callable[[bytes], None] | None = None
    interrupt: Interrupt = field(default_factory=Interrupt)


def drive(session: Session, run: Run, command: Command, observer: Observer, *, shared: bool) -> RunOutcome:
    """Do one run in a session and stop everything that it started.

    `shared`: the session is on the host's network. A program that does not start, dies
    before it was ready or never becomes ready is the outcome's `failure`; probes that
    fail are its `problems`.
    """
    return _Drive(session, run, command, observer, shared).go()


class _Drive:
    def __init__(self, session: Session, run: Run, command: Command, observer: Observer, shared: bool) -> None:
        self._session = session
        self._run = run
        self._command = command
        self._observer = observer
        self._shared = shared
        self._begin = time.monotonic()
        self._late = observer.interrupt.asked  # Ctrl-C ended an earlier run; this one is the check of it
        self._out = Stream(observer.echo)
        self._err = Stream(observer.echo)
        self._process: Process
        self._root = -1  # of the application, open: it outlives a first process that ends
        self._ready_answer: tuple[Probe, Answer] | None = None
        self._settled = 0.0
        self._ports_before = listeners() if shared else frozenset()

    def go(self) -> RunOutcome:
        answers: list[Answer] = []
        executed: list[Executed] = []
        failure: TracerError | None = None
        code: int | None = None
        stopped = False
        listens: tuple[tuple[str, int], ...] = ()
        try:
            self._start()
        except TracerError as error:
            failure = error
            self._finish_streams()
        else:
            try:
                self._live(answers, executed)
            except UsageProblem:
                raise
            except TracerError as error:
                failure = error
            finally:
                if self._root >= 0:
                    os.close(self._root)
                    self._root = -1
                listens = self._privileged()
                code, stopped = self._stop()
        return RunOutcome(
            command=self._command.argv,
            exit_code=code,
            stopped=stopped,
            output=self._out.head(),
            errors=self._err.tail(),
            answers=tuple(answers),
            executed=tuple(executed),
            interrupted=self._asked(),
            failure=failure,
            listens=listens,
        )

    def _privileged(self) -> tuple[tuple[str, int], ...]:
        """Programs that listen where not everybody may. Most listen on no such port, and then nobody is looked at."""
        ports = frozenset(port for port in self._new_ports() if port < PRIVILEGED)
        return programs(self._process.pid, ports) if ports else ()

    def _start(self) -> None:
        self._refuse_taken_port()
        try:
            self._process = self._session.spawn(self._command, stdout=self._out.fd, stderr=self._err.fd)
            with contextlib.suppress(OSError):
                self._root = os.open(f"/proc/{self._process.pid}/root", os.O_PATH | os.O_CLOEXEC)
        finally:
            self._out.started()
            self._err.started()

    def _live(self, answers: list[Answer], executed: list[Executed]) -> None:
        run = self._run
        works = bool(run.probes or run.exec or run.client or run.crawl or run.openapi)
        if works or run.ready:
            self._observer.stage("starting")
            self._wait_ready()
        if works and not self._asked():
            self._observer.stage("exercising")
            self._exercise(answers, executed)
        if run.seconds is not None or not works:
            self._observer.stage("running")
            self._linger(run.seconds)

    # ------------------------------------------------------------ readiness

    def _refuse_taken_port(self) -> None:
        port = self._first_port()
        if self._shared and port is not None:
            try:
                connect(self._session.socket, "127.0.0.1", port, 1.0).close()
            except NoAnswer:
                return
            raise SlimmerError(
                f"port {port} already answers before the application is started",
                "stop what listens there, or use another port; --root DIR runs in a network of its own",
            )

    def _first_port(self) -> int | None:
        if self._run.ready.isdigit():
            return int(self._run.ready)
        urls = [self._run.ready] if "://" in self._run.ready else [each.url for each in self._run.probes[:1]]
        for url in urls:
            parts = urlsplit(url)
            with contextlib.suppress(ValueError):
                return parts.port or PORTS.get(parts.scheme)
        return None

    def _wait_ready(self) -> None:
        look, past, hoped = self._readiness()
        deadline = time.monotonic() + self._run.ready_timeout
        while not look():
            if self._asked():
                return
            code = self._process.poll()
            # A daemon forks and its first process ends well; anything else that ends before it was ready has failed.
            if code is not None and not (code == 0 and self._session.busy()) and not look():
                raise SlimmerError(
                    f"{self._words()} {ending(code)} before {past}",
                    self._last_lines() or "it printed nothing",
                )
            if time.monotonic() > deadline:
                raise SlimmerError(
                    f"{self._words()} was not ready: waited {self._run.ready_timeout:g} s for {hoped}",
                    self._last_lines() or "it printed nothing; --ready-timeout gives it longer",
                )
            self._tick()
            time.sleep(PAUSE)

    def _readiness(self) -> tuple[Callable[[], bool], str, str]:
        """How it is seen, and what that is called when it is past and while it is waited for."""
        ready, run = self._run.ready, self._run
        if ready.isdigit():
            port = int(ready)
            return lambda: self._listening(port), f"port {port} was open", f"port {port} to open"
        if len(ready) > 1 and ready.startswith("/") and ready.endswith("/"):
            try:
                pattern = re.compile(ready[1:-1].encode())
            except re.error as error:
                raise UsageProblem(f"--ready {ready}: {error}", "write a Python regular expression") from error
            return (
                lambda: bool(pattern.search(self._out.head() + self._out.tail()) or pattern.search(self._err.tail())),
                f"{ready} was printed",
                f"{ready} to be printed",
            )
        if ready:
            first = parse_probe(ready)
            return lambda: self._answers(first), f"{first.url} answered", f"{first.url} to answer"
        if run.probes:
            first = run.probes[0]
            return lambda: self._answers(first), f"{first.url} answered", f"{first.url} to answer"
        pages = [*run.crawl, *(each for each in run.openapi if "://" in each)]
        if pages:
            page = Probe(pages[0])
            return lambda: self._answers(page), f"{page.url} answered", f"{page.url} to answer"
        # Commands only: a server is ready when it listens; what never listens is given a moment.
        until = time.monotonic() + LISTEN_PATIENCE
        return (
            lambda: bool(self._new_ports()) or self._done() or time.monotonic() > until,
            "it listened",
            "it to listen on a port",
        )

    def _done(self) -> bool:
        """A program that is no server has ended well: the commands that follow it need nothing of it."""
        run = self._run
        return self._process.poll() == run.expect_exit and not (run.ready or run.probes or run.crawl or run.openapi)

    def _new_ports(self) -> frozenset[int]:
        before = self._ports_before if self._shared else frozenset()
        return listeners(self._process.pid) - before

    def _listening(self, port: int) -> bool:
        try:
            connect(self._session.socket, "127.0.0.1", port, 1.0).close()
        except NoAnswer:
            return False
        return True

    def _top(self) -> str:
        return f"/proc/self/fd/{self._root}" if self._root >= 0 else ""

    def _answers(self, probe: Probe) -> bool:
        """An answer came, and it is the right one, or has been wrong for as long as a start may take."""
        try:
            answer = send(probe, self._session.socket, shared=self._shared, top=self._top())
        except NoAnswer:
            return False
        if not answer.problem:
            self._ready_answer = (probe, answer)
            return True
        if self._ready_answer is None:
            self._ready_answer = (probe, answer)
            self._settled = time.monotonic() + min(SETTLING, self._run.ready_timeout / 2)
        return time.monotonic() > self._settled

    # ------------------------------------------------------------- the work

    def _exercise(self, answers: list[Answer], executed: list[Executed]) -> None:
        run = self._run
        for probe in run.probes:
            if self._gone():
                return
            # The one that showed readiness is not sent twice: a POST may count.
            known = self._ready_answer
            if known is not None and known[0] is probe and not known[1].problem:
                answers.append(known[1])
                self._ready_answer = None
            else:
                answers.append(self._ask(probe))
        for url in run.crawl:
            answers.extend(discover.crawl(url, self._ask))
        for document in run.openapi:
            answers.extend(discover.openapi(document, self._ask, self._base()))
        for line in run.exec:
            if self._gone():
                return
            executed.append(self._execute(line))
        for line in run.client:
            if self._gone():
                return
            executed.append(self._client(line))

    def _base(self) -> str:
        """The application's own URL, for documents that do not name one."""
        port = self._first_port()
        return f"http://127.0.0.1:{port}" if port else "http://127.0.0.1"

    def _ask(self, probe: Probe) -> Answer:
        self._tick()
        try:
            return send(probe, self._session.socket, shared=self._shared, top=self._top())
        except NoAnswer as error:
            return Answer(f"{probe.method} {probe.url}", None, b"", "", f"no answer: {error}")

    def _execute(self, line: str) -> Executed:
        argv = tuple(shlex.split(line))
        out, err = Stream(self._observer.echo), Stream(self._observer.echo)
        command = Command(argv, self._command.env, self._command.workdir, self._command.identity)
        try:
            process = self._session.spawn(command, stdout=out.fd, stderr=err.fd)
        except TracerError as error:  # that one program is missing says nothing of what is asked next
            out.finish()
            err.finish()
            return Executed(line, NOT_STARTED, b"", b"", str(error))
        finally:
            out.started()
            err.started()
        code = self._wait(process, EXEC_TIMEOUT)
        if code is None:
            process.signal(signal.SIGKILL)
            process.wait(5.0)
        out.finish()
        err.finish()
        problem = ""
        if code is None:
            problem = f"did not end within {EXEC_TIMEOUT:g} s"
        elif code:
            problem = f"{ending(code)}: {show(err.tail()) if err.tail() else show(out.tail())}"
        return Executed(line, code, out.head(), err.tail(), problem)

    def _client(self, line: str) -> Executed:
        try:
            done = self._session.run_outside(shlex.split(line), timeout=EXEC_TIMEOUT)
        except subprocess.TimeoutExpired as error:
            problem = f"did not end within {EXEC_TIMEOUT:g} s"
            return Executed(line, None, (error.stdout or b"")[:BODY_LIMIT], error.stderr or b"", problem)
        except OSError as error:
            raise SlimmerError(
                f"--client {line}: {error.strerror}", "a client is a program of the host; --exec runs one of the root"
            ) from error
        problem = f"{ending(done.returncode)}: {show(done.stderr or done.stdout)}" if done.returncode else ""
        return Executed(line, done.returncode, done.stdout[:BODY_LIMIT], done.stderr, problem)

    # ------------------------------------------------------------- the end

    def _wait(self, process: Process, seconds: float | None) -> int | None:
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self._asked() and (deadline is None or time.monotonic() < deadline):
            code = process.wait(0.1)
            if code is not None:
                return code
            self._tick()
        return process.poll()

    def _linger(self, seconds: float | None) -> None:
        """Until the time is over, everything has ended, or Ctrl-C. After an earlier Ctrl-C a moment is enough.

        A server that went into the background is waited for as one in the foreground is;
        the agents and daemons that other commands leave behind would be waited for in vain.
        """
        if seconds is None and self._late:
            seconds = MOMENT
        deadline = None if seconds is None else time.monotonic() + seconds
        serves, soon = False, time.monotonic() + SOON
        while not self._asked() and (deadline is None or time.monotonic() < deadline):
            serves = serves or bool(self._new_ports())
            if self._process.wait(PAUSE if time.monotonic() < soon else 0.1) is not None:
                if not self._session.busy():
                    return
                if deadline is None and not serves:
                    deadline = time.monotonic() + LEFT_BEHIND
                time.sleep(0.1)  # a process that has ended is not waited for
            self._tick()

    def _stop(self) -> tuple[int | None, bool]:
        code = self._process.poll()
        if code is not None and not self._session.busy():
            self._finish_streams()
            return code, False
        self._observer.stage("stopping")
        self._session.stop(signal_number(self._run.stop_signal), self._run.grace)
        ended = code is not None
        self._finish_streams()
        return (code, False) if ended else (self._process.poll(), True)

    def _finish_streams(self) -> None:
        self._out.finish()
        self._err.finish()

    def _gone(self) -> bool:
        """The program died under the probes: the rest would only say so again."""
        code = self._process.poll()
        if code is None or self._session.busy() or self._asked() or self._done():
            return self._asked()
        raise SlimmerError(f"{self._words()} {ending(code)} during the exercise", self._last_lines())

    def _asked(self) -> bool:
        return self._observer.interrupt.asked and not self._late

    def _tick(self) -> None:
        self._observer.tick(time.monotonic() - self._begin, self._session.paths_seen())

    def _words(self) -> str:
        return shlex.join(self._command.argv)[:200]

    def _last_lines(self) -> str:
        return last_lines(self._err.tail() + b"\n" + self._out.tail())


def last_lines(output: bytes, count: int = 8) -> str:
    """The end of what a program printed, for a message."""
    lines = [line.rstrip() for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
    return "\n  ".join(["its last lines:", *(line[:300] for line in lines[-count:])]) if lines else ""


def ending(code: int | None) -> str:
    """What an exit code says, in words."""
    if code is None:
        return "did not end"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
    return f"exited with {code}"


def signal_number(name: str) -> int:
    """ "TERM", "SIGTERM", "15" → 15. Raises UsageProblem."""
    text = name.upper().removeprefix("SIG")
    if text.isdigit() and 0 < int(text) < signal.NSIG:
        return int(text)
    try:
        return int(signal.Signals[f"SIG{text}"])
    except KeyError:
        raise UsageProblem(f"--stop-signal {name}: no such signal", "write TERM, QUIT, INT or a number") from None
