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

from fixtures.roots import RootUnavailable, cache, debian_root

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


# What scripts of tests name by absolute path, and find below /suite/bin instead.
BY_PATH = re.compile(rb"(?<![\w/.])(?:/usr)?/bin/(cat|cp|date|echo|env|false|kill|ls|printf|rm|sleep|true|uname)\b")


def parts_by_path(source: Path, *names: str) -> Path:
    """As `parts`, with the absolute paths of tools that tests start beside what they test leading to `tools`."""
    with made(named("by-path", BY_PATH.pattern.decode(), str(source), *names)) as (home, part):
        if part is not None:
            run("cp", "-a", f"{parts(source, *names)}/.", str(part))
            for each in sorted(part.rglob("*")):
                if each.is_file() and not each.is_symlink():
                    each.write_bytes(BY_PATH.sub(rb"/suite/bin/\1", each.read_bytes()))
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


def unpacked(*packages: str) -> Path:
    """The files of Debian packages and of what they need, nothing of them run."""
    return debian_root(*packages, variant="extract")


LOADER = "lib64/ld-linux-x86-64.so.2"
LENT = {  # what a program needs to know of its place, and must not hand on to what it starts
    "perl": "",
    "tclsh": "TCL_LIBRARY={place}/usr/share/tcltk/tcl8.6",
    "iconv": "GCONV_PATH={place}/usr/lib/x86_64-linux-gnu/gconv",
    "getconf": "",
    "locale": "",
}


def lent(package: str, **programs: str) -> Path:
    """Programs of a Debian package, mounted below /suite by its name, each with a loader and libraries of its own.

    `programs` are paths in the package by the names that tests use; they are found in its directory `lent`.
    """
    root = unpacked(package)
    with made(named("lent", root.name, package, repr(sorted(programs.items())), repr(LENT))) as (home, part):
        if part is not None:
            run("cp", "-a", "--reflink=auto", f"{root}/.", str(part))
            (part / "lent").mkdir()
            place = f"/suite/{package}"
            where = ":".join(f"{place}{each}" for each in ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu"))
            for name, path in programs.items():
                places = " ".join(f"-I{place}/usr/{each}" for each in _perl_places(root)) if name == "perl" else ""
                script = part / "lent" / name
                script.write_text(
                    "#!/suite/bin/busybox sh\n"
                    f"{LENT[name].format(place=place)} exec {place}/{LOADER} --library-path {where}"
                    f' --argv0 "$0" {place}/{path} {places} "$@"\n'
                )
                script.chmod(0o755)
    return home


def _perl_places(root: Path) -> list[str]:
    """Where a root has modules of Perl, seen from /usr."""
    usr = root / "usr"
    versions = ("lib/x86_64-linux-gnu/perl-base", "share/perl/5.[0-9]*", "lib/x86_64-linux-gnu/perl/5.[0-9]*")
    return [str(each.relative_to(usr)) for at in versions for each in sorted(usr.glob(at)) if not each.is_symlink()]


def compiled(*sources: Path) -> Path:
    """Small programs in C that a suite brings, static; headers are in the directory above theirs."""
    with made(named("compiled", *map(str, sources))) as (home, part):
        if part is not None:
            for each in sources:
                above = each.parents[1]
                flags = ("-w", "-static", "-DHAVE_STRING_H", "-DHAVE_STDLIB_H", f"-I{above}", f"-I{above}/include")
                run("gcc", *flags, "-o", str(part / each.stem), str(each))
    return home


def git_tests() -> Path:
    """git's t/ with the program that only its tests use, static; templates are those of the tree."""
    source = debian_source("git")
    with made(named("git-tests", str(source))) as (home, part):
        if part is not None:
            with tempfile.TemporaryDirectory() as folder:
                built = Path(folder, "git")
                run("cp", "-a", str(source), str(built))
                lacking = (f"NO_{each}=1" for each in ("CURL", "EXPAT", "GETTEXT", "OPENSSL", "TCLTK"))
                paths = ("PERL_PATH=/suite/perl/lent/perl", "SHELL_PATH=/bin/sh")
                targets = ("GIT-BUILD-OPTIONS", "t/helper/test-tool", "t/helper/test-fake-ssh")
                flags = ("CFLAGS=-O0 -w", "LDFLAGS=-static")
                run("make", "-j2", *flags, *lacking, *paths, *targets, cwd=built)
                for name in ("GIT-BUILD-OPTIONS", "t"):
                    run("cp", "-a", str(built / name), str(part / name))
                for each in part.glob("t/helper/*.o"):
                    each.unlink()
                (part / "templates").mkdir()
                (part / "templates" / "blt").symlink_to("/usr/share/git-core/templates")
    return home
