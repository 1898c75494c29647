"""Namespaces and ids: what an ordinary user needs to be root inside a sandbox.

Three maps, best first: `identity` (root that may set ids: its own), `ranges` (an ordinary
user with /etc/subuid and newuidmap), `single` (the caller appears as the one id
that the run asks for; calls that change ids are then answered by `filters.pretend`).
`none`: root with CAP_SYS_ADMIN needs no user namespace.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import functools
import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from tracer.errors import TracerError
from tracer.kernel.mounts import LIBC, PRIVATE, REC, mount

# include/uapi/linux/sched.h
NEWCGROUP = 0x02000000
NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x00020000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000

CAP_SETGID, CAP_SETUID, CAP_SYS_CHROOT, CAP_SYS_PTRACE, CAP_SYS_ADMIN = 6, 7, 18, 19, 21

_SWITCHES = (
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces=15000"),
    ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
)


class Map(enum.StrEnum):
    NONE = "none"
    IDENTITY = "identity"
    RANGES = "ranges"
    SINGLE = "single"


@dataclass(frozen=True, slots=True)
class Plan:
    """Which ids exist inside. `uids` and `gids` are (inside, outside, count)."""

    map: Map
    uids: tuple[tuple[int, int, int], ...] = ()
    gids: tuple[tuple[int, int, int], ...] = ()
    why: str = ""

    def has(self, uid: int) -> bool:
        """Whether a user of the caller's namespace exists inside."""
        return self.map is Map.NONE or any(first <= uid < first + count for _, first, count in self.uids)


def unshare(flags: int) -> None:
    """unshare(2). Raises OSError."""
    if LIBC.unshare(ctypes.c_int(flags)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "unshare")


def join(descriptor: int, kind: int) -> None:
    """setns(2). Raises OSError."""
    if LIBC.setns(ctypes.c_int(descriptor), ctypes.c_int(kind)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "setns")


def enter(namespaces: Sequence[int]) -> None:
    """Go to a network namespace, from the user namespace that it belongs to when that follows; nothing: stay.

    Raises OSError.
    """
    if namespaces:
        network, *user = namespaces
        for descriptor in user:
            join(descriptor, NEWUSER)
        join(network, NEWNET)


def capable(capability: int) -> bool:
    """Whether this process has a capability in its own user namespace (capget(2), so that it works without /proc)."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    if LIBC.capget(header, data) < 0:
        return False
    effective = data[0] | data[3] << 32
    return bool(effective >> capability & 1)


def plan(uid: int, gid: int, *, own: bool = False) -> Plan:
    """The best map for this caller; `uid` and `gid` are what the run asks for, and what `single` shows.

    `own`: a user namespace is wanted even where it is not needed.
    """
    if capable(CAP_SYS_ADMIN) and not own:
        return Plan(Map.NONE, why="root needs no user namespace")
    if capable(CAP_SETUID) and capable(CAP_SETGID):
        return Plan(Map.IDENTITY, _own_map("uid"), _own_map("gid"), "a user namespace with the caller's own ids")
    me, group = os.geteuid(), os.getegid()
    uids, gids = _ranges("/etc/subuid", me), _ranges("/etc/subgid", me)
    if uids and gids and shutil.which("newuidmap") and shutil.which("newgidmap"):
        return Plan(
            Map.RANGES,
            _compose(me, uids),
            _compose(group, gids),
            "a user namespace with the ranges of /etc/subuid, through newuidmap",
        )
    return Plan(
        Map.SINGLE,
        ((uid, me, 1),),
        ((gid, group, 1),),
        f"a user namespace with one id (uid {uid}); calls that change ids or owners are answered with success "
        "(the package uidmap and a range in /etc/subuid would give real ones)",
    )


def _own_map(kind: str) -> tuple[tuple[int, int, int], ...]:
    with open(f"/proc/self/{kind}_map") as lines:
        rows = [[int(word) for word in line.split()] for line in lines]
    return tuple((inside, inside, count) for inside, _, count in rows)


def _ranges(file: str, uid: int) -> list[tuple[int, int]]:
    """(first, count) of a user's lines, as subuid(5) has them: by name or by number."""
    names = {str(uid)}
    with contextlib.suppress(KeyError):
        names.add(pwd.getpwuid(uid).pw_name)
    found = []
    try:
        with open(file, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                name, _, rest = line.strip().partition(":")
                first, _, count = rest.partition(":")
                if name in names and first.isdigit() and count.isdigit() and int(count):
                    found.append((int(first), int(count)))
    except OSError:
        return []
    return found


def _compose(own: int, ranges: list[tuple[int, int]]) -> tuple[tuple[int, int, int], ...]:
    rows = [(0, own, 1)]
    inside = 1
    for first, count in ranges:
        rows.append((inside, first, count))
        inside += count
    return tuple(rows)


def write_maps(pid: int, chosen: Plan) -> None:
    """From outside: give the new user namespace of `pid` its ids. Raises TracerError."""
    if chosen.map is Map.RANGES:
        for tool, rows in (("newuidmap", chosen.uids), ("newgidmap", chosen.gids)):
            words = [str(number) for row in rows for number in row]
            done = subprocess.run([tool, str(pid), *words], capture_output=True, stdin=subprocess.DEVNULL)
            if done.returncode:
                said = done.stderr.decode(errors="replace").strip()
                raise TracerError(
                    f"{tool} refused the ranges of /etc/subuid and /etc/subgid: {said}",
                    "check both files, and that newuidmap and newgidmap are setuid root or have file capabilities",
                )
        return
    try:
        if chosen.map is Map.SINGLE:
            _write(f"/proc/{pid}/setgroups", "deny")
        for kind, rows in (("gid", chosen.gids), ("uid", chosen.uids)):
            _write(f"/proc/{pid}/{kind}_map", "".join(f"{a} {b} {c}\n" for a, b, c in rows))
    except OSError as error:
        raise TracerError(f"cannot map ids in a user namespace: {error}", refusal()) from error


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def refusal() -> str:
    """What to do when the kernel allows no user namespace: the switch that is off, and what works without."""
    without = (
        "without namespaces, `slim trace` still works in place, in the live root (no --root), as in an image build"
    )
    for path, value, setting in _SWITCHES:
        try:
            with open(path) as stream:
                if stream.read().strip() == value:
                    return f"allow it with `sysctl -w {setting}`, or run as root; {without}"
        except OSError:
            continue
    return (
        "this looks like a container whose seccomp profile forbids it: podman's own default allows it, docker and "
        "Kubernetes take a profile that does (docs/kubernetes/seccomp.json: docker run --security-opt seccomp=FILE; "
        f"seccompProfile: type: Localhost), and no privilege is needed; {without}"
    )


def refused() -> str:
    """Why this process cannot have the namespaces of a sandbox, as the kernel says it; "" when it can."""
    return _refused(os.geteuid())


@functools.cache
def _refused(_: int) -> str:
    flags = NEWNS | NEWPID | NEWIPC | NEWUTS
    if not capable(CAP_SYS_ADMIN):
        flags |= NEWUSER
    reader, writer = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            unshare(flags)
            mount("", "/", flags=REC | PRIVATE)
        except OSError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as stream:
        reason = stream.read().decode(errors="replace")
    os.waitpid(child, 0)
    return reason
