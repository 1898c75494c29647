"""When an application is up: a port is open, a page answers, a line was printed; or whatever listens first."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from slimmer.errors import SlimmerError
from slimmer.exercise.model import Answer
from slimmer.exercise.probe import PORTS, TIMEOUT, NoAnswer
from slimmer.exercise.running import Running
from slimmer.exercise.words import ending
from slimmer.recipe import Probe, Run
from slimmer.recipe import probe as parse_probe
from slimmer.values import LAST_PORT, natural

PAUSE = 0.02  # seconds between two looks while waiting
SETTLING = 10.0  # seconds that an application which answers has until the first probe is right
LISTEN_PATIENCE = 5.0  # seconds to wait for a listening socket when nothing says what ready means


def first_port(run: Run) -> int | None:
    """The port that a run's exercise talks to first, where it names one."""
    port = natural(run.ready, LAST_PORT)
    if port is not None:
        return port
    urls = [run.ready] if "://" in run.ready else [each.url for each in run.probes[:1]]
    for url in urls:
        with contextlib.suppress(ValueError):
            parts = urlsplit(url)
            return parts.port or PORTS.get(parts.scheme)
    return None


def refuse_taken_port(app: Running) -> None:
    """Raises SlimmerError when something else answers on the host's network already."""
    port = first_port(app.run)
    if app.shared and port is not None and app.listening(port):
        raise SlimmerError(
            f"port {port} already answers before the application is started",
            "stop what listens there, or use another port; --root DIR runs in a network of its own",
        )


def refuse_port(run: Run, taken: frozenset[int]) -> None:
    """Raises SlimmerError when the port that a run's exercise talks to belongs to somebody in its network already."""
    port = first_port(run)
    if port in taken:
        raise SlimmerError(
            f"port {port} already answers in the network that --network names",
            "the application shares it with what runs there, and so needs a port of its own",
        )


class Readiness:
    """Waits for it. `answer` is what showed it, when that was a probe: it is not sent twice, for a POST may count."""

    def __init__(self, app: Running) -> None:
        self._app = app
        self._settled = 0.0
        self._deadline = app.began + app.run.ready_timeout
        self.answer: tuple[Probe, Answer] | None = None

    def wait(self) -> None:
        """Raises SlimmerError when it ends before, or takes too long."""
        app, run = self._app, self._app.run
        look, past, hoped = self._sign()
        deadline = self._deadline = time.monotonic() + run.ready_timeout
        while not look():
            code = app.process.poll()
            # A daemon forks and its first process ends well; anything else that ends before it was ready has failed.
            if code is not None and not (code == 0 and app.session.busy()) and not look():
                raise SlimmerError(
                    f"{app.words()} {ending(code)} before {past}", app.last_lines() or "it printed nothing"
                )
            if time.monotonic() > deadline:
                raise SlimmerError(
                    f"{app.words()} was not ready: waited {run.ready_timeout:g} s for {hoped}",
                    app.last_lines() or "it printed nothing; --ready-timeout gives it longer",
                )
            app.tick()
            time.sleep(PAUSE)

    def take(self, probe: Probe) -> Answer | None:
        """The answer that this very probe had while it was waited for, once."""
        if self.answer is None or self.answer[0] is not probe or self.answer[1].problem:
            return None
        found, self.answer = self.answer[1], None
        return found

    def _sign(self) -> tuple[Callable[[], bool], str, str]:
        """How it is seen, and what that is called when it is past and while it is waited for."""
        app, run, ready = self._app, self._app.run, self._app.run.ready
        if (port := natural(ready, LAST_PORT)) is not None:
            return lambda: app.listening(port), f"port {port} was open", f"port {port} to open"
        if len(ready) > 1 and ready.startswith("/") and ready.endswith("/"):
            pattern = re.compile(ready[1:-1].encode())
            return (
                lambda: bool(pattern.search(app.out.head() + app.out.tail()) or pattern.search(app.err.tail())),
                f"{ready} was printed",
                f"{ready} to be printed",
            )
        pages = [*run.crawl, *(each for each in run.openapi if "://" in each)]
        first = parse_probe(ready) if ready else next(iter(run.probes), Probe(pages[0]) if pages else None)
        if first is not None:
            return lambda: self._answers(first), f"{first.url} answered", f"{first.url} to answer"
        # Commands only: a server is ready when it listens; what never listens is given a moment.
        until = time.monotonic() + LISTEN_PATIENCE
        return (
            lambda: bool(app.new_ports()) or app.done() or time.monotonic() > until,
            "it listened",
            "it to listen on a port",
        )

    def _answers(self, probe: Probe) -> bool:
        """An answer came, and it is the right one, or has been wrong for as long as a start may take."""
        left = min(TIMEOUT, max(0.1, self._deadline - time.monotonic()))
        try:
            answer = self._app.send(probe, left)
        except NoAnswer:
            return False
        if not answer.problem:
            self.answer = (probe, answer)
            return True
        if self.answer is None:
            self.answer = (probe, answer)
            self._settled = time.monotonic() + min(SETTLING, self._app.run.ready_timeout / 2)
        return time.monotonic() > self._settled
