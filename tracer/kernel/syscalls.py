"""Which system calls name paths, on each architecture, and where among their arguments.

One table for all: the calls differ between architectures in their numbers, hardly
in their arguments. A machine's kernel speaks several *conventions* (a 64-bit
x86 kernel runs x86_64, x32 and i386 programs); each has a column.

Sources: arch/x86/entry/syscalls/syscall_{32,64}.tbl, arch/arm/tools/syscall.tbl,
include/uapi/asm-generic/unistd.h, scripts/syscall.tbl (calls from 424 on have one
number everywhere). tests/unit checks the numbers against python-ptrace's tables.

Left out on purpose: `sendmsg` and `sendmmsg` to a unix address (a stop for every
message of every socket, to see sockets that no image holds); `memfd_create`,
`mq_open`, `fsopen`, whose names are not paths; the target of a symbolic link, which
is not looked up. A call that is not in the table is allowed; one that is newer than the
table (`NEWER`) stops first, to be counted.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Mapping
from dataclasses import dataclass

# One bit a Kind of tracer.recording, in its order.
READ, WRITE, EXEC, STAT, LINK, LIST = 1, 2, 4, 8, 16, 32

AT_FDCWD = -100
HERE = AT_FDCWD & 0xFFFFFFFF  # as a stop has it
AT_EMPTY_PATH = 0x1000


class Action(enum.IntEnum):
    """What a recorder does at a call."""

    PATHS = 0  # note the operands, each with its mask
    OPEN = 1  # one operand; the flags argument (`extra`) gives the mask
    OPENAT2 = 2  # the same, flags in a struct open_how at `extra`
    EXEC = 3  # one operand; the environment is at `extra`
    ADDRESS = 4  # a struct sockaddr at operand.path, its length in `extra`
    SOCKETCALL = 5  # i386: number in argument 0, an array of arguments at 1
    MOUNT = 6  # source is a path only for some
    FSCONFIG = 7  # a path when the command says so
    BPF = 8  # BPF_OBJ_PIN and BPF_OBJ_GET name one
    MOVES_CWD = 9  # no path, but relative paths mean something else afterwards
    MOVES_ROOT = 10  # the same for absolute ones: namespaces
    HIDES = 11  # the process may become unreadable afterwards: open its memory now
    REFUSE = 12  # io_uring: would open files behind the recorder
    LISTENER = 13  # wants a seccomp listener of its own, which the kernel refuses
    TRACER = 14  # wants to trace, which the kernel refuses under the ptrace recorder
    CHANGES_FD = 15  # changes a file through a descriptor (argument 0); names no path
    UNKNOWN = 16  # newer than the table: counted


class Effect(enum.IntEnum):
    """What a call does to the meaning of later paths."""

    NONE = 0
    CWD = 1  # chdir, rename, rmdir: what relative paths start from
    ROOT = 2  # chroot, mounts: what all paths start from


@dataclass(frozen=True, slots=True)
class Operand:
    """A path among the arguments: indexes of the pointer, of the directory descriptor, of the AT_ flags."""

    path: int
    mask: int
    dirfd: int | None = None  # None: relative to the working directory
    flags: int | None = None  # where AT_EMPTY_PATH would stand


@dataclass(frozen=True, slots=True)
class Test:
    """A condition on the lower or upper half of one argument: (half & mask) == value."""

    argument: int
    mask: int
    value: int
    upper: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One system call of one convention."""

    name: str
    action: Action
    operands: tuple[Operand, ...] = ()
    extra: int = -1
    effect: Effect = Effect.NONE
    effect_flag: tuple[int, int] | None = None  # only with this bit in this argument
    only: tuple[Test, ...] = ()  # stop only when one of these holds
    unless: tuple[Test, ...] = ()  # do not stop when all of these hold


@dataclass(frozen=True, slots=True)
class Convention:
    """A system call ABI: its number for seccomp (AUDIT_ARCH_*, linux/audit.h) and its calls."""

    name: str
    audit: int
    pointer: int  # bytes
    directory_flag: int  # O_DIRECTORY differs
    calls: Mapping[int, Call]


def _p(path: int, mask: int = STAT, flags: int | None = None) -> tuple[Operand, ...]:
    return (Operand(path, mask, None, flags),)


def _at(dirfd: int, path: int, mask: int = STAT, flags: int | None = None) -> tuple[Operand, ...]:
    return (Operand(path, mask, dirfd, flags),)


def _one_of(argument: int, *values: int) -> tuple[Test, ...]:
    return tuple(Test(argument, 0xFFFFFFFF, value) for value in values)


def _null(argument: int) -> tuple[Test, ...]:
    return (Test(argument, 0xFFFFFFFF, 0), Test(argument, 0xFFFFFFFF, 0, upper=True))


def _bits(argument: int, mask: int) -> tuple[Test, ...]:
    return (Test(argument, mask, mask),)


# glibc's fstat is newfstatat(fd, "", …, AT_EMPTY_PATH): a third of all calls of many programs, and never a path.
# What this lets by is a path that is not empty, given with exactly that flag and a real descriptor.
_FSTAT = (Test(3, 0xFFFFFFFF, AT_EMPTY_PATH), Test(0, 0x80000000, 0))
_STATX = (Test(2, 0xFFFFFFFF, AT_EMPTY_PATH), Test(0, 0x80000000, 0))

_P, _O, _FD = Action.PATHS, Action.OPEN, Action.CHANGES_FD


def _call(
    name: str,
    action: Action,
    operands: tuple[Operand, ...] = (),
    extra: int = -1,
    effect: Effect = Effect.NONE,
    effect_flag: tuple[int, int] | None = None,
    only: tuple[Test, ...] = (),
    unless: tuple[Test, ...] = (),
) -> Call:
    return Call(name, action, operands, extra, effect, effect_flag, only, unless)


_CALLS = {
    call.name: call
    for call in (
        _call("open", _O, _p(0), extra=1),
        _call("openat", _O, _at(0, 1), extra=2),
        _call("openat2", Action.OPENAT2, _at(0, 1), extra=2),
        _call("creat", _P, _p(0, WRITE)),
        _call("execve", Action.EXEC, _p(0, EXEC), extra=2),
        _call("execveat", Action.EXEC, _at(0, 1, EXEC, flags=4), extra=3),
        _call("uselib", _P, _p(0, READ | EXEC)),
        _call("stat", _P, _p(0)),
        _call("lstat", _P, _p(0)),
        _call("oldstat", _P, _p(0)),
        _call("oldlstat", _P, _p(0)),
        _call("stat64", _P, _p(0)),
        _call("lstat64", _P, _p(0)),
        _call("newfstatat", _P, _at(0, 1, flags=3), unless=_FSTAT),
        _call("fstatat64", _P, _at(0, 1, flags=3), unless=_FSTAT),
        _call("statx", _P, _at(0, 1, flags=2), unless=_STATX),
        _call("access", _P, _p(0)),
        _call("faccessat", _P, _at(0, 1)),
        _call("faccessat2", _P, _at(0, 1, flags=3)),
        _call("readlink", _P, _p(0, LINK)),
        _call("readlinkat", _P, _at(0, 1, LINK)),
        _call("statfs", _P, _p(0)),
        _call("statfs64", _P, _p(0)),
        _call("chdir", _P, _p(0), effect=Effect.CWD),
        _call("fchdir", Action.MOVES_CWD, effect=Effect.CWD),
        _call("chroot", _P, _p(0), effect=Effect.ROOT),
        # The content of what is renamed or linked lives on under the new name.
        _call("rename", _P, _p(0, READ | WRITE) + _p(1, WRITE), effect=Effect.CWD),
        _call("renameat", _P, _at(0, 1, READ | WRITE) + _at(2, 3, WRITE), effect=Effect.CWD),
        _call("renameat2", _P, _at(0, 1, READ | WRITE) + _at(2, 3, WRITE), effect=Effect.CWD),
        _call("link", _P, _p(0, READ) + _p(1, WRITE)),
        _call("linkat", _P, _at(0, 1, READ, flags=4) + _at(2, 3, WRITE)),
        _call("symlink", _P, _p(1, WRITE)),
        _call("symlinkat", _P, _at(1, 2, WRITE)),
        _call("mkdir", _P, _p(0, WRITE)),
        _call("mkdirat", _P, _at(0, 1, WRITE)),
        _call("mknod", _P, _p(0, WRITE)),
        _call("mknodat", _P, _at(0, 1, WRITE)),
        _call("rmdir", _P, _p(0, WRITE), effect=Effect.CWD),
        _call("unlink", _P, _p(0, WRITE)),
        _call("unlinkat", _P, _at(0, 1, WRITE), effect=Effect.CWD, effect_flag=(2, 0x200)),  # AT_REMOVEDIR
        _call("chmod", _P, _p(0, WRITE)),
        _call("fchmodat", _P, _at(0, 1, WRITE)),
        _call("fchmodat2", _P, _at(0, 1, WRITE, flags=3)),
        _call("chown", _P, _p(0, WRITE)),
        _call("lchown", _P, _p(0, WRITE)),
        _call("chown32", _P, _p(0, WRITE)),
        _call("lchown32", _P, _p(0, WRITE)),
        _call("fchownat", _P, _at(0, 1, WRITE, flags=4)),
        _call("utime", _P, _p(0, WRITE)),
        _call("utimes", _P, _p(0, WRITE)),
        _call("futimesat", _P, _at(0, 1, WRITE), unless=_null(1)),
        _call("utimensat", _P, _at(0, 1, WRITE, flags=3), unless=_null(1)),
        _call("utimensat_time64", _P, _at(0, 1, WRITE, flags=3), unless=_null(1)),
        _call("truncate", _P, _p(0, READ | WRITE)),
        _call("truncate64", _P, _p(0, READ | WRITE)),
        _call("setxattr", _P, _p(0, WRITE)),
        _call("lsetxattr", _P, _p(0, WRITE)),
        _call("getxattr", _P, _p(0)),
        _call("lgetxattr", _P, _p(0)),
        _call("listxattr", _P, _p(0)),
        _call("llistxattr", _P, _p(0)),
        _call("removexattr", _P, _p(0, WRITE)),
        _call("lremovexattr", _P, _p(0, WRITE)),
        _call("setxattrat", _P, _at(0, 1, WRITE, flags=2)),
        _call("getxattrat", _P, _at(0, 1, flags=2)),
        _call("listxattrat", _P, _at(0, 1, flags=2)),
        _call("removexattrat", _P, _at(0, 1, WRITE, flags=2)),
        _call("file_getattr", _P, _at(0, 1, flags=4)),
        _call("file_setattr", _P, _at(0, 1, WRITE, flags=4)),
        _call("name_to_handle_at", _P, _at(0, 1, flags=4)),
        _call("inotify_add_watch", _P, _p(1)),
        _call("fanotify_mark", _P, _at(3, 4)),
        _call("mount", Action.MOUNT, _p(1), extra=3, effect=Effect.ROOT),
        _call("umount", _P, _p(0), effect=Effect.ROOT),
        _call("umount2", _P, _p(0), effect=Effect.ROOT),
        _call("pivot_root", _P, _p(0) + _p(1), effect=Effect.ROOT),
        _call("move_mount", _P, _at(0, 1, flags=4) + _at(2, 3, flags=4), effect=Effect.ROOT),
        _call("open_tree", _P, _at(0, 1, flags=2)),
        _call("open_tree_attr", _P, _at(0, 1, flags=2)),
        _call("mount_setattr", _P, _at(0, 1, flags=2)),
        _call("fspick", _P, _at(0, 1, flags=2)),
        _call("fsconfig", Action.FSCONFIG, _at(4, 3), only=_one_of(1, 3, 4)),
        _call("swapon", _P, _p(0, READ)),
        _call("swapoff", _P, _p(0)),
        _call("acct", _P, _p(0, WRITE), unless=_null(0)),
        _call("quotactl", _P, _p(1), unless=_null(1)),
        _call("bind", Action.ADDRESS, _p(1, WRITE), extra=2),
        _call("connect", Action.ADDRESS, _p(1), extra=2),
        _call("sendto", Action.ADDRESS, _p(4), extra=5, unless=_null(4)),
        _call("socketcall", Action.SOCKETCALL, only=_one_of(0, 2, 3, 11)),
        _call("bpf", Action.BPF, only=_one_of(0, 6, 7)),
        _call("unshare", Action.MOVES_ROOT, effect=Effect.ROOT, only=_bits(0, 0x20000) + _bits(0, 0x200)),
        _call("setns", Action.MOVES_ROOT, effect=Effect.ROOT),
        *(
            _call(name, Action.HIDES)
            for name in (
                *("setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid"),
                *("setuid32", "setgid32", "setreuid32", "setregid32", "setresuid32", "setresgid32", "setfsuid32"),
                *("setfsgid32", "setgroups", "setgroups32", "capset"),
            )
        ),
        _call("prctl", Action.HIDES, only=_one_of(0, 4)),  # PR_SET_DUMPABLE
        _call("io_uring_setup", Action.REFUSE),
        _call("seccomp", Action.LISTENER, only=_bits(1, 8)),  # SECCOMP_FILTER_FLAG_NEW_LISTENER
        _call("ptrace", Action.TRACER, only=_one_of(0, 0, 16, 0x4206)),  # TRACEME, ATTACH, SEIZE
        _call("fchmod", _FD, extra=0),
        _call("fchown", _FD, extra=0),
        _call("fchown32", _FD, extra=0),
        _call("fsetxattr", _FD, extra=0),
        _call("fremovexattr", _FD, extra=0),
    )
}

# name: x86_64, i386, arm (EABI), aarch64; "-" where there is none.
_NUMBERS = """
open 2 5 5 -
openat 257 295 322 56
creat 85 8 8 -
execve 59 11 11 221
execveat 322 358 387 281
uselib 134 86 86 -
stat 4 106 106 -
lstat 6 107 107 -
oldstat - 18 - -
oldlstat - 84 - -
stat64 - 195 195 -
lstat64 - 196 196 -
newfstatat 262 - - 79
fstatat64 - 300 327 -
statx 332 383 397 291
access 21 33 33 -
faccessat 269 307 334 48
readlink 89 85 85 -
readlinkat 267 305 332 78
statfs 137 99 99 43
statfs64 - 268 266 -
chdir 80 12 12 49
fchdir 81 133 133 50
chroot 161 61 61 51
rename 82 38 38 -
renameat 264 302 329 38
renameat2 316 353 382 276
link 86 9 9 -
linkat 265 303 330 37
symlink 88 83 83 -
symlinkat 266 304 331 36
mkdir 83 39 39 -
mkdirat 258 296 323 34
mknod 133 14 14 -
mknodat 259 297 324 33
rmdir 84 40 40 -
unlink 87 10 10 -
unlinkat 263 301 328 35
chmod 90 15 15 -
fchmodat 268 306 333 53
chown 92 182 182 -
lchown 94 16 16 -
chown32 - 212 212 -
lchown32 - 198 198 -
fchownat 260 298 325 54
utime 132 30 - -
utimes 235 271 269 -
futimesat 261 299 326 -
utimensat 280 320 348 88
utimensat_time64 - 412 412 -
truncate 76 92 92 45
truncate64 - 193 193 -
setxattr 188 226 226 5
lsetxattr 189 227 227 6
fsetxattr 190 228 228 7
getxattr 191 229 229 8
lgetxattr 192 230 230 9
listxattr 194 232 232 11
llistxattr 195 233 233 12
removexattr 197 235 235 14
lremovexattr 198 236 236 15
fremovexattr 199 237 237 16
name_to_handle_at 303 341 370 264
inotify_add_watch 254 292 317 27
fanotify_mark 301 339 368 263
mount 165 21 21 40
umount - 22 - -
umount2 166 52 52 39
pivot_root 155 217 218 41
swapon 167 87 87 224
swapoff 168 115 115 225
acct 163 51 51 89
quotactl 179 131 131 60
bind 49 361 282 200
connect 42 362 283 203
sendto 44 369 290 206
socketcall - 102 - -
bpf 321 357 386 280
unshare 272 310 337 97
setns 308 346 375 268
setuid 105 23 23 146
setgid 106 46 46 144
setreuid 113 70 70 145
setregid 114 71 71 143
setresuid 117 164 164 147
setresgid 119 170 170 149
setfsuid 122 138 138 151
setfsgid 123 139 139 152
setgroups 116 81 81 159
capset 126 185 185 91
setuid32 - 213 213 -
setgid32 - 214 214 -
setreuid32 - 203 203 -
setregid32 - 204 204 -
setresuid32 - 208 208 -
setresgid32 - 210 210 -
setfsuid32 - 215 215 -
setfsgid32 - 216 216 -
setgroups32 - 206 206 -
prctl 157 172 172 167
seccomp 317 354 383 277
ptrace 101 26 26 117
fchmod 91 94 94 52
fchown 93 95 95 55
fchown32 - 207 207 -
"""

# From 424 on a call has one number on every architecture.
_COMMON = {
    425: "io_uring_setup",
    428: "open_tree",
    429: "move_mount",
    431: "fsconfig",
    433: "fspick",
    437: "openat2",
    439: "faccessat2",
    442: "mount_setattr",
    452: "fchmodat2",
    463: "setxattrat",
    464: "getxattrat",
    465: "listxattrat",
    466: "removexattrat",
    467: "open_tree_attr",
    468: "file_getattr",
    469: "file_setattr",
}

# Numbers that a later kernel may give to calls that name paths; what lies above (arm's private calls, x32's bit, the
# -1 of a skipped call) is none of them.
NEWER = range(max(_COMMON) + 1, 4096)

_X32_BIT = 0x40000000
# x32 has numbers of its own where pointers lie inside structures or arrays.
_X32_OWN = {520: "execve", 521: "ptrace", 545: "execveat"}

# On 32 bits the 64-bit mask of fanotify_mark takes two arguments (even-odd aligned on arm: fd, flags, mask, mask).
_FANOTIFY_MARK_32 = _call("fanotify_mark", _P, _at(4, 5))


def _column(index: int) -> dict[int, Call]:
    calls = {number: _CALLS[name] for number, name in _COMMON.items()}
    for line in _NUMBERS.split("\n"):
        name, *numbers = line.split() or [""]
        if name and numbers[index] != "-":
            calls[int(numbers[index])] = _CALLS[name]
    return calls


def _x32(calls: Mapping[int, Call]) -> dict[int, Call]:
    own = set(_X32_OWN.values())
    table = {number | _X32_BIT: call for number, call in calls.items() if call.name not in own}
    table.update({number | _X32_BIT: _CALLS[name] for number, name in _X32_OWN.items()})
    return table


def _thirty_two(calls: dict[int, Call]) -> dict[int, Call]:
    return {number: _FANOTIFY_MARK_32 if call.name == "fanotify_mark" else call for number, call in calls.items()}


X86_64 = Convention("x86_64", 0xC000003E, 8, 0o200000, _column(0))
X32 = Convention("x32", 0xC000003E, 4, 0o200000, _x32(X86_64.calls))
I386 = Convention("i386", 0x40000003, 4, 0o200000, _thirty_two(_column(1)))
ARM = Convention("arm", 0x40000028, 4, 0o40000, _thirty_two(_column(2)))
AARCH64 = Convention("aarch64", 0xC00000B7, 8, 0o40000, _column(3))

_MACHINES: Mapping[str, tuple[Convention, ...]] = {
    "x86_64": (X86_64, X32, I386),
    "i386": (I386,),
    "i686": (I386,),
    "aarch64": (AARCH64, ARM),
    "armv7l": (ARM,),
    "armv8l": (ARM,),
}


def conventions(machine: str) -> tuple[Convention, ...]:
    """What a kernel of this machine (as `uname -m` says) may run, the native one first; empty when it is unknown."""
    return _MACHINES.get(machine, ())


@functools.lru_cache(256)  # every open asks, with few different flags
def open_mask(flags: int, directory_flag: int) -> int:
    """The kinds that the flags of open(2) stand for (include/uapi/asm-generic/fcntl.h; O_DIRECTORY differs)."""
    if flags & 0o10000000:  # O_PATH
        return STAT
    if flags & 0o20000000:  # __O_TMPFILE: a nameless file is made in this directory
        return WRITE
    if flags & directory_flag:
        return LIST
    access = flags & 3
    mask = READ if access == 0 else WRITE if access == 1 else READ | WRITE
    return mask | WRITE if flags & 0o1100 else mask  # O_CREAT, O_TRUNC
