"""The tables of a recipe beside its runs: where the root comes from, how runs are held, what is packed and how."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from slimmer.recipe_checks import (
    HOST,
    FieldProblem,
    check_argv,
    check_attribute,
    check_host,
    check_size,
    read_published,
)
from tracer.recorder.protocol import Choice
from tracer.runner.limits import PIDS
from tracer.session import Init, Network

CONTAINER = "container:"
MOST_PIDS = 1 << 22  # include/linux/threads.h, PID_MAX_LIMIT


class Keep(enum.StrEnum):
    RECORDED = "recorded"
    REACHABLE = "reachable"
    PACKAGES = "packages"


class Layers(enum.StrEnum):
    ONE = "one"
    SPLIT = "split"


@dataclass(frozen=True, slots=True)
class Source:
    """Where the fat root comes from."""

    root: str = "/"
    image: str = ""
    platform: str = ""
    qemu: str = ""
    limits: tuple[str, ...] = ()  # NAME=VALUE, over the defaults of what an image may hold
    insecure: bool = False  # its registry may speak plain HTTP or show an unknown certificate


@dataclass(frozen=True, slots=True)
class Sandbox:
    """How the runs are held."""

    recorder: Choice = Choice.AUTO
    network: str = Network.NONE  # "none", "host", or "container:PROCESS", whose network is shared
    publish: tuple[str, ...] = ()  # [ADDRESS:]HOST:PORT: what reaches a port from outside; clients run outside then
    mounts: tuple[str, ...] = ()  # SOURCE:TARGET[:rw]
    secrets: tuple[str, ...] = ()  # SOURCE:TARGET
    init: Init = Init.AUTO
    hostname: str = ""  # empty: the same for everybody
    hosts: tuple[str, ...] = ()  # NAME:ADDRESS, more of /etc/hosts
    cap_add: tuple[str, ...] = ()  # capabilities beyond a container's own
    allow_nested: bool = False  # namespaces and mounts, for programs with a sandbox of their own
    pids: int = PIDS  # processes at a time, of each run; 0: any number
    memory: str = ""  # that they may have: 512M, 2G; empty: all there is
    reset: tuple[tuple[str, ...], ...] = ()  # commands of the host before each exercise, the first too; each an argv
    trust_root: bool = False  # an image may run in a chroot, where no sandbox can be made

    @property
    def joins(self) -> str:
        """The process or container whose network is shared, as `slim record --watch` names one; empty: none."""
        return self.network.removeprefix(CONTAINER) if self.network.startswith(CONTAINER) else ""

    def __post_init__(self) -> None:
        if self.hostname and not HOST.fullmatch(self.hostname):
            raise FieldProblem(f"{self.hostname!r} is no name of a host", "letters, digits, - and .", ("hostname",))
        if self.network not in set(Network) and not self.joins:
            hint = "write none, host, container:PID or container:podman:NAME"
            raise FieldProblem(f"{self.network!r} is no network", hint, ("network",))
        for at, argv in enumerate(self.reset):
            check_argv(argv, ("reset", at))
        for at, text in enumerate(self.hosts):
            check_host(text, ("hosts", at))
        if not 0 <= self.pids < MOST_PIDS:
            raise FieldProblem(f"{self.pids} is no number of processes", "write 2048, or 0 for any number", ("pids",))
        for at, text in enumerate(self.publish):
            read_published(text, ("publish", at))
        check_size(self.memory, "memory")


@dataclass(frozen=True, slots=True)
class Reach:
    """What the closure holds beyond the recording."""

    keep: Keep = Keep.REACHABLE
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    no_profiles: tuple[str, ...] = ()
    scanner_data: bool = True
    cpu: str = ""  # keep library variants for this CPU level only ("x86-64-v3"); empty: all


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """What the image's configuration says, over what the source image says; None leaves that as it is."""

    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    workdir: str | None = None
    expose: tuple[str, ...] = ()
    label: Mapping[str, str] = field(default_factory=dict)
    volume: tuple[str, ...] = ()
    remove_env: tuple[str, ...] = ()  # of the source image, for the runs too
    remove_label: tuple[str, ...] = ()
    remove_volume: tuple[str, ...] = ()
    remove_expose: tuple[str, ...] = ()
    stop_signal: str | None = None
    healthcheck: bool = True  # False: the source's is dropped, and what it runs is not asked
    chmod: Mapping[str, str] = field(default_factory=dict)  # path or glob → octal mode, of what the image holds
    chown: Mapping[str, str] = field(default_factory=dict)  # path or glob → USER[:GROUP], by number or the root's names
    tag: str = "latest"
    compression: str = "gzip"
    layers: Layers = Layers.ONE
    mtime: str = "keep"  # "keep" or "epoch"; SOURCE_DATE_EPOCH clamps
    source_date_epoch: int | None = None  # used when the environment has none

    def __post_init__(self) -> None:
        for name in ("chmod", "chown"):
            for path, value in getattr(self, name).items():
                check_attribute(name, path, value)


@dataclass(frozen=True, slots=True)
class LockOptions:
    """What slim.lock lets vary."""

    allow: tuple[str, ...] = ()  # globs of paths
