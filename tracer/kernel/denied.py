"""The seccomp filter of a sandbox's commands: what runtimes' default profiles refuse to a container without extras.

Beside a recorder's filter the strictest answer counts (ERRNO before USER_NOTIF), so a refused call is not recorded.
Where a profile answers EPERM so does this one; clone3, whose flags a filter cannot see, is answered with ENOSYS, so
that C libraries fall back to clone. Sources: the default profiles of moby and of
containers/common.
"""

from __future__ import annotations

import errno
import platform
from collections.abc import Iterator
from dataclasses import dataclass

from tracer.kernel import filters
from tracer.kernel.bpf import AND, ANY_BIT, AT_LEAST, EQUAL, LOAD, NUMBER, RET_ALLOW, RET_ERRNO, RETURN, argument, op
from tracer.kernel.bpf import by_architecture as assemble
from tracer.kernel.syscalls import NEWER

# What a program needs that makes a sandbox of its own.
_NESTED = frozenset(
    (
        *("mount", "umount", "umount2", "pivot_root", "unshare", "setns", "clone", "clone3", "sethostname"),
        *("setdomainname", "fsopen", "fsconfig", "fsmount", "fspick", "move_mount", "open_tree", "mount_setattr"),
        "open_tree_attr",
    )
)
_RECORDED = frozenset(("io_uring_setup",))
_NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
_VSOCK, _ALG = 40, 38  # AF_: the first reaches the machine around, the second the kernel's crypto

# name: x86_64, i386, arm (EABI), aarch64; "-" where there is none.
NUMBERS = """
add_key 248 286 309 217
request_key 249 287 310 218
keyctl 250 288 311 219
perf_event_open 298 336 364 241
kexec_load 246 283 347 104
kexec_file_load 320 - 401 294
create_module 174 127 - -
init_module 175 128 128 105
finit_module 313 350 379 273
delete_module 176 129 129 106
query_module 178 167 - -
get_kernel_syms 177 130 - -
reboot 169 88 88 142
quotactl 179 131 131 60
open_by_handle_at 304 342 371 265
userfaultfd 323 374 388 282
acct 163 51 51 89
swapon 167 87 87 224
swapoff 168 115 115 225
syslog 103 103 103 116
sethostname 170 74 74 161
setdomainname 171 121 121 162
settimeofday 164 79 79 170
clock_settime 227 264 262 112
stime - 25 - -
clock_adjtime 305 343 372 266
iopl 172 110 - -
ioperm 173 101 - -
lookup_dcookie 212 253 249 18
nfsservctl 180 169 169 42
uselib 134 86 86 -
ustat 136 62 62 -
sysfs 139 135 135 -
_sysctl 156 149 149 -
vm86 - 166 - -
vm86old - 113 - -
vhangup 153 111 111 58
mbind 237 274 319 235
set_mempolicy 238 276 321 237
get_mempolicy 239 275 320 236
migrate_pages 256 294 400 238
move_pages 279 317 344 239
fanotify_init 300 338 367 262
bpf 321 357 386 280
mount 165 21 21 40
umount - 22 - -
umount2 166 52 52 39
pivot_root 155 217 218 41
unshare 272 310 337 97
setns 308 346 375 268
clone 56 120 120 220
personality 135 136 136 92
socket 41 359 281 198
"""
# From 424 on a call has one number on every architecture.
COMMON = {
    "io_uring_setup": 425,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "clone3": 435,
    "mount_setattr": 442,
    "quotactl_fd": 443,
    "set_mempolicy_home_node": 450,
    "open_tree_attr": 467,
}
_SECOND_32 = {"clock_settime64": 404, "clock_adjtime64": 405}
_X32_BIT = 0x40000000
_X32 = {"kexec_load": 528, "move_pages": 533}


@dataclass(frozen=True, slots=True)
class Table:
    """The denied calls of one architecture."""

    audit: int
    calls: tuple[tuple[str, int], ...]
    x32: bool = False


def _table(audit: int, column: int, *, wide: bool, x32: bool = False) -> Table:
    found = [(words[0], words[column]) for line in NUMBERS.split("\n") if (words := line.split())]
    calls = [(name, int(number)) for name, number in found if number != "-"] + list(COMMON.items())
    return Table(audit, (*calls, *(() if wide else _SECOND_32.items()), *(_X32.items() if x32 else ())), x32)


X86_64 = _table(0xC000003E, 1, wide=True, x32=True)
I386 = _table(0x40000003, 2, wide=False)
ARM = _table(0x40000028, 3, wide=False)
AARCH64 = _table(0xC00000B7, 4, wide=True)
TABLES = {"x86_64": (X86_64, I386), "aarch64": (AARCH64, ARM), "i686": (I386,), "armv7l": (ARM,)}


def program(tables: tuple[Table, ...], *, nested: bool, recorded: bool) -> bytes:
    """The BPF program; `nested` leaves what a program needs for a sandbox of its own, `recorded` what a recorder tells.

    A recorder refuses io_uring_setup by itself, in the same way, and the report says so.
    """
    left = (_NESTED if nested else frozenset()) | (_RECORDED if recorded else frozenset())
    return assemble([(table.audit, list(_section(table, left))) for table in tables])


def deny(*, nested: bool, recorded: bool) -> None:
    """Put it on this process and all that it starts. Raises OSError."""
    filters.install(program(TABLES.get(platform.machine(), ()), nested=nested, recorded=recorded))


def _section(table: Table, left: frozenset[str]) -> Iterator[bytes]:
    if table.x32:
        yield op(AND, 0xFFFFFFFF ^ _X32_BIT)  # the other number space of the same table
    for name, number in table.calls:
        if name in left:
            continue
        decision = _decision(name)
        yield op(EQUAL, number, 0, len(decision))
        yield from decision
    # Calls that a later kernel brings: as if this one did not have them, which is what a profile's default says.
    yield op(AT_LEAST, NEWER.start, 0, 2)
    yield op(AT_LEAST, NEWER.stop, 1, 0)
    yield op(RETURN, RET_ERRNO | errno.ENOSYS)
    yield op(LOAD, NUMBER)


def _decision(name: str) -> list[bytes]:
    refuse, allow = op(RETURN, RET_ERRNO | errno.EPERM), op(RETURN, RET_ALLOW)
    match name:
        case "clone3" | "io_uring_setup":
            return [op(RETURN, RET_ERRNO | errno.ENOSYS)]
        case "clone":
            return [op(LOAD, argument(0)), op(ANY_BIT, _NAMESPACES, 0, 1), refuse, allow]
        case "socket":
            return [op(LOAD, argument(0)), op(EQUAL, _VSOCK, 1, 0), op(EQUAL, _ALG, 0, 1), refuse, allow]
        case "personality":
            tests = [op(EQUAL, each, len(_PERSONALITIES) - index, 0) for index, each in enumerate(_PERSONALITIES)]
            return [op(LOAD, argument(0)), *tests, refuse, allow]
        case _:
            return [refuse]
