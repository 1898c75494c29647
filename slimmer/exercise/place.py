"""Where runs take place and how what is there is started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from slimmer.image.config import ImageConfig, health_argv
from slimmer.root.model import Root
from slimmer.service import Service
from slimmer.values import LAST_PORT, natural
from tracer.recorder.protocol import CallFilter
from tracer.runner.confinement import Confinement
from tracer.session import Isolation


@dataclass(frozen=True, slots=True)
class Start:
    """How the source image says that it is started; the recipe's runs override it."""

    argv: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    workdir: str = "/"
    stop_signal: str = ""
    health: tuple[str, ...] = ()  # what HEALTHCHECK runs
    ports: tuple[int, ...] = ()  # of TCP, that it exposes


@dataclass(frozen=True, slots=True)
class Place:
    """Where runs take place: `directory` is run, `root` is how it is read."""

    directory: str
    root: Root
    start: Start
    in_place: bool = False
    architecture: str = ""  # of a foreign root
    isolation: Isolation = Isolation.AUTO
    services: tuple[tuple[Service, Place], ...] = ()  # what runs beside it, and where that takes place
    confinement: Confinement | None = None  # a policy that is tried
    calls: CallFilter | None = None  # system calls are told of, where no paths are recorded
    saved: str = ""  # in place: a directory for what runs change, as it was before; it outlives the sessions


def start_of(config: ImageConfig) -> Start:
    """How a source image is started."""
    return Start(
        argv=config.argv,
        env=dict(config.env),
        user=config.user,
        workdir=config.workdir or "/",
        stop_signal=config.stop_signal,
        health=health_argv(config),
        ports=tuple(_ports(config)),
    )


def _ports(config: ImageConfig) -> Iterator[int]:
    for text in config.exposed_ports:
        number, _, protocol = text.partition("/")
        port = natural(number, LAST_PORT)
        if port and protocol in ("", "tcp"):
            yield port
