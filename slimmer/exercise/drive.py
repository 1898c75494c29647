"""One run of a recipe: start, wait until ready, probe, stop.

spawn ─► ready? ─► crawl, openapi, probes, exec, client ─► for SECONDS ─► stop
   │                 (nothing named: what it listens on is found and asked)
   └────────── the program may end by itself at any of these
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from slimmer.errors import UsageProblem
from slimmer.exercise import discover
from slimmer.exercise.default import explore
from slimmer.exercise.execute import Started, inside, outside
from slimmer.exercise.listening import programs
from slimmer.exercise.model import Answer, Executed, Found, RunOutcome
from slimmer.exercise.observer import Observer
from slimmer.exercise.readiness import PAUSE, Readiness, first_port, refuse_taken_port
from slimmer.exercise.running import LEFT_BEHIND, Running
from slimmer.recipe import Run
from slimmer.recipe_checks import signal_number
from tracer.errors import TracerError
from tracer.session import Command, Session

PRIVILEGED = 1024  # ports below are privileged: ip(7), ip_unprivileged_port_start's default
SOON = 0.3  # seconds in which most servers have gone into the background, if they do; they listen before
HEALTH_TRIES, HEALTH_PAUSE = 3, 1.0  # times that HEALTHCHECK is asked, and the seconds between


def drive(
    session: Session,
    run: Run,
    command: Command,
    observer: Observer,
    *,
    shared: bool,
    endable: bool = True,
    health: tuple[str, ...] = (),
    ports: tuple[int, ...] | None = None,
    taken: frozenset[int] = frozenset(),
) -> RunOutcome:
    """Do one run in a session and stop everything that it started.

    `endable`: the first Ctrl-C ends it once its exercise is done, and what it gave counts.
    `health` is what the image's HEALTHCHECK runs: it is asked at the end, and no answer of it is wrong.
    `ports`: a run that names no exercise is given one, and these are the ports that the image exposes; None: it is not.
    `taken` are ports that services beside it listen on.
    `shared`: the session is on the host's network. A program that does not start, dies
    before it was ready or never becomes ready is the outcome's `failure`; probes that
    fail are its `problems`.
    """
    return _Drive(Running(session, run, command, observer, shared, taken), endable, health, ports).go()


class _Drive:
    def __init__(self, app: Running, endable: bool, health: tuple[str, ...], ports: tuple[int, ...] | None) -> None:
        self._app = app
        self._run = app.run
        self._observer = app.observer
        self._endable = endable
        self._health = health
        self._ports = ports
        self._ready = Readiness(app)
        self._ready_after = 0.0
        self._found: Found | None = None

    def go(self) -> RunOutcome:
        self._observer.interrupt.begin(self)
        try:
            return self._go()
        finally:
            self._observer.interrupt.end(self)

    def _go(self) -> RunOutcome:
        app = self._app
        answers: list[Answer] = []
        executed: list[Executed] = []
        failure: TracerError | None = None
        code: int | None = None
        stopped = False
        listens: tuple[tuple[str, int], ...] = ()
        if self._endable and not self._run.exercised and not self._run.ready:
            # Before it starts: its first words may be seen before this process hears that it has started.
            self._observer.interrupt.release(self)
        try:
            refuse_taken_port(app)
            app.start()
        except TracerError as error:
            failure = error
            app.finish_streams()
        else:
            try:
                self._live(answers, executed)
            except UsageProblem:
                raise
            except TracerError as error:
                failure = error
            finally:
                app.leave()
                listens = self._privileged()
                code, stopped = self._stop()
        return RunOutcome(
            command=app.command.argv,
            exit_code=code,
            stopped=stopped,
            output=app.out.head(),
            errors=app.err.tail(),
            answers=tuple(answers),
            executed=tuple(executed),
            interrupted=app.asked(),
            failure=failure,
            ready_after=self._ready_after,
            listens=listens,
            found=self._found,
        )

    def _privileged(self) -> tuple[tuple[str, int], ...]:
        """Programs that listen where not everybody may. Most listen on no such port, and then nobody is looked at."""
        ports = frozenset(port for port in self._app.new_ports() if port < PRIVILEGED)
        return programs(self._app.process.pid, ports) if ports else ()

    def _live(self, answers: list[Answer], executed: list[Executed]) -> None:
        run, app = self._run, self._app
        works = run.exercised
        if works or run.ready:
            self._observer.stage("starting")
            self._ready.wait()
            self._ready_after = time.monotonic() - app.began
        if works:
            self._observer.stage("exercising")
            self._exercise(answers, executed)
        if self._endable:
            self._observer.interrupt.release(self)
        until = self._observer.interrupt.awaited if self._endable else ""
        if until:
            self._observer.stage(until)
            self._linger(run.seconds, self._observer.interrupt.ended)
        elif not works and run.seconds is None and self._ports is not None:
            self._observer.stage("running")
            self._found = found = explore(app, self._ports)
            answers.extend(found.answers)
            self._ready_after = self._ready_after or found.ready_after
        elif run.seconds is not None or not works:
            self._observer.stage("running")
            self._linger(run.seconds, app.asked)
        if self._health and not app.asked() and app.process.poll() is None:
            executed.append(self._ask_health())

    # ------------------------------------------------------------- the work

    def _exercise(self, answers: list[Answer], executed: list[Executed]) -> None:
        run, app = self._run, self._app
        for probe in run.probes:
            app.refuse_gone()
            answers.append(self._ready.take(probe) or app.ask(probe))
        for url in run.crawl:
            answers.extend(discover.crawl(url, app.ask))
        for document in run.openapi:
            answers.extend(discover.openapi(document, app.ask, self._base()))
        for argv in run.exec:
            app.refuse_gone()
            executed.append(self._execute(argv))
        for argv in run.client:
            app.refuse_gone()
            executed.append(outside(app.session, argv, self._observer.echo, self._wait, run.exec_timeout))

    def _base(self) -> str:
        """The application's own URL, for documents that do not name one."""
        port = first_port(self._run)
        return f"http://127.0.0.1:{port}" if port else "http://127.0.0.1"

    def _ask_health(self) -> Executed:
        """HEALTHCHECK, a few times when it says no: it may be about to become healthy. Its exit code counts alone."""
        for turn in range(HEALTH_TRIES):
            found = self._execute(self._health)
            if not found.problem or turn + 1 == HEALTH_TRIES or self._app.process.poll() is not None:
                break
            time.sleep(HEALTH_PAUSE)
        return replace(found, command=f"HEALTHCHECK {found.command}", output=b"", errors=b"", problem="")

    def _execute(self, argv: tuple[str, ...]) -> Executed:
        command = replace(self._app.command, argv=argv)
        return inside(self._app.session, command, self._observer.echo, self._wait, self._run.exec_timeout)

    # ------------------------------------------------------------- the end

    def _wait(self, process: Started, seconds: float | None) -> int | None:
        deadline = None if seconds is None else time.monotonic() + seconds
        while deadline is None or time.monotonic() < deadline:
            code = process.wait(0.1)
            if code is not None:
                return code
            if not self._app.session.alive():  # closed meanwhile: what runs on the host is not waited for either
                break
            self._app.tick()
        return process.poll()

    def _linger(self, seconds: float | None, asked: Callable[[], bool]) -> None:
        """Until the time is over, everything has ended, or somebody asks for it.

        A server that went into the background is waited for as one in the foreground is;
        the agents and daemons that other commands leave behind would be waited for in vain.
        """
        app = self._app
        deadline = None if seconds is None else time.monotonic() + seconds
        serves, soon = False, time.monotonic() + SOON
        while not asked() and (deadline is None or time.monotonic() < deadline):
            serves = serves or bool(app.new_ports())
            if app.process.wait(PAUSE if time.monotonic() < soon else 0.1) is not None:
                if not app.session.busy():
                    return
                if deadline is None and not serves:
                    deadline = time.monotonic() + LEFT_BEHIND
                time.sleep(0.1)  # a process that has ended is not waited for
            app.tick()

    def _stop(self) -> tuple[int | None, bool]:
        app = self._app
        code = app.process.poll()
        if code is not None and not app.session.busy():
            app.finish_streams()
            return code, False
        self._observer.stage("stopping; Ctrl-C again aborts" if app.asked() else "stopping")
        app.session.stop(signal_number(self._run.stop_signal), self._run.grace)
        ended = code is not None
        app.finish_streams()
        return (code, False) if ended else (app.process.poll(), True)
