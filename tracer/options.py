"""What a session and its commands are asked to be. Import them from `tracer.session`."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from tracer.recorder import Choice


class Network(enum.StrEnum):
    NONE = "none"  # a private namespace with loopback up
    HOST = "host"


class Isolation(enum.StrEnum):
    """How the commands are kept apart, when not in place."""

    AUTO = "auto"  # namespaces; chroot where the kernel refuses them and this process may chroot
    NAMESPACES = "namespaces"
    CHROOT = "chroot"  # on a copy of the root: no /proc, the host's network and process ids


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
    """`root` "/" with `in_place` runs in the live root; otherwise in a sandbox over an overlay that is thrown away.

    `identity` is who the commands mostly run as: where a user namespace can show one id only, it is this one.
    In place, an ordinary user's commands run as that user where a command's identity is the default.
    """

    root: str
    in_place: bool = False
    record: bool = True  # False: run only (a second fat run, to learn what differs by itself)
    recorder: Choice = Choice.AUTO
    network: Network = Network.NONE
    binds: tuple[Bind, ...] = ()
    hostname: str = "slimmer"
    identity: Identity = field(default_factory=Identity)
    isolation: Isolation = Isolation.AUTO
    architecture: str = ""  # of a foreign root, as uname -m says; "" for this machine's own
    qemu: str = ""  # the qemu-user-static to run it with; "" is looked for on the host
    saved: str = ""  # a directory of the caller's for copies of what a run in place changes; "": the session's own
    fresh_tmp: bool = True  # an empty /tmp, when the root has one; False: the root's own, as runtimes show it
