"""Which TCP ports somebody listens on, in the network namespace of a process: /proc/PID/net/tcp, proc(5)."""

from __future__ import annotations

LISTEN = "0A"  # TCP_LISTEN, include/net/tcp_states.h


def listeners(pid: int | str = "self") -> frozenset[int]:
    """The ports. Empty when the process is gone."""
    ports = set()
    for table in ("tcp", "tcp6"):
        try:
            with open(f"/proc/{pid}/net/{table}") as stream:
                rows = [line.split() for line in stream][1:]
        except OSError:
            continue
        ports |= {int(row[1].rpartition(":")[2], 16) for row in rows if len(row) > 3 and row[3] == LISTEN}
    return frozenset(ports)
