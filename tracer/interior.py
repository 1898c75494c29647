"""What a sandbox is furnished with, built by its first process: overlay, /proc, /sys, /dev, /tmp, binds, loopback."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import struct
from dataclasses import dataclass

from tracer import mounts, qemu, upper, userns
from tracer.errors import TracerError
from tracer.mounts import BIND, NODEV, NOEXEC, NOSUID, PRIVATE, RDONLY, REC, REMOUNT, mount
from tracer.qemu import Guest
from tracer.userns import Map, Plan

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
DEVICE_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}
_PROC_READ_ONLY = ("sys", "sysrq-trigger", "irq", "bus", "fs")
_PROC_HIDDEN = ("kcore", "keys", "timer_list", "sched_debug")


@dataclass(frozen=True, slots=True)
class Mount:
    """A bind of the host: `source` is a real path."""

    source: str
    target: str
    writable: bool


@dataclass(frozen=True, slots=True)
class Furnishing:
    """What the sandbox is to look like. `root` and `place` are real paths of the host."""

    root: str
    place: str
    hostname: str
    private_network: bool
    binds: tuple[Mount, ...]
    fresh_tmp: bool
    ids: Plan
    foreign: bool  # the root's owner does not exist in the sandbox
    guest: Guest | None = None  # another architecture, and a static emulator for it (a real path)
    emulator: str = ""


class Inside:
    """Builds the root, in pid 1. `notes` are what could not be had and is not worth an error."""

    def __init__(self, look: Furnishing) -> None:
        self._look = look
        self.notes: list[str] = []
        self.through = ""  # the emulator that commands must be started with
        self._handler = -1
        self._layer: upper.Layer | None = None

    def build(self) -> None:
        """Raises OSError, TracerError."""
        look = self._look
        userns.unshare(userns.NEWNS)
        mount("", "/", flags=REC | PRIVATE)
        os.chdir(look.place)
        os.umask(0o022)
        self._overlay()
        self._emulate()
        root = os.path.join(look.place, "root")
        old = mounts.pivot(root)
        os.fchdir(old)  # a relative path is the host's, an absolute one the new root's
        self._proc()
        self._sys()
        self._devices()
        self._tmp()
        for name in os.listdir(f"{look.place}/etc"[1:]):
            mounts.bind(f"{look.place}/etc/{name}"[1:], _file_at(f"/etc/{name}"))
        for each in look.binds:
            self._bind(each)
        if self.through:
            mounts.bind(look.emulator[1:], _file_at(qemu.DIRECT), writable=False)
        with contextlib.suppress(PermissionError):  # a container's seccomp profile may forbid it
            socket.sethostname(look.hostname)
        if look.private_network:
            loopback_up()
        if look.foreign:
            self.notes.append("the root belongs to another user: its files can be read and replaced, but not written")
        mounts.detach(old)
        assert self._layer is not None
        self._layer.settle()

    def namespaces(self) -> tuple[int, ...]:
        """Descriptors of the network namespace and, when there is one, the user namespace."""
        names = ("net", "user") if self._look.ids.map is not Map.NONE else ("net",)
        return tuple(os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in names)

    def changes(self) -> tuple[str, ...]:
        return self._layer.changes() if self._layer else ()

    def _overlay(self) -> None:
        on_disk, in_memory = ("upper", "work"), ("memory/upper", "memory/work")
        # Adopting makes thousands of directories: in memory that takes no time.
        order = (in_memory, on_disk) if self._look.foreign else (on_disk, in_memory)
        first: OSError | None = None
        for above, work in order:
            try:
                if above == in_memory[0]:
                    os.mkdir("memory")
                    mount("tmpfs", "memory", "tmpfs", NOSUID | NODEV, "mode=755")
                    for name in in_memory:
                        os.mkdir(name)
                self._layer = self._mounted(above, work)
                if above == in_memory[0]:
                    why = f" ({first.strerror} for an overlay in {self._look.place})" if first else ""
                    self.notes.append(f"changes are held in memory{why}")
                return
            except OSError as error:
                # The temporary directory's filesystem cannot be an upper layer (overlayfs, NFS, some FUSE), or it
                # is inside the root itself; tmpfs has had xattrs for users since Linux 6.6.
                first = first or error
        assert first is not None
        raise first

    def _mounted(self, above: str, work: str) -> upper.Layer:
        if self._look.foreign:
            self._adopt(above)
        upper.like("lower", above)
        for name in os.listdir("etc"):
            upper.plant(above, "lower", f"/etc/{name}", directory=False)
        for each in self._look.binds:
            upper.plant(above, "lower", each.target, directory=os.path.isdir(each.source))
        options = f"lowerdir=lower,upperdir={above},workdir={work}"
        tries = [f"{options},redirect_dir=on,volatile", f"{options},volatile", options]
        if self._look.ids.map is not Map.NONE:
            tries = [f"{options},userxattr,volatile", f"{options},userxattr", options]
        for number, choice in enumerate(tries):
            try:
                mount("overlay", "root", "overlay", NODEV, choice)
                break
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EPERM) or number == len(tries) - 1:
                    raise
        return upper.Layer(above, "lower")

    def _emulate(self) -> None:
        guest = self._look.guest
        if guest is None:
            return
        try:
            os.mkdir("binfmt")
            self._handler = qemu.register(guest, self._look.emulator, "binfmt")
            self.notes.append(f"{guest.name} programs run by {self._look.emulator}, registered in the sandbox alone")
        except OSError as error:
            if qemu.registered(guest):
                self.notes.append(f"{guest.name} programs run by the host's own binfmt_misc handler")
                return
            self.through = qemu.DIRECT
            self.notes.append(
                f"the command runs by {self._look.emulator}; {guest.name} programs that it starts cannot run "
                f"(no binfmt_misc for a user namespace: {error.strerror}; Linux 6.7 has it)"
            )

    def _adopt(self, above: str) -> None:
        # Through an overlay without an upper layer, because that reads a directory without changing its access time.
        os.makedirs("seen", exist_ok=True)
        mount("overlay", "seen", "overlay", RDONLY, "lowerdir=lower:etc,userxattr")
        upper.adopt(above, "seen")
        mounts.umount("seen")

    def _proc(self) -> None:
        flags = NOSUID | NODEV | NOEXEC
        target = _directory_at("/proc")
        try:
            mount("proc", target, "proc", flags)
        except PermissionError:
            # In a container that hides parts of its own /proc (fs/namespace.c, mount_too_revealing): that one,
            # where /proc/self is right, and the numbers are the container's.
            mount("proc", target, flags=BIND | REC)
            self.notes.append("/proc shows the process ids of the container around")
            return
        for name in _PROC_READ_ONLY:
            with contextlib.suppress(OSError):
                if name == "sys" and self._look.private_network:
                    _low_ports()
                mount(f"/proc/{name}", f"/proc/{name}", flags=BIND | REC)
                mount("", f"/proc/{name}", flags=BIND | REMOUNT | RDONLY | flags)
        for name in _PROC_HIDDEN:
            with contextlib.suppress(OSError):
                mount("dev/null", f"/proc/{name}", flags=BIND)

    def _sys(self) -> None:
        target = _directory_at("/sys")
        try:
            if not self._look.private_network:
                raise PermissionError(errno.EPERM, "of the host's network namespace")
            mount("sysfs", target, "sysfs", NOSUID | NODEV | NOEXEC | RDONLY)
        except OSError:
            try:
                mounts.bind("sys", target, writable=False)
            except OSError as error:
                self.notes.append(f"/sys is empty ({error.strerror})")

    def _devices(self) -> None:
        mount("tmpfs", _directory_at("/dev"), "tmpfs", NOSUID, "mode=755,size=65536k")
        for name in DEVICES:
            if os.path.exists(f"dev/{name}"):
                os.close(os.open(f"/dev/{name}", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666))
                mount(f"dev/{name}", f"/dev/{name}", flags=BIND)
        for name, target in DEVICE_LINKS.items():
            os.symlink(target, f"/dev/{name}")
        for name in ("pts", "shm", "mqueue"):
            os.mkdir(f"/dev/{name}", 0o755)
        options = "newinstance,ptmxmode=0666,mode=0620"
        try:
            mount("devpts", "/dev/pts", "devpts", NOSUID | NOEXEC, f"{options},gid=5")
        except OSError:  # gid 5 does not exist in a map of one id
            with contextlib.suppress(OSError):
                mount("devpts", "/dev/pts", "devpts", NOSUID | NOEXEC, options)
        mount("shm", "/dev/shm", "tmpfs", NOSUID | NODEV | NOEXEC, "mode=1777")
        with contextlib.suppress(OSError):
            mount("mqueue", "/dev/mqueue", "mqueue", NOSUID | NODEV | NOEXEC)

    def _tmp(self) -> None:
        """A root without /tmp stays without: that is what a runtime would give it."""
        if not self._look.fresh_tmp or not mounts.is_directory("/tmp"):
            return
        status = os.lstat("/tmp")
        mount("tmpfs", "/tmp", "tmpfs", NOSUID | NODEV, f"mode={stat.S_IMODE(status.st_mode):o}")
        with contextlib.suppress(OSError):
            os.chown("/tmp", status.st_uid, status.st_gid)

    def _bind(self, each: Mount) -> None:
        source = each.source.lstrip("/") or "."
        try:
            kind = os.stat(source).st_mode
            target = _directory_at(each.target) if stat.S_ISDIR(kind) else _file_at(each.target)
            mounts.bind(source, target, writable=each.writable)
        except OSError as error:
            raise TracerError(
                f"cannot mount {each.source} on {each.target} in the sandbox: {error.strerror}",
                "the source must exist and be readable; the target is an absolute path of the root",
            ) from error


def _directory_at(path: str) -> str:
    """A directory to mount on, made in the overlay when the root has none; links are followed inside the root."""
    real = os.path.realpath(path)
    os.makedirs(real, 0o755, exist_ok=True)
    return real


def _file_at(path: str) -> str:
    real = os.path.realpath(path)
    os.makedirs(os.path.dirname(real), 0o755, exist_ok=True)
    if not os.path.lexists(real):
        os.close(os.open(real, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    return real


def _low_ports() -> None:
    """Runtimes let any user listen on port 80 in a network namespace of its own (moby, libpod)."""
    descriptor = os.open("/proc/sys/net/ipv4/ip_unprivileged_port_start", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, b"0")
    finally:
        os.close(descriptor)


def loopback_up() -> None:
    """SIOCSIFFLAGS with IFF_UP on lo, netdevice(7). Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack_from("H", fcntl.ioctl(any_socket, 0x8913, request), 16)[0]
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", flags | 1))
