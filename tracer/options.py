"""What a session and its commands are asked to be. Import them from `tracer.session`."""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from tracer.kernel.capabilities import RUNTIME, number
from tracer.recorder.protocol import CallFilter, Choice
from tracer.recording import Recording
from tracer.runner.before_image import BeforeImage
from tracer.runner.confinement import Confinement
from tracer.runner.process_one import Init
from tracer.runner.protocol import Spawn

HOSTNAME = "slimmer"  # of every sandbox, so that two runs see the same


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

    def request(self, *, in_place: bool) -> Spawn:
        """What whoever starts commands is asked for."""
        identity = self.identity
        if in_place and os.geteuid() != 0 and identity == Identity():
            identity = Identity(os.geteuid(), os.getegid(), tuple(os.getgroups()))
        env = tuple(self.env.items())
        return Spawn(self.argv, env, self.workdir, identity.uid, identity.gid, identity.groups)


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
    join: int = 0  # a process whose network the commands share instead; 0: none
    binds: tuple[Bind, ...] = ()
    hostname: str = HOSTNAME
    hosts: tuple[tuple[str, str], ...] = ()  # name and address, more of /etc/hosts
    identity: Identity = field(default_factory=Identity)
    isolation: Isolation = Isolation.AUTO
    architecture: str = ""  # of a foreign root, as uname -m says; "" for this machine's own
    qemu: str = ""  # the qemu-user-static to run it with; "" is looked for on the host
    saved: str = ""  # a directory of the caller's for copies of what a run in place changes; "": the session's own
    capabilities: tuple[str, ...] = ()  # more than container runtimes leave a command, by name
    allow_nested: bool = False  # commands may make namespaces and mounts: for programs with a sandbox of their own
    pids: int = 0  # processes that there may be at a time; 0: any number
    memory: int = 0  # bytes that they may have; 0: all there is
    init: Init = Init.AUTO
    trusted: bool = True  # False: a chroot is not enough for what this root may hold
    confinement: Confinement | None = None
    calls: CallFilter | None = None  # tell of system calls, and record no paths
    fresh_tmp: bool = True  # an empty /tmp, when the root has one; False: the root's own, as runtimes show it

    @property
    def granted(self) -> frozenset[int]:
        """The most capabilities that a command of a sandbox can have. Raises TracerError."""
        return RUNTIME | {number(name) for name in self.capabilities}

    def loosened(self) -> tuple[str, ...]:
        """In what a sandbox holds less than it would by itself, for a person."""
        said = []
        if self.capabilities and not self.in_place:
            said.append(f"with capabilities beyond a container's own: {', '.join(self.capabilities)} (--cap-add)")
        if self.allow_nested and not self.in_place:
            said.append("commands may make namespaces and mounts of their own (--allow-nested)")
        return tuple(said)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a session leaves. Files of `saved` are gone after `Session.close`, unless the options name a place."""

    recording: Recording | None  # None when nothing was recorded; `root` is the caller's to fill in
    saved: Mapping[str, BeforeImage | None] = field(default_factory=dict)  # in place: the state before the first change
    writes: tuple[str, ...] = ()  # sandbox: canonical paths that the run created, changed or removed
    calls: frozenset[tuple[int, int]] = frozenset()  # that were told of: audit architecture and number
