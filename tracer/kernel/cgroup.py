"""A control group for the commands of a session: how many processes there may be, and how much memory they have.

Version 2 where it is delegated, or version 1 where its controllers are mounted and may be written
(Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/pids.rst, cgroup-v1/memory.rst). A group lies beside
the one that this process is in, for a group with processes of its own cannot give controllers on, or below it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tracer.kernel import mountinfo

PREFIX = "slimmer-session-"
STALE = 60.0  # seconds after which an empty group is a killed session's
PIDS, MEMORY = "pids", "memory"
_LIMIT = {(2, PIDS): "pids.max", (2, MEMORY): "memory.max"}
_LIMIT |= {(1, PIDS): "pids.max", (1, MEMORY): "memory.limit_in_bytes"}
_EVENTS = {(2, PIDS): ("pids.events", "max"), (2, MEMORY): ("memory.events", "oom_kill")}
_EVENTS |= {(1, PIDS): ("pids.events", "max"), (1, MEMORY): ("memory.oom_control", "oom_kill")}


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where a controller's groups are, and the group that this process is in."""

    version: int
    top: Path
    here: Path


@dataclass(frozen=True, slots=True)
class Group:
    """The directories of a session's group, by controller; of version 2 both are the same."""

    version: Mapping[str, int]
    place: Mapping[str, Path]

    def entrances(self) -> tuple[int, ...]:
        """Descriptors: who writes b"0" into each is in the group, whatever its namespaces. Raises OSError."""
        places = sorted(set(self.place.values()))
        return tuple(os.open(each / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC) for each in places)

    def held(self) -> tuple[int, ...]:
        """Descriptors that keep others from taking the group for a killed session's. Raises OSError."""
        found = []
        for each in sorted(set(self.place.values())):
            found.append(os.open(each, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            fcntl.flock(found[-1], fcntl.LOCK_SH | fcntl.LOCK_NB)
        return tuple(found)

    def refused(self, controller: str) -> int:
        """How often the limit was in the way: forks refused, processes killed for their memory."""
        if controller not in self.place:
            return 0
        name, key = _EVENTS[self.version[controller], controller]
        with contextlib.suppress(OSError, ValueError):
            for line in (self.place[controller] / name).read_text().splitlines():
                found, _, count = line.partition(" ")
                if found == key:
                    return int(count)
        return 0

    def remove(self) -> None:
        """After its last process is gone; the kernel may need a moment for that."""
        for each in set(self.place.values()):
            for _ in range(50):
                with contextlib.suppress(OSError):
                    each.rmdir()
                if not each.exists():
                    break
                time.sleep(0.01)


def hierarchies(mounts: Sequence[mountinfo.Mount], own: str) -> dict[str, list[Hierarchy]]:
    """For each controller where it may be, from the table of mounts and /proc/self/cgroup."""
    groups: dict[str, str] = {}  # "" is version 2
    for line in own.splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        for name in names.split(","):
            groups[name] = path
    found: dict[str, list[Hierarchy]] = {PIDS: [], MEMORY: []}
    for each in mounts:
        top = Path(os.fsdecode(each.point))
        if each.kind == b"cgroup2" and "" in groups:
            place = Hierarchy(2, top, _below(top, each, groups[""]))
            found[PIDS].append(place)
            found[MEMORY].append(place)
        elif each.kind == b"cgroup":
            for name in set(os.fsdecode(each.options).split(",")) & set(found) & set(groups):
                found[name].append(Hierarchy(1, top, _below(top, each, groups[name])))
    return found


def _below(top: Path, mount: mountinfo.Mount, group: str) -> Path:
    """The group's directory: a container sees only what is below its own."""
    inside = group.removeprefix(os.fsdecode(mount.directory).rstrip("/")).strip("/")
    place = top / inside
    return place if place.is_dir() else top


def make(name: str, limits: Mapping[str, int], known: Mapping[str, Sequence[Hierarchy]] | None = None) -> Group:
    """A group with those of the limits (controller → number) that can be had here; maybe with none."""
    if known is None:
        try:
            known = hierarchies(mountinfo.read(), Path("/proc/self/cgroup").read_text())
        except OSError:
            known = {}
    version: dict[str, int] = {}
    place: dict[str, Path] = {}
    for controller, number in limits.items():
        for hierarchy in known.get(controller, ()):
            if (made := _make(hierarchy, controller, name, number)) is not None:
                version[controller], place[controller] = hierarchy.version, made
                break
    return Group(version, place)


def _make(hierarchy: Hierarchy, controller: str, name: str, number: int) -> Path | None:
    for above in _places(hierarchy):
        place = above / name
        try:
            _clean(above)
            if hierarchy.version == 2 and controller not in (above / "cgroup.subtree_control").read_text().split():
                (above / "cgroup.subtree_control").write_text(f"+{controller}")
            place.mkdir(exist_ok=True)
            (place / _LIMIT[hierarchy.version, controller]).write_text(str(number))
            with contextlib.suppress(OSError):  # memory that is swapped out is memory too
                (place / "memory.swap.max").write_text("0")
            os.close(os.open(place / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))
            return place
        except OSError:
            with contextlib.suppress(OSError):
                place.rmdir()
    return None


def _places(hierarchy: Hierarchy) -> Iterator[Path]:
    here = hierarchy.here
    if hierarchy.version == 2 and here != hierarchy.top:
        yield here.parent
    yield here


def _clean(above: Path) -> None:
    """Groups of sessions that were killed: nobody is in them, or they could not be removed, and nobody holds them."""
    for each in above.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - each.stat().st_mtime > STALE:
                descriptor = os.open(each, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    each.rmdir()
                finally:
                    os.close(descriptor)
