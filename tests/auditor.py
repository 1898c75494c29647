"""Looks for ways out of whatever it runs in, and prints what is open as JSON: a list of words for each row.

Runs by itself, with nothing but Python: inside slimmer's sandbox and inside a container beside it. A word that the
one prints and the other does not is something that the other keeps shut.
"""

import ctypes
import json
import mmap
import os
import socket
import stat
import struct
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

CALLS: dict[str, tuple[Any, ...]] = {
    "unshare": (272, 0x10000000),
    "clone": (56, 0x10000011, 0, 0, 0, 0),
    "clone3": (435, 0, 0),
    "setns": (308, -1, 0),
    "mount": (165, b"none", b"/tmp", b"tmpfs", 0, 0),
    "umount2": (166, b"/nowhere", 0),
    "pivot_root": (155, b"/nowhere", b"/nowhere"),
    "fsopen": (430, b"tmpfs", 0),
    "open_tree": (428, -100, b"/", 1),
    "move_mount": (429, -1, b"", -1, b"", 4),
    "mount_setattr": (442, -1, b"", 0, 0, 0),
    "bpf": (321, 0, 0, 0),
    "perf_event_open": (298, 0, 0, -1, -1, 0),
    "keyctl": (250, 0, -3, 0),
    "add_key": (248, b"user", b"slimmer-audit", b"x", 1, -3),
    "request_key": (249, b"user", b"slimmer-audit", 0, 0),
    "init_module": (175, 0, 0, 0),
    "finit_module": (313, -1, b"", 0),
    "delete_module": (176, b"none-such", 0),
    "kexec_load": (246, 0, 0, 0, -1),
    "kexec_file_load": (320, -1, -1, 0, 0, -1),
    "swapon": (167, b"/nowhere", 0),
    "swapoff": (168, b"/nowhere"),
    "reboot": (169, 0, 0, 0, 0),
    "quotactl": (179, 0, 0, 0, 0),
    "quotactl_fd": (443, -1, 0, 0, 0),
    "open_by_handle_at": (304, -1, 0, 0),
    "userfaultfd": (323, 0),
    "acct": (163, b"/nowhere"),
    "syslog": (103, 10, 0, 0),
    "sethostname": (170, b"x", -1),
    "setdomainname": (171, b"x", -1),
    "settimeofday": (164, 0, 0),
    "clock_settime": (227, -1, 0),
    "iopl": (172, 99),
    "ioperm": (173, 0, 0, 0),
    "lookup_dcookie": (212, 0, 0, 0),
    "mbind": (237, 0, 0, 99, 0, 0, 0),
    "move_pages": (279, 0, 0, 0, 0, 0, -1),
    "fanotify_init": (300, 0, 0),
    "io_uring_setup": (425, 0, 0),
    "vhangup": (153,),
    "personality": (135, 0x0040000),
    "future": (600,),
}
# By int 0x80, with the numbers of i386.
CALLS_32: dict[str, tuple[Any, ...]] = {
    "unshare": (310, 0x10000000),
    "mount": (21, 0, 0, 0),
    "setns": (346, -1, 0),
    "bpf": (357, 0, 0, 0),
    "keyctl": (288, 0, -3, 0),
    "perf_event_open": (336, 0, 0, -1),
    "init_module": (128, 0, 0, 0),
    "kexec_load": (283, 0, 0, 0),
    "reboot": (88, 0, 0, 0),
    "open_by_handle_at": (342, -1, 0, 0),
    "userfaultfd": (374, 0),
    "clone": (120, 0x10000011, 0, 0),
}
HIDDEN = (
    *("/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug", "/proc/scsi"),
    *("/proc/acpi", "/proc/asound", "/proc/timer_stats", "/sys/firmware", "/sys/devices/virtual/powercap"),
    *("/sys/kernel/security", "/sys/kernel/debug", "/sys/fs/selinux"),
)
READ_ONLY = (
    *("/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"),
    *("/proc/fs", "/sys/kernel/uevent_helper", "/sys/power/state", "/sys/fs/cgroup/cgroup.procs", "/sys/kernel/mm"),
)
DEVICES = {"null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"}
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def main() -> None:
    rows = {
        "capabilities": capabilities(),
        "calls": [name for name, words in CALLS.items() if in_child(partial(opened, *words))],
        "calls of i386": [name for name, words in CALLS_32.items() if in_child(partial(opened_32, *words))],
        "hidden": [path for path in HIDDEN if readable(path)],
        "writable": [path for path in READ_ONLY if writable(path)],
        "devices": devices(),
        "mounts with devices": mounts_with_devices(),
        "shared": [name for name in ("mnt", "pid", "ipc", "uts", "net", "cgroup") if name_of(name) in sys.argv[1:]],
        "no seccomp": ["all"] if status()["Seccomp"] != "2" else [],
        "sockets": abstract_sockets(),
        "environment": environments(),
    }
    print(json.dumps(rows))


def status() -> dict[str, str]:
    with open("/proc/self/status") as lines:
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def capabilities() -> list[str]:
    told = status()
    return [f"{kind} {bit}" for kind in ("CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb")
            for bit in range(64) if int(told[kind], 16) >> bit & 1]  # fmt: skip


def in_child(work: Callable[[], int]) -> bool:
    """In a process of its own: a call that works may change what the next one meets."""
    child = os.fork()
    if child == 0:
        os._exit(work())
    return os.waitpid(child, 0)[1] == 0


def opened(number: int, *words: Any) -> int:
    """0 when the kernel went so far as to look at the arguments."""
    done = libc.syscall(number, *(ctypes.c_long(each) if isinstance(each, int) else each for each in words))
    return 1 if done < 0 and ctypes.get_errno() in (1, 13, 38) else 0


def opened_32(number: int, *words: Any) -> int:
    code = b"\x53\x89\xf8\x89\xf3\x89\xd1\x44\x89\xc2\xcd\x80\x5b\xc3"  # (edi, esi, edx, r8d) to (eax, ebx, ecx, edx)
    place = mmap.mmap(-1, 4096, prot=7)
    place.write(code)
    call = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_int] * 5)(ctypes.addressof(ctypes.c_char.from_buffer(place)))
    first, second, third = ((*words, 0, 0, 0))[:3]
    return 1 if call(number, first, second, 0, third) in (-1, -13, -38) else 0


def readable(path: str) -> bool:
    try:
        if os.path.isdir(path):
            return bool(os.listdir(path))
        with open(path, "rb") as stream:
            return bool(stream.read(64))
    except OSError:
        return False


def writable(path: str) -> bool:
    if os.path.isdir(path):
        return os.access(path, os.W_OK)
    try:
        os.close(os.open(path, os.O_WRONLY))
    except OSError:
        return False
    return True


def devices() -> list[str]:
    found = []
    for name in os.listdir("/dev"):
        mode = os.lstat(f"/dev/{name}").st_mode
        if stat.S_ISBLK(mode) or (stat.S_ISCHR(mode) and name not in DEVICES):
            found.append(name)
    for place in ("/dev", "/tmp", "/var", "/"):
        for kind in (stat.S_IFBLK, stat.S_IFCHR):
            try:
                os.mknod(f"{place}/slimmer-audit", kind | 0o600, os.makedev(7 if kind == stat.S_IFBLK else 1, 1))
            except OSError:
                continue
            try:
                os.close(os.open(f"{place}/slimmer-audit", os.O_RDONLY))
                found.append(f"made in {place}")
                os.unlink(f"{place}/slimmer-audit")
            except OSError:
                pass
    return found


def mounts_with_devices() -> list[str]:
    with open("/proc/self/mountinfo") as lines:
        rows = [line.split() for line in lines]
    rows = [row for row in rows if not row[4].startswith("/dev") and row[3] != "/null"]  # a mask is /dev/null itself
    return [row[4] for row in rows if "nodev" not in row[5].split(",")]


def name_of(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/ns/{name}")
    except OSError:
        return ""


def abstract_sockets() -> list[str]:
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.connect("\0slimmer-audit")
        return ["abstract"]
    except OSError:
        return []


def environments() -> list[str]:
    """What can be read of other processes: the one that started us, and those that are about to become a program."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in ("environ", "cmdline"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as stream:
                    if b"slimmer-audit-secret" in stream.read():
                        found.append(f"{name} of a process")
            except OSError:
                pass
    return found


assert struct.calcsize("P") == 8
main()
