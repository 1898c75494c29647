"""A machine of one's own: a Debian root as `/`, with the tool in it, changed only in a layer that is thrown away.

What runs in the live root is tested in such a one: the machine that the tests run on is too large, and not ours.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support import plant

HOUSE = Path(__file__).resolve().parents[1]
HOME = "/opt/slim"  # where the tool is, in the machine
SLIM = (f"{HOME}/bin/slim",)
ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}

same_python = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="compiled packages of this interpreter do not fit bookworm's Python 3.11"
)


def install(top: Path) -> Path:
    """The tool and all that it depends on, as `python3 -m venv` and `pip install` lay it out; no network is needed."""
    home = top / HOME.lstrip("/")
    main = f"#!{HOME}/bin/python\nfrom slimmer.cli.main import main\nmain()\n"
    configuration = "home = /usr/bin\ninclude-system-site-packages = false\n"
    plant(home, {"pyvenv.cfg": configuration, "bin/python": "-> /usr/bin/python3", "bin/slim": f"#755 {main}"})
    place = home / "lib/python3.11/site-packages"
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("slimmer", "tracer", "profiles"):
        shutil.copytree(HOUSE / name, place / name, ignore=ignore)
    for distribution in _needed():
        for each in distribution.files or ():
            target = Path(os.path.normpath(place / each))
            if "__pycache__" in each.parts or not target.is_relative_to(place):
                continue  # a script, in ../../bin
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(Path(str(each.locate())), target)
    return home


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@functools.cache
def _needed() -> tuple[importlib.metadata.Distribution, ...]:
    found: dict[str, importlib.metadata.Distribution] = {}
    project = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]
    pending: list[list[str]] = [project["dependencies"]]
    while pending:
        for line in pending.pop():
            matched = re.match(r"[\w.-]+", line)
            name = re.sub(r"[-_.]+", "-", matched.group()).lower() if matched else ""
            if not name or name in found or "extra ==" in line:
                continue
            try:
                found[name] = importlib.metadata.distribution(name)
            except importlib.metadata.PackageNotFoundError:
                continue  # for another platform or Python
            pending.append(found[name].requires or [])
    return tuple(found.values())


SCRIPT = """
mount -t overlay overlay -o "lowerdir=$1:$2,upperdir=$3,workdir=$4" "$5" &&
mount -t proc proc "$5/proc" && mount --rbind /dev "$5/dev" && mount -t tmpfs -o mode=1777 tmpfs "$5/tmp" &&
cd "$5" && pivot_root . mnt && umount -l /mnt || exit 99
shift 5
exec $WHO "$@"
"""


class Machine:
    """Commands in it share what they wrote; `changes` is where that can be read from outside."""

    def __init__(self, place: Path, root: Path, tool: Path) -> None:
        self.changes, self._work, self._top = (place / name for name in ("changes", "work", "top"))
        for each in (self.changes, self._work, self._top):
            each.mkdir(parents=True)
        self.changes.chmod(0o755)
        self._layers = [str(tool), str(root), str(self.changes), str(self._work), str(self._top)]

    def command(self, *words: str | Path, user: int = 0) -> list[str]:
        """What to start outside so that `words` run inside, as the first process of a pid namespace."""
        who = f"setpriv --reuid={user} --regid={user} --clear-groups" if user else ""
        script = SCRIPT.replace("$WHO", who)  # no chroot: a process in one may not make user namespaces
        namespaces = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh")
        return [*namespaces, *self._layers, *map(str, words)]

    def run(
        self, *words: str | Path, user: int = 0, code: int = 0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*words, user=user),
            env={**ENV, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, f"exit {done.returncode}, not {code}:\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def popen(self, words: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        process: subprocess.Popen[bytes] = subprocess.Popen(
            self.command(*words),
            env=ENV,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )
        return process
