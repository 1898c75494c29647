"""A command beside a running container: in its namespaces, on other files, with its root to look at.

    /          the tools: an overlay over their root, thrown away afterwards
    /target    the container's root with all that is mounted in it, read-only
    /proc      of the container's pid namespace

Nothing is mounted or written in the container: its mounts are cloned in its mount namespace (open_tree(2)) and put into
one of our own. Whoever may enter the namespaces can do it: root, or the owner of the container's user namespace.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import NoReturn

from tracer.errors import TracerError
from tracer.kernel import detached, mounts, userns
from tracer.kernel.detached import NODEV, NOEXEC, NOSUID, RDONLY
from tracer.kernel.mounts import PRIVATE, REC, mount
from tracer.runner import session_directory

TARGET = "target"
_NAMESPACES = (("net", userns.NEWNET), ("ipc", userns.NEWIPC), ("uts", userns.NEWUTS), ("pid", userns.NEWPID))


def beside(pid: int, tools: str, argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Run a command beside process `pid` with `tools` (a root directory) as its files; its wait status.

    Raises TracerError when the process is not there or cannot be entered.
    """
    if not os.path.isdir(tools):
        raise TracerError(f"the tools are to come from {tools}, which is no directory", "name a root directory")
    reader, writer = os.pipe2(os.O_CLOEXEC)
    with session_directory.directory() as place:
        child = os.fork()
        if child == 0:
            os.close(reader)
            _child(pid, tools, place, argv, env, writer)
        os.close(writer)
        with open(reader, encoding="utf-8", errors="replace") as stream:
            problem = stream.read()
        while True:
            with contextlib.suppress(KeyboardInterrupt):  # is for the command, which shares the terminal
                status = os.waitpid(child, 0)[1]
                break
    if problem:
        raise TracerError(
            f"process {pid} cannot be entered: {problem}",
            "be root, or the owner of its user namespace; give the number that the host knows it by",
        )
    return status


def _child(pid: int, tools: str, place: str, argv: Sequence[str], env: Mapping[str, str], writer: int) -> NoReturn:
    try:
        _build(pid, tools, place)
        inner = os.fork()
        if inner:
            os.close(writer)
            status = os.waitpid(inner, 0)[1]
            os._exit(os.waitstatus_to_exitcode(status) % 256 if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
        mounts.detach(mounts.pivot("root"))
        mount("proc", "/proc", "proc", NOSUID | NODEV | NOEXEC)
        os.execvpe(argv[0], list(argv), dict(env))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        os.write(writer, f"{where}{error.strerror}".encode(errors="replace"))
    except BaseException as error:
        os.write(writer, f"{type(error).__name__}: {error}".encode(errors="replace"))
    finally:
        os._exit(127)


def _build(pid: int, tools: str, place: str) -> None:
    """Make the root below `place`, and enter every namespace but the container's mounts. Raises OSError."""
    theirs = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    others = [(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), kind) for name, kind in _NAMESPACES]
    user = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    inside = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    own_user = not os.path.samestat(os.fstat(user), os.stat("/proc/self/ns/user"))
    if own_user:
        userns.join(user, userns.NEWUSER)
        with contextlib.suppress(OSError):  # where a map of one id forbids it
            os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    userns.unshare(userns.NEWNS)
    mount("", "/", flags=REC | PRIVATE)
    ours = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    userns.join(theirs, userns.NEWNS)
    os.fchdir(inside)
    target = detached.clone(".", RDONLY)
    userns.join(ours, userns.NEWNS)
    os.chdir(place)
    mount("tmpfs", ".", "tmpfs", NOSUID | NODEV, "mode=755")
    os.chdir(place)  # into what is mounted there now
    for name in ("upper", "work", "root"):
        os.mkdir(name)
    options = f"upperdir={place}/upper,workdir={place}/work"
    lower = os.open(tools, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    options += f",lowerdir=/proc/self/fd/{lower}"
    mount("overlay", "root", "overlay", NODEV, f"{options},userxattr" if own_user else options)
    for name in (TARGET, "proc", "dev", "sys"):
        os.makedirs(f"root/{name}", exist_ok=True)
    for source, name in ((target, TARGET), (detached.clone("/dev"), "dev"), (detached.clone("/sys", RDONLY), "sys")):
        point = os.open(f"root/{name}", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        detached.attach(source, point, f"/{name}")
        os.close(point)
    for descriptor, kind in others:
        userns.join(descriptor, kind)
