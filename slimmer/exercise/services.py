"""Services beside an application: each in a sandbox of its own, all in the application's network, by their names.

app's session ─► a session for each service, in its network ─► started in order, each when the one before is ready
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from slimmer.errors import SlimmerError
from slimmer.exercise.execute import Started, inside
from slimmer.exercise.model import RunOutcome
from slimmer.exercise.observer import Observer
from slimmer.exercise.readiness import PAUSE, Readiness
from slimmer.exercise.running import Running
from slimmer.exercise.words import ending
from slimmer.recipe import Recipe, Run
from slimmer.service import Service
from tracer.errors import TracerError
from tracer.session import Command, Network, Session

LOOPBACK = "127.0.0.1"  # one network: what listens on any or on this address is reached by each name
LISTENS = 20.0  # seconds after which a service that does not listen is taken for one that never does
HEALTH_PAUSE = 0.3

# What programs say when nothing answers by a name or a port: getaddrinfo(3), connect(2), Java, Node, Go, libpq, curl.
UNREACHED = re.compile(
    rb"connection refused|ECONNREFUSED|name or service not known|could not translate host name|\bENOTFOUND|EAI_AGAIN"
    rb"|temporary failure in name resolution|no such host|UnknownHost|network is unreachable|ENETUNREACH"
    rb"|can't connect to|could not connect to|nodename nor servname|host not found"
    rb"|bad address|(?:unable to|could not|couldn't) resolve host|no address associated",
    re.IGNORECASE,
)
HINT = (
    "it looks for a service, and the network of a run is its loopback alone: run that beside it with "
    "--service NAME=IMAGE (or --compose FILE), or use the host's network with --network host"
)


@dataclass(frozen=True, slots=True)
class Beside:
    """A service's session, not yet started."""

    service: Service
    session: Session
    command: Command
    health: tuple[str, ...]


def run_of(service: Service) -> Run:
    """A service as a run, to be started like one."""
    return Run(
        command=service.command,
        env=service.env,
        env_file=service.env_file,
        user=service.user,
        workdir=service.workdir,
        ready=service.ready,
        ready_timeout=service.ready_timeout,
    )


def hosts(services: Sequence[Service]) -> tuple[tuple[str, str], ...]:
    """Their names and aliases, for /etc/hosts."""
    return tuple((name, LOOPBACK) for each in services for name in (each.name, *each.aliases))


def begin(
    beside: Sequence[Beside], observer: Observer, shared: bool, taken: frozenset[int] = frozenset()
) -> frozenset[int]:
    """Start them in order, each when the one before is ready; the ports that listen then, with those `taken` before.

    Raises SlimmerError: without them nothing is proved.
    """
    for each in beside:
        observer.stage(f"starting {each.service.name}")
        quiet = replace(observer, stage=lambda name: None, echo=None)
        app = Running(each.session, run_of(each.service), each.command, quiet, shared, taken)
        try:
            app.start()
            _wait(app, each)
            taken |= app.new_ports()
        except TracerError as error:
            raise SlimmerError(f"the service {each.service.name}: {error.message}", error.hint) from error
        finally:
            app.leave()
    return taken


def _wait(app: Running, beside: Beside) -> None:
    if app.run.ready:
        Readiness(app).wait()
        return
    began = time.monotonic()
    while True:
        code = app.process.poll()
        if app.over():
            if code == 0:
                return  # it had one thing to do
            raise SlimmerError(f"{app.words()} {ending(code)}", app.last_lines() or "it printed nothing")
        if beside.service.completes:
            pass
        elif beside.health:
            argv = replace(beside.command, argv=beside.health)
            if not inside(beside.session, argv, None, _patient, beside.service.ready_timeout).problem:
                return
            time.sleep(HEALTH_PAUSE)
        elif app.new_ports() or time.monotonic() - began > LISTENS:
            return
        if time.monotonic() - began > beside.service.ready_timeout:
            raise SlimmerError(
                f"{app.words()} was not ready within {beside.service.ready_timeout:g} s",
                app.last_lines() or "it printed nothing",
            )
        app.tick()
        time.sleep(PAUSE)


def _patient(process: Started, seconds: float | None) -> int | None:
    return process.wait(seconds)


def unreached(outcome: RunOutcome, recipe: Recipe) -> str:
    """What to do about an application that could not reach something; empty when nothing says so."""
    if recipe.sandbox.network != Network.NONE or not UNREACHED.search(outcome.errors + outcome.output[-65536:]):
        return ""
    return HINT
