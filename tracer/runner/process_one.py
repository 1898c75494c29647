"""Commands that have to be process 1: in a pid namespace of their own below the sandbox's first process.

Init systems refuse to be anything else (s6-overlay, runit-init, systemd), or behave otherwise (tini, dumb-init, busybox
init). Such a command is started into a new pid namespace; /proc then shows that one, and commands that come later are
started into it too, as `podman exec` does. It gets signals, and orphans, exactly as from a container runtime. All
others run below slimmer's own first process, which reaps what they leave and passes signals that a process 1 without
a handler would never see.
"""

from __future__ import annotations

import ctypes
import enum
import errno
import os
import platform
import signal

from tracer.kernel import userns

_CLONE = {"x86_64": 56, "i686": 120, "aarch64": 220, "armv7l": 120}
_CLONE_PARENT = 0x00008000
_KERNEL = ctypes.PyDLL(None, use_errno=True)  # keeps the interpreter's lock: the child has it too
_KERNEL.syscall.restype = ctypes.c_long
_NOTHING = (ctypes.c_long(0),) * 4
_NAMES = frozenset(
    (
        *("init", "linuxrc", "systemd", "runit", "runit-init", "openrc-init", "dinit", "finit", "shepherd"),
        *("s6-svscan", "s6-linux-init", "s6-overlay-suexec", "tini", "tini-static", "dumb-init", "catatonit"),
        *("docker-init", "podman-init", "my_init", "pid1", "yelp-dumb-init"),
    )
)


class Init(enum.StrEnum):
    """What process 1 is, for the command that a session starts first."""

    AUTO = "auto"  # the command where it is an init system, slimmer's own first process else
    NONE = "none"  # the command
    SLIMMER = "slimmer"


def wanted(choice: Init, argv: tuple[str, ...], program: str) -> bool:
    """Whether a command is to be process 1. `program` is what would be executed; its links are read here."""
    if choice is not Init.AUTO:
        return choice is Init.NONE
    names = [os.path.basename(each) for each in (argv[0], program, os.path.realpath(program))]
    if names[2].startswith("busybox") and len(argv) > 1:
        names.append(argv[1])
    return bool(_NAMES.intersection(names))


def fork_into_new() -> int:
    """As os.fork: the child is process 1 of a new pid namespace. Raises OSError."""
    return _clone(userns.NEWPID)


def fork_into(namespace: int) -> int:
    """As os.fork, into the pid namespace of a descriptor; the child's parent is this process all the same.

    setns(2) holds for children only, so a process between makes it and goes. Raises OSError when nothing can be
    started there any more: its process 1 has ended.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    between = os.fork()
    if between == 0:
        number = 0
        try:
            userns.join(namespace, userns.NEWPID)
            number = _clone(_CLONE_PARENT)
            if number == 0:
                os.close(reader)
                os.close(writer)
                return 0
        except OSError as error:
            number = -(error.errno or errno.ESRCH)
        os.write(writer, b"%d" % number)
        os._exit(0)
    os.close(writer)
    told = int(os.read(reader, 64) or b"-3")
    os.close(reader)
    os.waitpid(between, 0)
    if told < 0:
        raise OSError(-told, os.strerror(-told), "the pid namespace of process 1")
    return told


def _clone(flags: int) -> int:
    """clone(2) as os.fork calls it, with flags of its own; in numbers of this process's pid namespace."""
    api = ctypes.pythonapi
    api.PyOS_BeforeFork()
    child = int(_KERNEL.syscall(_CLONE[platform.machine()], ctypes.c_long(flags | signal.SIGCHLD), *_NOTHING))
    failure = ctypes.get_errno()
    if child == 0:
        api.PyOS_AfterFork_Child()
        return 0
    api.PyOS_AfterFork_Parent()
    if child < 0:
        raise OSError(failure, os.strerror(failure), "clone")
    return child
