"""How many processes and how much memory the commands of a session may have, and by which of the kernel's means.

A control group where one can be made; else, for processes, RLIMIT_NPROC, which counts what a user has in a user
namespace alone, or, where there is none, the sandbox's pid namespace with a pid_max of its own (Linux 6.14). Memory
has no other means: an address space limit stops programs that only reserve.
"""

from __future__ import annotations

import contextlib
import os
import resource
from dataclasses import dataclass, field

from tracer.kernel import cgroup

PIDS = 2048  # as podman has it
_RESERVED = 300  # kernel/pid.c, RESERVED_PIDS: numbers below are given once only

_OURS = 2  # the sandbox's first process and its keeper are of the namespace too


@dataclass(slots=True)
class Limits:
    """What holds in one session; 0: no limit. `why` says which means applied, for a person."""

    pids: int = 0
    memory: int = 0  # bytes
    group: cgroup.Group = field(default_factory=lambda: cgroup.Group({}, {}))
    entrances: tuple[int, ...] = ()  # descriptors of the group, while commands are started
    held: tuple[int, ...] = ()  # and those that say that it is in use
    why: str = ""

    @property
    def own_pids(self) -> int:
        """How many processes the sandbox itself must allow at most, where no control group does; 0: any number."""
        return 0 if cgroup.PIDS in self.group.place else self.pids

    def reached(self, *, full: bool) -> tuple[str, ...]:
        """What the commands were refused, for a person. `full`: the sandbox has seen as many as there may be."""
        found = []
        if self.group.refused(cgroup.PIDS) or (full and self.own_pids):
            found.append(
                f"the run reached its limit of {self.pids:,} processes (--pids N allows more, --pids 0 any number)"
            )
        if self.group.refused(cgroup.MEMORY):
            found.append(
                f"the run reached its limit of {self.memory >> 20:,} MiB of memory (--memory SIZE allows more)"
            )
        return tuple(found)

    def close(self) -> None:
        for each in (*self.entrances, *self.held):
            os.close(each)
        self.entrances, self.held = (), ()
        self.group.remove()
        self.group = cgroup.Group({}, {})


def limited(name: str, pids: int, memory: int, sandbox: bool, own_user_namespace: bool) -> Limits:
    """The limits of a session of this name. `sandbox`: its commands have a pid namespace of their own."""
    wanted = {controller: number for controller, number in ((cgroup.PIDS, pids), (cgroup.MEMORY, memory)) if number}
    limits = Limits(pids, memory, cgroup.make(name, wanted) if wanted else cgroup.Group({}, {}))
    said = []
    if pids:
        means = _means(limits, sandbox=sandbox, own_user_namespace=own_user_namespace)
        said.append(f"at most {pids:,} processes, {means}" if means else f"processes are not limited ({_NO_GROUP})")
    if memory:
        if cgroup.MEMORY in limits.group.place:
            said.append(f"at most {memory >> 20:,} MiB of memory, by a control group")
        else:
            said.append(f"memory is not limited ({_NO_GROUP})")
    limits.why = "; ".join(said)
    with contextlib.suppress(OSError):
        limits.entrances = limits.group.entrances()
        limits.held = limits.group.held()
    return limits


_NO_GROUP = "no control group can be made here: systemd-run --user --scope -p Delegate=yes slim … has one"


def _means(limits: Limits, *, sandbox: bool, own_user_namespace: bool) -> str:
    if cgroup.PIDS in limits.group.place:
        return "by a control group"
    if own_user_namespace:
        return "by RLIMIT_NPROC in a user namespace"
    return "or some more, by the pid namespace" if sandbox and pid_max_is_own() else ""


def pid_max_is_own() -> bool:
    """Whether a pid namespace has a pid_max of its own: before, the one number was everybody's."""
    numbers = os.uname().release.split(".")
    with contextlib.suppress(ValueError, IndexError):
        return (int(numbers[0]), int(numbers[1])) >= (6, 14)
    return False


def limit_namespace(proc: int, pids: int) -> None:
    """In process 1, with its /proc: so many at least, and as many more as have low numbers. Raises OSError."""
    descriptor = os.open("sys/kernel/pid_max", os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
    try:
        os.write(descriptor, str(pids + _RESERVED).encode())
    finally:
        os.close(descriptor)


def enter(entrances: tuple[int, ...], pids: int, *, memory: bool) -> None:
    """In a command before its exec. Raises OSError."""
    for each in entrances:
        os.write(each, b"0")
    if pids:
        with contextlib.suppress(ValueError, OSError):  # a lower one is there
            resource.setrlimit(resource.RLIMIT_NPROC, (pids + _OURS, pids + _OURS))
    if memory:
        # Of all in the group it is the commands that are to go.
        with contextlib.suppress(OSError):
            descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
            os.write(descriptor, b"500")
            os.close(descriptor)


def count(processes: str = "/proc") -> int:
    """How many processes a /proc shows."""
    try:
        return sum(name.isdigit() for name in os.listdir(processes))
    except OSError:
        return 0
