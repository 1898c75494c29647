"""Where something is mounted in a root that nobody vouches for: found once, as a descriptor, and never named again."""

from __future__ import annotations

import os
import stat
from collections import deque

from tracer.errors import TracerError

_LINKS = 40  # as the kernel's MAXSYMLINKS
_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = {
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def own(root: int, name: str) -> int:
    """A directory of the root's top that the kernel's filesystems go on, made when it is not there.

    A link would let an image choose where (runc refuses it too). Raises TracerError, OSError.
    """
    try:
        os.mkdir(name, 0o755, dir_fd=root)
    except FileExistsError:
        mode = os.stat(name, dir_fd=root, follow_symlinks=False).st_mode
        if not stat.S_ISDIR(mode):
            raise odd(f"/{name}", mode, "must be a directory: a filesystem is to be mounted there") from None
    return os.open(name, _PATH | os.O_DIRECTORY, dir_fd=root)


def find(root: int, path: str, *, directory: bool) -> int:
    """Where a path leads as a process in the root would find it, one component after the other; what lacks is made.

    Links are followed inside the root, `..` stops at its top. Raises TracerError when what
    is there is of another kind, OSError.
    """
    above = [os.dup(root)]
    pending = deque(_parts(path))
    links = 0
    here = ""
    try:
        while pending:
            name = pending.popleft()
            if name == "..":
                if len(above) > 1:
                    os.close(above.pop())
                    here = here.rpartition("/")[0]
                continue
            wanted = bool(pending) or directory
            mode = _mode(above[-1], name, wanted)
            if stat.S_ISLNK(mode):
                links += 1
                if links > _LINKS:
                    raise TracerError(f"too many symbolic links on the way to {path} in the root")
                target = os.readlink(name, dir_fd=above[-1])
                if target.startswith("/"):
                    here = ""
                    while len(above) > 1:
                        os.close(above.pop())
                pending.extendleft(reversed(_parts(target)))
                continue
            here = f"{here}/{name}"
            if stat.S_ISDIR(mode) is not wanted:
                kind = "a directory" if wanted else "a file"
                raise odd(here, mode, f"must be {kind} for {path}" if here != path else f"must be {kind}")
            above.append(os.open(name, _PATH, dir_fd=above[-1]))
        if len(above) == 1:
            raise TracerError(f"{path} leads to the root itself: nothing can be mounted there")
        return above.pop()
    finally:
        for each in above:
            os.close(each)


def odd(path: str, mode: int, what: str) -> TracerError:
    """The error about a root that no runtime could start."""
    kind = _KINDS.get(stat.S_IFMT(mode), "something unknown")
    return TracerError(f"the root is odd: {path} is {kind}, and {what}", "no container runtime starts such a root")


def _parts(path: str) -> list[str]:
    return [each for each in path.split("/") if each not in ("", ".")]


def _mode(above: int, name: str, directory: bool) -> int:
    """What is there, made when nothing is. Raises OSError."""
    try:
        return os.stat(name, dir_fd=above, follow_symlinks=False).st_mode
    except FileNotFoundError:
        if directory:
            os.mkdir(name, 0o755, dir_fd=above)
        else:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=above))
        return os.stat(name, dir_fd=above, follow_symlinks=False).st_mode
