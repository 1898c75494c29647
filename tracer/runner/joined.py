"""The network of a process that runs already, for commands to share: services of a container that is up are reached.

Whoever may enter it can do it: root, or the owner of the user namespace that it belongs to (a rootless container's).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from dataclasses import dataclass

from tracer.errors import TracerError
from tracer.kernel import userns
from tracer.kernel.beneath import open_beneath
from tracer.kernel.userns import Map, Plan

_GET_USERNS = 0xB701  # include/uapi/linux/nsfs.h, NS_GET_USERNS: the user namespace that another one belongs to
_HINT = "be root, or the owner of its user namespace (a container of your own); give the number that the host knows"


@dataclass(frozen=True, slots=True)
class Joined:
    """`namespaces` as `userns.enter` takes them: descriptors, the caller's to close; none is the caller's own network.

    `ids` are those of the user namespace, where that has to be entered too. `files` are the texts of its root's /etc
    that tell where the network's names are.
    """

    namespaces: tuple[int, ...]
    ids: Plan | None
    files: dict[str, str]

    def close(self) -> None:
        for each in self.namespaces:
            os.close(each)


def joined(pid: int) -> Joined:
    """How to share the network of process `pid`. Raises TracerError when it is gone or cannot be entered."""
    opened: list[int] = []
    try:
        network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        opened.append(network)
        if os.path.samestat(os.fstat(network), os.stat("/proc/self/ns/net")):
            os.close(network)
            return Joined((), None, {})
        if userns.capable(userns.CAP_SYS_ADMIN):
            return Joined((network,), None, _files(pid))
        owner = fcntl.ioctl(network, _GET_USERNS)
        opened.append(owner)
        os.set_inheritable(owner, False)
        if not os.path.samestat(os.fstat(owner), os.stat(f"/proc/{pid}/ns/user")):
            raise TracerError(f"the network of process {pid} belongs to another user namespace than its own", _HINT)
        if os.path.samestat(os.fstat(owner), os.stat("/proc/self/ns/user")):
            raise TracerError(f"the network of process {pid} belongs to root", "be root")
        return Joined((network, owner), _ids(pid), _files(pid))
    except OSError as error:
        for each in opened:
            os.close(each)
        raise TracerError(f"the network of process {pid} cannot be shared: {error.strerror}", _HINT) from error
    except TracerError:
        for each in opened:
            os.close(each)
        raise


def _ids(pid: int) -> Plan:
    """The maps of its user namespace, as this process sees them (user_namespaces(7))."""
    rows = []
    for kind in ("uid", "gid"):
        with open(f"/proc/{pid}/{kind}_map") as lines:
            rows.append(tuple((int(one), int(two), int(three)) for one, two, three in map(str.split, lines)))
    single = all(len(each) == 1 and each[0][2] == 1 for each in rows)
    return Plan(Map.SINGLE if single else Map.RANGES, rows[0], rows[1], f"in the user namespace of process {pid}")


def _files(pid: int) -> dict[str, str]:
    """What its root says of names: as container engines do it, who shares a network shares these.

    That root is a stranger's: no link of it is followed, and only a regular file is read.
    """
    found: dict[str, str] = {}
    try:
        top = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return found
    for name in ("hosts", "resolv.conf"):
        with contextlib.suppress(OSError):
            descriptor = open_beneath(top, f"etc/{name}", os.O_RDONLY | os.O_NONBLOCK)
            with open(descriptor, "rb") as stream:
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    found[name] = stream.read(1 << 20).decode("utf-8", "replace")
    os.close(top)
    return found
