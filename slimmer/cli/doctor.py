"""`slim doctor`: what works on this machine, what does not, and what to do."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from slimmer.facts.place import cache_place

FORMAT = "slimmer.doctor/1"
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000  # linux/sched.h
CAP_SYS_ADMIN, CAP_SYS_PTRACE = 21, 19  # linux/capability.h
ROOM = 2 * 10**9  # bytes: an unpacked image, its overlay and the output


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that slimmer can use. `works` is "yes", "no", or "limited"."""

    what: str
    works: str
    detail: str
    remedy: str = ""  # empty when there is nothing to do


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="As JSON on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Only what does not work.")
def command(as_json: bool, quiet: bool) -> None:
    """What works on this machine, what does not, and what to do.

    Exit 1 when no run can be held here at all.
    """
    found = list(findings())
    if as_json:
        click.echo(json.dumps({"format": FORMAT, "findings": [asdict(each) for each in found]}, indent=1))
    else:
        colours = {"yes": "green", "limited": "yellow", "no": "red"}
        for each in found:
            if not (quiet and each.works == "yes"):
                click.echo(f"{click.style(f'{each.works:>7}', fg=colours[each.works])}  {each.what}: {each.detail}")
                if each.remedy:
                    click.echo(f"         {each.remedy}")
    if any(each.what == "running" and each.works == "no" for each in found):
        click.get_current_context().exit(1)


def findings() -> Iterator[Finding]:
    """Each looked for by trying it, where trying changes nothing."""
    admin, tracer = capable(CAP_SYS_ADMIN), capable(CAP_SYS_PTRACE)
    yield Finding(
        "machine", "yes", f"Linux {platform.release()} on {platform.machine()}, Python {platform.python_version()}"
    )
    namespaces = may_unshare(CLONE_NEWNS if admin else CLONE_NEWNS | CLONE_NEWUSER)
    if namespaces and admin:
        yield Finding("running", "yes", "this user makes namespaces itself: a sandbox with an overlay for each run")
    elif namespaces:
        yield Finding("running", "yes", "user namespaces: a sandbox with an overlay for each run, without privilege")
    else:
        yield Finding(
            "running",
            "limited",
            "no namespaces: runs take place in the live root",
            "sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces=15000, "
            "kernel.apparmor_restrict_unprivileged_userns=0; in a container, a seccomp profile that allows unshare "
            "(podman's own, or docs/kubernetes/seccomp.json)",
        )
    yield from recorders(admin, tracer)
    overlay = any(line.split()[-1:] == ["overlay"] for line in lines("/proc/filesystems"))
    if overlay:
        yield Finding("overlay", "yes", "the kernel has overlayfs: a run starts without a copy of its root")
    else:
        yield Finding("overlay", "limited", "no overlayfs: each run has a copy of its root", "modprobe overlay")
    yield emulators()
    for name, place in (("disk here", Path.cwd()), ("disk for the cache", cache_place())):
        free = shutil.disk_usage(nearest(place)).free
        words = f"{free / 1e9:.1f} GB free at {place}"
        remedy = "make room: an unpacked image and its output need about three times its size; `slim cache prune`"
        yield Finding(name, "yes" if free >= ROOM else "limited", words, "" if free >= ROOM else remedy)


def recorders(admin: bool, tracer: bool) -> Iterator[Finding]:
    """The three ways to record: seccomp(2) user notification, ptrace(2), fanotify(7)."""
    actions = " ".join(lines("/proc/sys/kernel/seccomp/actions_avail")).split()
    if "user_notif" in actions:
        yield Finding("recorder notify", "yes", "the kernel's seccomp has user notification")
    else:
        yield Finding("recorder notify", "no", "seccomp has no user notification", "Linux 5.5 or later has it")
    scope = " ".join(lines("/proc/sys/kernel/yama/ptrace_scope")).strip() or "0"
    if scope == "3":
        yield Finding("recorder ptrace", "no", "kernel.yama.ptrace_scope is 3", "it can only be lowered by a restart")
    else:
        yield Finding("recorder ptrace", "yes", "programs may be traced by who starts them")
    if admin:
        yield Finding("recorder fanotify", "yes", "CAP_SYS_ADMIN is there: `slim record --watch` works too")
    else:
        yield Finding("recorder fanotify", "no", "needs CAP_SYS_ADMIN; only `slim record --watch` misses it")


def emulators() -> Finding:
    """Emulators for foreign roots: registered with the kernel, or static ones on PATH."""
    registered = sorted(each.name[5:] for each in Path("/proc/sys/fs/binfmt_misc").glob("qemu-*"))
    found = [name for name in ("aarch64", "arm", "riscv64", "ppc64le", "s390x") if shutil.which(f"qemu-{name}-static")]
    names = sorted({*registered, *found})
    if names:
        return Finding("foreign architectures", "yes", f"qemu for {', '.join(names)}")
    remedy = "apt-get install qemu-user-static, or --qemu FILE; what needs no run works without"
    return Finding("foreign architectures", "limited", "no qemu-user-static here", remedy)


def capable(number: int) -> bool:
    """Whether this process has a capability in force, capabilities(7)."""
    held = next((line.split()[1] for line in lines("/proc/self/status") if line.startswith("CapEff:")), "0")
    return bool(int(held, 16) >> number & 1)


def may_unshare(flags: int) -> bool:
    """Tried in a child, which ends at once."""
    libc = ctypes.CDLL(None, use_errno=True)
    child = os.fork()
    if not child:
        os._exit(0 if libc.unshare(flags) == 0 else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def nearest(place: Path) -> Path:
    """The place, or the directory above it that is there."""
    return next(each for each in (place, *place.parents) if each.exists())


def lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
