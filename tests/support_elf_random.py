"""Roots made at random to set our loaders against the real ones: every rule of the search meets every other."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from slimmer.elf import ldcache
from slimmer.elf.loader import Loader, Resolved
from slimmer.root.directory import DirectoryRoot
from tests.support_elf import (
    AMD64,
    ARCHES,
    AUXILIARY,
    FILTER,
    FLAGS_1,
    NEEDED,
    NODEFLIB,
    RPATH,
    RUNPATH,
    SONAME,
    Arch,
    Job,
    Traced,
    elf,
    program,
)

NAMES = [f"lib{letter}.so" for letter in "abcdefg"]
TRUSTED = {"amd64": ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib", "/usr/lib"]}


@dataclass(frozen=True)
class Case:
    """A planted root, and how its program is started."""

    root: Path
    env: Mapping[str, str]
    workdir: str
    absent: frozenset[str]  # names of auxiliary filters, which may be absent
    passed: bool  # the program has filters itself: what stands before it in the list is not printed
    program: str = "/start"
    arch: Arch = AMD64


def plant_case(
    top: Path, rng: random.Random, loader: Path, arch: Arch = AMD64, *, fatal: bool = False, musl: str = ""
) -> Case:
    """Plant one root. `loader` is the real loader to copy; with `fatal` there may be files that end the program.

    `musl` is musl's name of the architecture, when `loader` is musl's.
    """
    if musl:
        arch = replace(arch, loader=f"/lib/ld-musl-{musl}.so.1")
    trusted = ["/lib", "/usr/local/lib", "/usr/lib"] if musl else TRUSTED.get(arch.debian, ["/lib", "/usr/lib"])
    places = ["/opt/a", "/opt/a/sub", "/opt/b", "/opt/b/lib", "/app", "/app/lib", "/w", "/w/lib", *trusted]
    place = top / arch.loader.lstrip("/")
    place.parent.mkdir(parents=True)
    shutil.copy(loader, place)
    for each in (*places, "/bin", "/etc"):
        (top / each.lstrip("/")).mkdir(parents=True, exist_ok=True)
    (top / "opt/link").symlink_to("a/sub")
    (top / "opt/loop").symlink_to("loop")
    variants = ["glibc-hwcaps/x86-64-v2", "glibc-hwcaps/x86-64-v3", "glibc-hwcaps/x86-64-v4", "tls", "tls/x86_64"]
    absent: set[str] = set()
    filters: list[str] = []
    planted: list[str] = []

    def elements() -> str:
        pool = [
            *places, "/opt/link", "/opt/a/", "/opt//b", "/opt/b/../a", "$ORIGIN", "${ORIGIN}/../lib", "$ORIGIN/sub",
            "$ORIGIN/../b", "/opt/$LIB", "/opt/$PLATFORM", "$ORIGINAL", "${LIB}", "lib", "", ".", "/absent",
            "/opt/loop", "$ORIGIN/$FOO", "/opt/a$", "../lib", "/bin/app",
        ]  # fmt: skip
        return ":".join(rng.choice(pool) for _ in range(rng.choice((1, 1, 2, 2, 3, 4))))

    def wanted() -> str:
        kind = rng.random()
        name = rng.choice(NAMES)
        if kind < 0.82:
            return name
        if kind < 0.9:
            return f"{rng.choice(places)}/{name}"
        return rng.choice(
            (
                f"$ORIGIN/{name}",
                f"lib/{name}",
                f"./{name}",
                f"/opt/link/{name}",
                f"$LIB/{name}",
                f"/{name}",
                "libz$LIB.so",
            )
        )

    def tags(own: str, *, library: bool) -> list[tuple[int, str | int]]:
        out: list[tuple[int, str | int]] = [(NEEDED, wanted()) for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4)))]
        if not library and not out:
            out.append((NEEDED, wanted()))
        if library and rng.random() < 0.5:
            out.append((SONAME, own if rng.random() < 0.7 else rng.choice(NAMES)))
        if rng.random() < 0.35:
            out.append((RPATH, elements()))
        if rng.random() < 0.3:
            out.append((RUNPATH, elements() if rng.random() < 0.9 else ""))
        if rng.random() < 0.1:
            out.append((FLAGS_1, NODEFLIB))
        for tag in (FILTER, AUXILIARY):
            if rng.random() < 0.08:
                name = rng.choice(NAMES)
                if tag == AUXILIARY:
                    absent.add(name)
                if not library:
                    filters.append(name)
                out.insert(rng.randrange(len(out) + 1), (tag, name))
        return out

    def library(path: str) -> None:
        file = top / path.lstrip("/")
        if os.path.lexists(file):
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        kind = rng.random()
        if kind < 0.75:
            file.write_bytes(elf(*tags(file.name, library=True), arch=arch))
        elif kind < 0.83 and planted:
            other = rng.choice(planted)
            if rng.random() < 0.5:
                file.symlink_to(other)
            else:
                os.link(top / other.lstrip("/"), file, follow_symlinks=False)
        elif kind < 0.88:
            file.write_bytes(elf(arch=arch, machine=40 if arch.machine != 40 else 62))
        elif kind < 0.93:
            file.write_bytes(elf(arch=ARCHES["i386" if arch.bits == 64 else "amd64"]))
        elif kind < 0.95:
            file.symlink_to("/nowhere")
        elif kind < 0.96:
            file.symlink_to(file.name)
        elif fatal and kind < 0.99:
            rng.choice((
                lambda: file.write_bytes(b"#!/bin/sh\n" + b" " * 100),
                lambda: file.write_bytes(b"\x7fELF"),
                lambda: file.write_bytes(elf(arch=arch, type_=2)),
                lambda: file.write_bytes(elf((FLAGS_1, 0x08000000), arch=arch)),
                lambda: file.write_bytes(elf(arch=arch, ident={7: 9})),
                lambda: file.mkdir(),
            ))()  # fmt: skip
            return
        else:
            file.write_bytes(elf(arch=arch))
        planted.append(path)

    for name in NAMES:
        for each in rng.sample([*places, "/"], rng.choice((1, 2, 2, 3, 4))):
            library(f"{each.rstrip('/')}/{name}")
        if rng.random() < 0.2:
            library(f"{rng.choice(places)}/{rng.choice(variants)}/{name}")
        if rng.random() < 0.05:
            library(f"/opt/{rng.choice(('lib/x86_64-linux-gnu', 'x86_64', 'haswell'))}/{name}")
    home = rng.choice(("/bin", "/app", "/opt/a"))
    real = top / home.lstrip("/") / "program"
    real.write_bytes(program(*tags("program", library=False), arch=arch))
    real.chmod(0o755)
    (top / "start").symlink_to(f"{home}/program")
    if musl and rng.random() < 0.4:
        text = rng.choice(":\n").join(rng.sample(["/opt/a", "/opt/b/", "/usr/lib", "/lib", "", "lib"], 3))
        (top / f"etc/ld-musl-{musl}.path").write_text(text)
    if not musl and rng.random() < 0.6:
        entries = []
        for name in rng.sample(NAMES, 4):
            where = rng.choice((*places, "/stale"))
            variant = rng.choice(("x86-64-v2", "x86-64-v3", "")) if rng.random() < 0.2 and arch is AMD64 else ""
            inner = f"/glibc-hwcaps/{variant}" if variant else ""
            flags = CACHE_FLAGS[arch.debian] if rng.random() < 0.9 else 0x803
            entries.append(ldcache.CacheEntry(name, f"{where}{inner}/{name}", flags, 0, variant))
        (top / "etc/ld.so.cache").write_bytes(ldcache.write(entries, little=arch.little))
    env: dict[str, str] = {}
    if rng.random() < 0.3:
        env["LD_LIBRARY_PATH"] = elements().replace(":", rng.choice(":;"))
    if rng.random() < 0.2:
        env["LD_PRELOAD"] = rng.choice((" ", ":")).join(wanted() for _ in range(rng.choice((1, 2))))
    if rng.random() < 0.15:
        text = "".join(f"{wanted()}{rng.choice(' :')}" for _ in range(2))
        (top / "etc/ld.so.preload").write_text(text + rng.choice(("", "# comment lib.so", "\n")))
    workdir = rng.choice(("/", "/w", "/app"))
    return Case(top, env, workdir, frozenset(absent), bool(filters), f"{home}/program", arch)


CACHE_FLAGS = {
    "amd64": 0x303, "i386": 3, "arm64": 0xA03, "armhf": 0x903, "armel": 0xB03, "s390x": 0x403,
    "ppc64el": 0x503, "mips64el": 0x703, "mipsel": 3, "riscv64": 0x1003,
}  # fmt: skip


def job_of(case: Case, arch: Arch = AMD64) -> Job:
    return Job(str(case.root), "/start", case.env, case.workdir, arch.runner)


def musl_job_of(case: Case) -> Job:
    """musl lists under its own command; there a link to the program would be its $ORIGIN, so: the program itself."""
    argv = (case.arch.loader, "--list", case.program)
    return Job(str(case.root), case.program, case.env, case.workdir, case.arch.runner, argv=argv)


def musl_difference(ours: Resolved, real: Traced) -> str:
    """As `difference`; musl goes on after each thing that it cannot load, and says so on stderr."""
    absent = re.findall(r"^Error loading shared library (.*): .*(?: \(needed by (.*)\))$", real.errors, re.M)
    if {(each.name, each.needed_by) for each in ours.missing if each.needed_by != ours.file} != {
        pair for pair in absent if pair[1] != ours.file
    } or {each.name for each in ours.missing} < {name for name, _ in absent}:
        return f"missing\n  ours {ours.missing}\n  real {real.errors}"
    loads = tuple((each.name, each.path) for each in ours.loads)
    theirs = tuple(pair for pair in real.loads if pair[0] != ours.interpreter)
    return "" if loads == theirs else f"loads\n  ours {loads}\n  real {theirs}"


def resolve(case: Case, cpu: str | None, path: str = "/start") -> Resolved:
    found = Loader(DirectoryRoot(str(case.root)), cpu=cpu).closure(path, env=case.env, workdir=case.workdir)
    assert found is not None
    return found


def difference(case: Case, ours: Resolved, real: Traced) -> str:
    """ "" when ours says what the real loader said, else what differs."""
    if "statically linked" in real.output:
        return "" if not ours.loads else f"{ours.loads} for a static program"
    if real.status == 127 or "error while loading" in real.errors:
        return "" if ours.missing else f"fatal there, nothing missing here: {real.errors}"
    if real.status < 0:
        return ""  # ld.so itself crashes on some filters of the program
    if real.status:
        return f"status {real.status}: {real.errors}"
    theirs = tuple(pair for pair in real.loads if pair[1] != ours.interpreter)
    loads = tuple((each.name, each.path) for each in ours.loads)
    if case.passed and set(theirs) <= set(loads):
        return ""  # what stands before the program in the loader's list is not printed
    if loads != theirs:
        return f"loads\n  ours {loads}\n  real {theirs}"
    mine = {each.name for each in ours.missing}
    if not mine ^ set(real.missing) <= case.absent:
        return f"missing\n  ours {ours.missing}\n  real {real.missing}"
    return ""


def native_cpu(loader: str) -> str:
    """This machine's processor, as its own loader names it."""
    told = subprocess.run([loader, "--help"], capture_output=True, text=True).stdout
    levels = re.findall(r"^  (x86-64-v\d) \(supported", told, re.M)
    platform = re.search(r"^  (\w+) \(AT_PLATFORM; supported", told, re.M)
    level = levels[0] if levels else "baseline"
    return f"{level}+haswell" if platform and platform[1] == "haswell" else level
