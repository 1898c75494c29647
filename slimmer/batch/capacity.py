"""How many images this machine makes at once: by the cores and the memory that this process may use."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

NEEDED = 512 << 20  # bytes for one image: a root of a million files takes half of it, its application the rest
CGROUP = Path("/sys/fs/cgroup")


def jobs_at_once(cgroup: Path = CGROUP, meminfo: Path = Path("/proc/meminfo")) -> int:
    """At least 1."""
    return max(1, min(cores(cgroup), memory(cgroup, meminfo) // NEEDED))


def cores(cgroup: Path = CGROUP) -> int:
    """Cores that this process may run on, less where a cgroup gives it a share of them only."""
    allowed = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError):
        quota, period = (cgroup / "cpu.max").read_text().split()
        if quota != "max":
            allowed = min(allowed, max(1, int(quota) // int(period)))
    return allowed


def memory(cgroup: Path = CGROUP, meminfo: Path = Path("/proc/meminfo")) -> int:
    """Bytes that can be had now: the machine's, less where a cgroup's limit is nearer (cgroup-v2.rst, memory.max)."""
    found = NEEDED
    with contextlib.suppress(OSError, ValueError):
        rows = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        found = int(rows.get("MemAvailable", "0 kB").split()[0]) * 1024
    with contextlib.suppress(OSError, ValueError):
        most = (cgroup / "memory.max").read_text().strip()
        if most != "max":
            found = min(found, int(most) - int((cgroup / "memory.current").read_text()))
    return max(0, found)
