"""What a sandbox is furnished with, built by its first process: overlay, /proc, /sys, /dev, /tmp, binds, loopback."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from tracer.errors import TracerError
from tracer.kernel import detached, mounts, userns
from tracer.kernel.capabilities import RUNTIME
from tracer.kernel.detached import NODEV, NOEXEC, NOSUID, RDONLY
from tracer.kernel.mounts import BIND, PRIVATE, REC, REMOUNT, mount
from tracer.kernel.userns import Map, Plan
from tracer.runner import mount_point, overlay, qemu
from tracer.runner.confinement import Confinement
from tracer.runner.limits import Limits, limit_namespace, pid_max_is_own
from tracer.runner.process_one import Init
from tracer.runner.qemu import Guest

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
DEVICE_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}
_PROC_READ_ONLY = ("sys", "sysrq-trigger", "irq", "bus", "fs")
# moby's oci/defaults.go, containers/common's pkg/config: what tells of the host, or lets it be changed
_PROC_HIDDEN = (
    *("asound", "acpi", "kcore", "keys", "latency_stats", "timer_list", "timer_stats", "sched_debug", "scsi"),
    "interrupts",
)
_SYS_HIDDEN = ("firmware", "dev/block", "devices/virtual/powercap", "fs/selinux")
_POINT = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Mount:
    """A bind of the host: `source` is a real path."""

    source: str
    target: str
    writable: bool


@dataclass(frozen=True, slots=True)
class SandboxSpec:
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
    capabilities: frozenset[int] = RUNTIME
    init: Init = Init.AUTO
    nested: bool = False  # commands may make sandboxes of their own
    hosts: tuple[tuple[str, str], ...] = ()  # name and address, more of /etc/hosts
    join: tuple[int, ...] = ()  # another network namespace, and the user namespace that has to be entered for it
    files: Mapping[str, str] = field(default_factory=dict)  # hosts and resolv.conf of the network that is joined
    limits: Limits = field(default_factory=Limits)
    confinement: Confinement | None = None  # a policy that commands are tried under

    @property
    def own_user_namespace(self) -> bool:
        """It makes one, and does not enter another's."""
        return self.ids.map is not Map.NONE and len(self.join) < 2


class RootfsBuilder:
    """Builds the root, in pid 1. `notes` are what could not be had and is not worth an error."""

    def __init__(self, look: SandboxSpec) -> None:
        self._look = look
        self.notes: list[str] = []
        self.through = ""  # the emulator that commands must be started with
        self._handler = -1
        self._layer: overlay.Overlay | None = None

    def build(self) -> None:
        """Raises OSError, TracerError.

        All that comes from outside is opened before the root is entered, and the host's root is gone before
        anything of the root is named: what lies in the root can lead nowhere but into it.
        """
        look = self._look
        userns.unshare(userns.NEWNS)
        mount("", "/", flags=REC | PRIVATE)
        os.chdir(look.place)
        os.umask(0o022)
        self._overlay()
        self._emulate()
        given = _Given(look, self.through, self.notes)
        mounts.detach(mounts.pivot("root"))
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        devices = self._devices(root, given)
        if look.private_network and not look.join:
            _low_ports(given.proc)
        if look.limits.own_pids and look.ids.map is Map.NONE and pid_max_is_own():
            limit_namespace(given.proc, look.limits.own_pids)
        self._proc(root, given.proc, devices)
        self._sys(root, given, devices)
        self._tmp(root)
        for name, tree in given.etc.items():
            _put(tree, mount_point.find(root, f"/etc/{name}", directory=False), f"/etc/{name}")
        for each, (tree, directory) in given.binds.items():
            _put(tree, mount_point.find(root, each.target, directory=directory), each.target)
        if given.emulator >= 0:
            _put(given.emulator, mount_point.find(root, qemu.DIRECT, directory=False), qemu.DIRECT)
        os.close(devices)
        self._read_only(root)
        os.close(root)
        with contextlib.suppress(PermissionError):  # a container's seccomp profile may forbid it
            socket.sethostname(look.hostname)
        if look.private_network and not look.join:
            loopback_up()
        if look.foreign:
            self.notes.append("the root belongs to another user: its files can be read and replaced, but not written")
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

    def _mounted(self, above: str, work: str) -> overlay.Overlay:
        if self._look.foreign:
            self._adopt(above)
        overlay.like("lower", above)
        for name in os.listdir("etc"):
            overlay.make_mount_point(above, "lower", f"/etc/{name}", directory=False)
        for each in self._look.binds:
            overlay.make_mount_point(above, "lower", each.target, directory=os.path.isdir(each.source))
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
        return overlay.Overlay(above, "lower")

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
        overlay.adopt(above, "seen")
        mounts.umount("seen")

    def _devices(self, root: int, given: _Given) -> int:
        point = mount_point.own(root, "dev")
        tree = detached.make("tmpfs", NOSUID | NODEV, "mode=755", "size=65536k")
        # Filled before it is anywhere: no name in it is the image's.
        for name in given.devices:
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666, dir_fd=tree))
        for name, target in DEVICE_LINKS.items():
            os.symlink(target, name, dir_fd=tree)
        for name in ("pts", "shm", "mqueue"):
            os.mkdir(name, 0o755, dir_fd=tree)
        detached.attach(tree, point, "/dev")
        os.close(point)
        for name, device in given.devices.items():
            _put(device, os.open(name, _POINT, dir_fd=tree), f"/dev/{name}")
        terminals = ("newinstance", "ptmxmode=0666", "mode=0620")
        try:
            pts = detached.make("devpts", NOSUID | NOEXEC, *terminals, "gid=5")
        except OSError:  # gid 5 does not exist in a map of one id
            pts = detached.make("devpts", NOSUID | NOEXEC, *terminals)
        _put(pts, os.open("pts", _POINT, dir_fd=tree), "/dev/pts")
        shared = detached.make("tmpfs", NOSUID | NODEV | NOEXEC, "mode=1777", "source=shm")
        _put(shared, os.open("shm", _POINT, dir_fd=tree), "/dev/shm")
        with contextlib.suppress(OSError):  # a kernel may be built without
            queues = detached.make("mqueue", NOSUID | NODEV | NOEXEC)
            _put(queues, os.open("mqueue", _POINT, dir_fd=tree), "/dev/mqueue")
        return tree

    def proc_of_process_one(self) -> None:
        """In process 1 of a pid namespace below: /proc shows that one from now on. Raises OSError, TracerError."""
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        devices = mount_point.own(root, "dev")
        self._proc(root, detached.make("proc", NOSUID | NODEV | NOEXEC), devices)
        os.close(devices)
        os.close(root)

    def _proc(self, root: int, tree: int, devices: int) -> None:
        point = mount_point.own(root, "proc")
        detached.attach(tree, point, "/proc")
        os.close(point)
        for name in _PROC_READ_ONLY:
            with contextlib.suppress(FileNotFoundError):
                part = detached.clone(name, RDONLY | NOSUID | NODEV | NOEXEC, at=tree)
                _put(part, os.open(name, _POINT, dir_fd=tree), f"/proc/{name}")
        _hide(tree, "/proc", _PROC_HIDDEN, devices)
        os.close(tree)

    def _sys(self, root: int, given: _Given, devices: int) -> None:
        point = mount_point.own(root, "sys")
        if given.sys >= 0:
            detached.attach(given.sys, point, "/sys")
            _hide(given.sys, "/sys", _SYS_HIDDEN, devices)
            os.close(given.sys)
        os.close(point)

    def _read_only(self, root: int) -> None:
        """As runtimes do it: the root is, but for mounts of their own on what may be written."""
        held = self._look.confinement
        if held is None or held.writable is None:
            return
        for path in held.writable:
            _put(detached.clone(path), mount_point.find(root, path, directory=True), path)
        mount("", "/", flags=REMOUNT | BIND | RDONLY | NODEV)

    def _tmp(self, root: int) -> None:
        """A root without /tmp stays without: that is what a runtime would give it."""
        if not self._look.fresh_tmp:
            return
        try:
            status = os.stat("tmp", dir_fd=root, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(status.st_mode):
            return
        tree = detached.make("tmpfs", NOSUID | NODEV, f"mode={stat.S_IMODE(status.st_mode):o}")
        detached.attach(tree, point := os.open("tmp", _POINT, dir_fd=root), "/tmp")
        os.close(point)
        with contextlib.suppress(OSError):
            os.chown(".", status.st_uid, status.st_gid, dir_fd=tree)
        os.close(tree)


class _Given:
    """What a sandbox gets from the host, as mounts that lie nowhere yet. Made in the host's mount namespace."""

    def __init__(self, look: SandboxSpec, through: str, notes: list[str]) -> None:
        self.devices = {name: detached.clone(f"/dev/{name}", NOSUID | NOEXEC) for name in DEVICES if _device(name)}
        if "null" not in self.devices:
            raise TracerError("this machine has no /dev/null that is a device", "the sandbox hides things behind it")
        self.etc = {name: detached.clone(f"etc/{name}", NOSUID | NODEV | NOEXEC) for name in os.listdir("etc")}
        self.binds = {each: _bound(each) for each in look.binds}
        self.emulator = detached.clone(look.emulator, RDONLY | NOSUID | NODEV) if through else -1
        flags = NOSUID | NODEV | NOEXEC
        try:
            self.proc = detached.make("proc", flags)
        except PermissionError:
            # In a container that hides parts of its own /proc (fs/namespace.c, mount_too_revealing): that one,
            # where /proc/self is right, and the numbers are the container's.
            self.proc = detached.clone("/proc", flags)
            notes.append("/proc shows the process ids of the container around")
        self.sys = -1
        try:
            self.sys = detached.make("sysfs", flags | RDONLY)
        except OSError:  # of a network namespace that is another's
            try:
                self.sys = detached.clone("/sys", flags | RDONLY)
            except OSError as error:
                notes.append(f"/sys is empty ({error.strerror})")


def _device(name: str) -> bool:
    try:
        return stat.S_ISCHR(os.lstat(f"/dev/{name}").st_mode)
    except OSError:
        return False


def _bound(each: Mount) -> tuple[int, bool]:
    """The mount of a source, and whether it is a directory. Raises TracerError."""
    try:
        kind = os.lstat(each.source).st_mode
        flags = NOSUID | NODEV | (0 if each.writable else RDONLY)
        return detached.clone(each.source, flags), stat.S_ISDIR(kind)
    except OSError as error:
        raise TracerError(
            f"cannot mount {each.source} on {each.target} in the sandbox: {error.strerror}",
            "the source must exist and be readable; the target is an absolute path of the root",
        ) from error


def _put(tree: int, point: int, what: str) -> None:
    """Attach, and be done with both. Raises OSError."""
    try:
        detached.attach(tree, point, what)
    finally:
        os.close(tree)
        os.close(point)


def _hide(tree: int, above: str, names: tuple[str, ...], devices: int) -> None:
    """What runtimes mask: a file behind /dev/null, a directory behind an empty one. Raises OSError."""
    for name in names:
        try:
            point = os.open(name, _POINT, dir_fd=tree)
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(os.fstat(point).st_mode):
            _put(detached.make("tmpfs", RDONLY | NOSUID | NODEV | NOEXEC, "mode=555"), point, f"{above}/{name}")
        else:
            _put(detached.clone("null", NOSUID | NOEXEC | RDONLY, at=devices), point, f"{above}/{name}")


def _low_ports(proc: int) -> None:
    """Runtimes let any user listen on port 80 in a network namespace of its own (moby, libpod)."""
    with contextlib.suppress(OSError):
        name = "sys/net/ipv4/ip_unprivileged_port_start"
        descriptor = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
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
