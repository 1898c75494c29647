"""Runs commands in a root, recorded or not: the one thing that `slimmer` starts processes with."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from tracer.recorder import Choice


class Network(enum.StrEnum):
    NONE = "none"  # a private namespace with loopback up
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or directory of the host that the commands see at `target`; never part of an image."""

    source: str
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a command runs as, in the root's own numbers."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """One command: argv[0] is looked up in `env`'s PATH inside the root when it has no slash."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str = "/"
    identity: Identity = field(default_factory=Identity)


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """`root` "/" with `in_place` runs in the live root; otherwise in a sandbox over an overlay that is thrown away."""

    root: str
    in_place: bool = False
    record: bool = True  # False: run only (a second fat run, to learn what differs by itself)
    recorder: Choice = Choice.AUTO
    network: Network = Network.NONE
    binds: tuple[Bind, ...] = ()
    hostname: str = "slimmer"
