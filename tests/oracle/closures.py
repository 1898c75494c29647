"""Slim trees of real roots: what a closure keeps, beside every shared library, to run the real interpreter in.

Shared libraries and time zones are other rules' business; these trees get all of them.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

LIBRARIES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib")
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def lay(paths: Iterable[str], root: Path, slim: Path) -> Path:
    """Make `slim` of these paths of `root`, by hard links, with its shared libraries."""
    for path in sorted(paths):
        _put(path, root, slim)
    for top in ("/bin", "/sbin", "/lib", "/lib64"):
        if (root / top[1:]).is_symlink():
            _put(top, root, slim)
    for directory in LIBRARIES:
        for name in sorted(os.listdir(f"{root}{directory}")) if os.path.isdir(f"{root}{directory}") else ():
            if ".so" in name and not os.path.isdir(f"{root}{directory}/{name}"):
                _put(f"{directory}/{name}", root, slim)
    if (root / "etc/ld.so.cache").exists():
        _put("/etc/ld.so.cache", root, slim)
    for top, _, names in os.walk(root / "usr/share/zoneinfo"):
        for name in names:
            _put(f"{top}/{name}"[len(str(root)) :], root, slim)
    for directory in ("proc", "dev", "tmp"):
        (slim / directory).mkdir(exist_ok=True)
    return slim


def _put(path: str, root: Path, slim: Path) -> None:
    source, target = f"{root}{path}", f"{slim}{path}"
    if os.path.lexists(target):
        return
    target = target.rstrip("/")
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
    elif os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.link(source, target)


def run(
    tree: Path, argv: Sequence[str], environment: Mapping[str, str] = ENVIRONMENT, workdir: str = "/"
) -> tuple[int, str, str]:
    """Run a command in a tree, with /proc and /dev: exit code, stdout, stderr."""
    enter = (
        f'mount -t proc proc {tree}/proc && mount --rbind /dev {tree}/dev && exec unshare -R {tree} -w {workdir} "$@"'
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", enter, "sh", *argv],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env={**ENVIRONMENT, **environment},
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr
