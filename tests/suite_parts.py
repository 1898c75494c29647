"""What upstream test-suites are made of, from registries and Debian's sources: each part made once, in the cache."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fixtures.roots import RootUnavailable, cache

SIGNED = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"

NO_TOOLS = frozenset({"ash", "busybox", "editor", "less", "more", "pager", "sh", "vi"})  # what libraries look for


@contextlib.contextmanager
def made(name: str) -> Iterator[tuple[Path, Path | None]]:
    """A place of the cache, and a temporary one to fill that becomes it; None when it is there already."""
    home = cache() / name
    cache().mkdir(parents=True, exist_ok=True)
    if home.exists():
        yield home, None
        return
    part = Path(tempfile.mkdtemp(prefix=f".{name[:60]}.", dir=cache()))
    part.chmod(0o755)
    try:
        yield home, part
        if not home.exists():
            part.rename(home)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def run(*argv: str, cwd: Path | None = None) -> str:
    done = subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise RootUnavailable(f"{' '.join(argv[:4])} failed: {done.stdout[-300:]}{done.stderr[-700:]}")
    return done.stdout


def named(kind: str, *words: str) -> str:
    return f"{kind}-{hashlib.sha256(repr(words).encode()).hexdigest()[:16]}"


def grown(root: Path, overlay: Path, place: str) -> Path:
    """A copy of a root with a directory laid over one of its places."""
    with made(named("grown", root.name, overlay.name, place)) as (home, part):
        if part is not None:
            run("cp", "-a", "--reflink=auto", f"{root}/.", str(part))
            target = part / place
            target.mkdir(parents=True, exist_ok=True)
            run("cp", "-a", f"{overlay}/.", str(target))
    return home


def wheels(*names: str) -> Path:
    """A directory with these distributions, and what they need, installed for the root's Python."""
    with made(named("wheels", *names)) as (home, part):
        if part is not None:
            run(
                *(sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile"),
                *("--only-binary", ":all:", "--python-version", "3.11", "--target", str(part), *names),
            )
    return home


def sdist(name: str, beside: Path) -> Path:
    """The unpacked source distribution of the version that is installed in a directory."""
    spelled = re.compile(re.escape(name).replace("\\-", "[-_.]"), re.IGNORECASE)
    versions = [
        found[1]
        for each in sorted(os.listdir(beside))
        if (found := re.fullmatch(rf"{spelled.pattern}-([^-]+)\.dist-info", each, re.IGNORECASE))
    ]
    wanted = f"{name}=={versions[0]}" if versions else name
    with made(named("sdist", wanted)) as (home, part):
        if part is not None:
            with tempfile.TemporaryDirectory() as folder:
                run(
                    *(sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"),
                    *("--no-binary", name, "-d", folder, wanted),
                )
                (archive,) = Path(folder).iterdir()
                run("tar", "-xf", str(archive), "-C", str(part), "--no-same-owner")
    (inner,) = home.iterdir()
    return inner


def debian_source(name: str) -> Path:
    """An unpacked Debian source package."""
    with made(named("source", name)) as (home, part):
        if part is not None:
            with tempfile.TemporaryDirectory() as folder:
                lists = Path(folder)
                lists.chmod(0o755)
                (lists / "lists" / "partial").mkdir(parents=True)
                (lists / "sources.list").write_text(f"deb-src {SIGNED} {_archive()} bookworm main\n")
                options = [
                    *("-o", f"Dir::Etc::sourcelist={lists}/sources.list", "-o", "Dir::Etc::sourceparts=/dev/null"),
                    *("-o", f"Dir::State::lists={lists}/lists", "-o", f"Dir::Cache={lists}/cache", "-qq"),
                ]
                run("apt-get", *options, "update")
                run("apt-get", *options, "source", name, cwd=part)
    (inner,) = (each for each in home.iterdir() if each.is_dir())
    return inner


def _archive() -> str:
    """Where this machine gets Debian's packages from. Raises RootUnavailable where it is no Debian."""
    told = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(LABEL)", "Created-By: Packages")
    found = [line.split()[0] for line in told.splitlines() if line.endswith(" Debian Debian")]
    if not found:
        raise RootUnavailable("no list of Debian's packages is here: sources of packages come from where these do")
    return found[0]


def parts(source: Path, *names: str) -> Path:
    """A directory with these files and directories of a source alone: the library itself is not to be in it."""
    with made(named("parts", str(source), *names)) as (home, part):
        if part is not None:
            for name in names:
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                run("cp", "-a", str(source / name), str(part / name))
    return home


def npm(*names: str) -> Path:
    with made(named("npm", *names)) as (home, part):
        if part is not None:
            if shutil.which("npm") is None:
                raise RootUnavailable("npm is not installed")
            run("npm", "install", "--silent", "--no-package-lock", "--no-audit", "--no-fund", *names, cwd=part)
    return home


def tools() -> Path:
    """What tests start beside what they test: static, so that no tree lends them anything."""
    with made("suite-tools") as (home, part):
        if part is not None:
            busybox = shutil.which("busybox")
            if busybox is None:
                raise RootUnavailable("busybox is not installed")
            shutil.copy(busybox, part / "busybox")
            for name in subprocess.check_output([busybox, "--list"], text=True).split():
                if name not in NO_TOOLS:
                    (part / name).symlink_to("busybox")
    return home
