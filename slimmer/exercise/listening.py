"""Who listens on which TCP port, in the network namespace of a process: /proc/PID/net/tcp, proc(5)."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator

LISTEN = "0A"  # TCP_LISTEN, include/net/tcp_states.h


def listeners(pid: int | str = "self") -> frozenset[int]:
    """The ports. Empty when the process is gone."""
    return frozenset(port for port, _ in _sockets(pid))


def programs(pid: int, ports: frozenset[int]) -> tuple[tuple[str, int], ...]:
    """The programs that listen on these ports, by the path that they have in their own root, and the port.

    Only processes that this one may look into are found: those of its user, or all for root.
    """
    wanted = {f"socket:[{inode}]": port for port, inode in _sockets(pid) if port in ports}
    found: set[tuple[str, int]] = set()
    with contextlib.suppress(OSError):
        here = os.readlink(f"/proc/{pid}/ns/net")
        for name in os.listdir("/proc") if wanted else []:
            with contextlib.suppress(OSError):
                if name.isdigit() and os.readlink(f"/proc/{name}/ns/net") == here:
                    held = {wanted[each] for each in _descriptors(name) if each in wanted}
                    program = os.readlink(f"/proc/{name}/exe") if held else ""
                    found |= {(program, port) for port in held}
    return tuple(sorted(found))


def owned(pid: int, ports: frozenset[int]) -> frozenset[int]:
    """Those of the ports that a process holds, or one of its relatives below the process that started it.

    What went into the background belongs to whoever started the commands: hence from there downwards.
    """
    wanted = {f"socket:[{inode}]": port for port, inode in _sockets(pid) if port in ports}
    held: set[int] = set()
    for each in descendants(_parent(pid) or pid):
        with contextlib.suppress(OSError):
            held |= {wanted[name] for name in _descriptors(str(each)) if name in wanted}
    return frozenset(held)


def descendants(pid: int) -> Iterator[int]:
    """A process and all below it. /proc/PID/task/TID/children, proc(5)."""
    queue = [pid]
    while queue:
        each = queue.pop()
        yield each
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{each}/task"):
                with open(f"/proc/{each}/task/{thread}/children") as stream:
                    queue += [int(child) for child in stream.read().split()]


def cpu_seconds(pid: int) -> float:
    """Processor time of a process, of its relatives below the one that started it, and of what they have waited for."""
    ticks = 0
    for each in descendants(_parent(pid) or pid):
        with contextlib.suppress(OSError, ValueError), open(f"/proc/{each}/stat") as stream:
            ticks += sum(int(field) for field in stream.read().rpartition(")")[2].split()[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def age(pid: int) -> float:
    """Seconds since a process was started; infinite when it is gone. starttime, proc_pid_stat(5)."""
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/stat") as stream:
        started = int(stream.read().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")
    return math.inf


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as stream:
        return int(stream.read().rpartition(")")[2].split()[1])
    return 0


def _sockets(pid: int | str) -> Iterator[tuple[int, str]]:
    """Port and inode of each listening socket."""
    for table in ("tcp", "tcp6"):
        try:
            with open(f"/proc/{pid}/net/{table}") as stream:
                rows = [line.split() for line in stream][1:]
        except OSError:
            continue
        for row in rows:
            if len(row) > 9 and row[3] == LISTEN:
                yield int(row[1].rpartition(":")[2], 16), row[9]


def _descriptors(pid: str) -> Iterator[str]:
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            yield os.readlink(f"/proc/{pid}/fd/{name}")
