"""Our glibc rules against the real ld.so: one case a rule, random roots, and Debian's own programs."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from slimmer.cli.resolve import executables
from slimmer.elf import ldcache
from slimmer.elf.loader import Loader
from slimmer.root.directory import DirectoryRoot
from tests.support import plant, requires, root_of
from tests.support_elf import (
    ARCHES,
    AUXILIARY,
    FILTER,
    FLAGS_1,
    NEEDED,
    NODEFLIB,
    PIE,
    RPATH,
    RUNPATH,
    SONAME,
    Arch,
    Job,
    elf,
    listed,
    loader_of,
    program,
    trace,
)
from tests.support_elf_random import difference, job_of, native_cpu, plant_case, resolve

pytestmark = [requires("unshare", "mount"), pytest.mark.skipif(os.uname().machine != "x86_64", reason="x86-64 cases")]

LOADER = Path("/lib64/ld-linux-x86-64.so.2")
PACKAGES = ("nginx-light", "git", "curl", "python3", "openssh-client", "gnupg", "vim-tiny", "libc-bin", "gawk", "libc6")
NINE = ("amd64", "arm64", "armel", "armhf", "i386", "mips64el", "mipsel", "ppc64el", "s390x")
FEW = ("amd64", "arm64", "s390x")  # both byte orders, native and foreign
CHOSEN = NINE if os.environ.get("SLIMMER_ALL_ARCHITECTURES") else FEW

Tags = tuple[tuple[int, str | int], ...]


@dataclass(frozen=True)
class Named:
    """A root in data: `main` are the program's tags, `tree` everything else."""

    title: str
    main: Tags
    tree: Mapping[str, str | bytes | None]
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str = "/"
    home: str = "/app/bin"
    prepare: Callable[[Path], None] = lambda top: None


def so(*tags: tuple[int, str | int]) -> bytes:
    return elf(*tags)


def cache(*entries: tuple[str, str]) -> bytes:
    return ldcache.write([ldcache.CacheEntry(name, path, 0x303) for name, path in entries])


def need(*names: str) -> Tags:
    return tuple((NEEDED, name) for name in names)


X = so()
CASES = [
    Named("runpath is found", (*need("libx.so"), (RUNPATH, "/opt/a")), {"opt/a/libx.so": X, "usr/lib/libx.so": X}),
    Named("rpath is found", (*need("libx.so"), (RPATH, "/opt/a")), {"opt/a/libx.so": X, "usr/lib/libx.so": X}),
    Named(
        "rpath of the program reaches a library three levels down",
        (*need("l1.so"), (RPATH, "/opt/a")),
        {"opt/a/l1.so": so(*need("l2.so")), "opt/a/l2.so": so(*need("l3.so")), "opt/a/l3.so": X, "lib/l3.so": X},
    ),
    Named(
        "runpath of the program does not reach its libraries' needs",
        (*need("l1.so"), (RUNPATH, "/opt/a")),
        {"opt/a/l1.so": so(*need("l2.so")), "opt/a/l2.so": X, "lib/l2.so": X},
    ),
    Named(
        "runpath in the requester cuts off every inherited rpath",
        (*need("l1.so"), (RPATH, "/opt/a")),
        {"opt/a/l1.so": so(*need("l2.so"), (RUNPATH, "/opt/none")), "opt/a/l2.so": X, "lib/l2.so": X},
    ),
    Named(
        "runpath in the middle of a chain gives no rpath but does not end the chain",
        (*need("l1.so"), (RPATH, "/opt/a")),
        {
            "opt/a/l1.so": so(*need("l2.so"), (RPATH, "/opt/b"), (RUNPATH, "/opt/a")),
            "opt/a/l2.so": so(*need("l3.so")),
            "opt/b/l3.so": X,
            "opt/a/l3.so": X,
        },
    ),
    Named(
        "rpath of the nearest comes first",
        (*need("l1.so"), (RPATH, "/opt/a")),
        {
            "opt/a/l1.so": so(*need("l2.so"), (RPATH, "/opt/b")),
            "opt/b/l2.so": so(*need("l3.so"), (RPATH, "/opt/c")),
            "opt/a/l3.so": X,
            "opt/b/l3.so": X,
            "opt/c/l3.so": X,
        },
    ),
    Named(
        "an empty runpath voids the rpath",
        (*need("libx.so"), (RPATH, "/opt/a"), (RUNPATH, "")),
        {"opt/a/libx.so": X, "lib/libx.so": X},
    ),
    Named(
        "LD_LIBRARY_PATH stands between rpath and runpath",
        (*need("r.so", "u.so"), (RUNPATH, "/opt/u")),
        {"opt/e/u.so": X, "opt/u/u.so": X, "opt/u/r.so": X},
        {"LD_LIBRARY_PATH": "/opt/none;/opt/e"},
    ),
    Named(
        "rpath stands before LD_LIBRARY_PATH",
        (*need("r.so"), (RPATH, "/opt/u")),
        {"opt/e/r.so": X, "opt/u/r.so": X},
        {"LD_LIBRARY_PATH": "/opt/e"},
    ),
    Named(
        "$ORIGIN is the real place of the program", (*need("x.so"), (RUNPATH, "$ORIGIN/../lib")), {"app/lib/x.so": X}
    ),
    Named(
        "$ORIGIN of a library is where it was found, links and all",
        (*need("l1.so"), (RUNPATH, "/opt/link")),
        {
            "opt/real/l1.so": so(*need("l2.so"), (RUNPATH, "${ORIGIN}/../beside")),
            "opt/link": "-> other/deep",
            "opt/other/deep": "-> ../real",
            "opt/beside/l2.so": X,
            "opt/other/beside/l2.so": X,
        },
    ),
    Named(
        "$ORIGIN of a link to a library is the link's directory",
        (*need("l1.so"), (RUNPATH, "/opt/a")),
        {"opt/a/l1.so": "-> ../b/l1.so", "opt/b/l1.so": so(*need("l2.so"), (RUNPATH, "$ORIGIN")), "opt/a/l2.so": X},
    ),
    Named(
        "$LIB is the loader's own",
        (*need("x.so"), (RUNPATH, "/opt/$LIB:/opt/${LIB}/deep")),
        {"opt/lib/x86_64-linux-gnu/x.so": X, "opt/lib64/x.so": X, "opt/lib/x.so": X},
    ),
    Named("$PLATFORM", (*need("x.so"), (RUNPATH, "/opt/$PLATFORM")), {"opt/x86_64/x.so": X, "opt/haswell/x.so": X}),
    Named(
        "an unknown token stays as it is written",
        (*need("x.so"), (RUNPATH, "/opt/$ORIGINS:/opt/$FOO")),
        {"opt/$ORIGINS/x.so": X, "opt/$FOO/x.so": X},
    ),
    Named(
        "NODEFLIB drops trusted directories and what the cache has of them",
        (*need("a.so", "b.so"), (FLAGS_1, NODEFLIB)),
        {"lib/a.so": X, "opt/b.so": X, "etc/ld.so.cache": cache(("a.so", "/lib/a.so"), ("b.so", "/opt/b.so"))},
    ),
    Named(
        "NODEFLIB is the requester's own matter",
        (*need("a.so"), (FLAGS_1, NODEFLIB), (RUNPATH, "/opt")),
        {"opt/a.so": so(*need("b.so")), "lib/b.so": X},
    ),
    Named(
        "a name with a slash is not searched",
        need("/opt/a/x.so", "sub/y.so"),
        {"opt/a/x.so": X, "w/sub/y.so": X},
        workdir="/w",
    ),
    Named("a name may have tokens", need("$ORIGIN/../x.so", "lib$LIB.so"), {"app/x.so": X}),
    Named(
        "a name with a slash satisfies it by SONAME later",
        need("/opt/deep/x.so", "libx.so.1"),
        {"opt/deep/x.so": so((SONAME, "libx.so.1")), "lib/libx.so.1": X},
    ),
    Named(
        "a SONAME of a loaded library satisfies a name",
        (*need("odd.so", "libx.so.1"), (RUNPATH, "/opt")),
        {"opt/odd.so": so((SONAME, "libx.so.1")), "opt/libx.so.1": X},
    ),
    Named(
        "the order decides whether a SONAME comes in time",
        (*need("libx.so.1", "odd.so"), (RUNPATH, "/opt")),
        {"opt/odd.so": so((SONAME, "libx.so.1")), "opt/libx.so.1": X},
    ),
    Named(
        "one file under two names is one object",
        (*need("a.so", "b.so"), (RUNPATH, "/opt")),
        {"opt/a.so": so(*need("c.so")), "opt/b.so": "-> a.so"},
    ),
    Named(
        "a filtee is loaded at once, and missing is missing",
        (*need("f.so"), (RUNPATH, "/opt")),
        {
            "opt/f.so": so((FILTER, "real.so"), *need("z.so"), (RUNPATH, "/opt")),
            "opt/real.so": so(*need("q.so")),
            "opt/z.so": X,
        },
    ),
    Named(
        "an auxiliary filtee may be absent",
        (*need("f.so"), (RUNPATH, "/opt")),
        {"opt/f.so": so((AUXILIARY, "gone.so"), (AUXILIARY, "here.so"), (RUNPATH, "/opt")), "opt/here.so": X},
    ),
    Named(
        "LD_PRELOAD comes before everything, with the program's rpath",
        (*need("x.so"), (RPATH, "/opt")),
        {"opt/p.so": so(*need("q.so")), "opt/q.so": X, "opt/x.so": X, "opt/n.so": X},
        {"LD_PRELOAD": "p.so:gone.so /opt/n.so"},
    ),
    Named(
        "/etc/ld.so.preload: blanks, colons and comments",
        need("x.so"),
        {
            "lib/x.so": X,
            "lib/p.so": X,
            "lib/q.so": X,
            "opt/r.so": X,
            "etc/ld.so.preload": "# p\np.so\t/opt/r.so:q.so #x.so",
        },
    ),
    Named("a missing library, twice", need("gone.so", "x.so"), {"lib/x.so": so(*need("gone.so", "lost.so"))}),
    Named(
        "another class on the way is passed over",
        (*need("x.so"), (RUNPATH, "/opt/a:/opt/b")),
        {"opt/a/x.so": elf(arch=ARCHES["i386"]), "opt/b/x.so": X},
    ),
    Named(
        "another machine on the way is passed over",
        (*need("x.so"), (RUNPATH, "/opt/a:/opt/b")),
        {"opt/a/x.so": elf(arch=ARCHES["arm64"]), "opt/b/x.so": X},
    ),
    Named("the other byte order is fatal", need("x.so"), {"lib/x.so": elf(ident={5: 2})}),
    Named(
        "another machine of the other byte order is passed over, by Debian's patch",
        (*need("x.so"), (RUNPATH, "/opt")),
        {"opt/x.so": elf(arch=ARCHES["s390x"]), "lib/x.so": X},
    ),
    Named(
        "another machine with another ABI is passed over, by Debian's patch",
        (*need("x.so"), (RUNPATH, "/opt")),
        {"opt/x.so": elf(ident={7: 9}, machine=40), "lib/x.so": X},
    ),
    Named(
        "what is not ELF is fatal",
        (*need("x.so"), (RUNPATH, "/opt")),
        {"opt/x.so": "text, long enough" * 9, "lib/x.so": X},
    ),
    Named("a directory of that name is fatal", need("x.so"), {"lib/x.so": None}),
    Named("a program is no library", need("x.so"), {"lib/x.so": so((FLAGS_1, PIE))}),
    Named("a fixed program is no library", need("x.so"), {"lib/x.so": elf(type_=2)}),
    Named("an unknown ABI is fatal", need("x.so"), {"lib/x.so": elf(ident={7: 9})}),
    Named("the GNU ABI is known", need("x.so"), {"lib/x.so": elf(ident={7: 3})}),
    Named("a newer GNU ABI is fatal", need("x.so"), {"lib/x.so": elf(ident={7: 3, 8: 77})}),
    Named(
        "the cache shadows the trusted directories",
        need("x.so"),
        {"opt/x.so": X, "lib/x.so": X, "etc/ld.so.cache": cache(("x.so", "/opt/x.so"))},
    ),
    Named(
        "a stale cache falls through to them",
        need("x.so", "y.so"),
        {"lib/x.so": X, "etc/ld.so.cache": cache(("x.so", "/opt/x.so"), ("y.so", "/opt/y.so"))},
    ),
    Named("ld.so.conf alone adds nothing", need("x.so"), {"opt/x.so": X, "etc/ld.so.conf": "/opt\n"}),
    Named(
        "digits of cached names compare as numbers",
        need("x.so.1"),
        {"opt/z": X, "etc/ld.so.cache": cache(("x.so.01", "/opt/z"))},
    ),
    Named(
        "a broken cache is no cache",
        need("x.so"),
        {"opt/x.so": X, "etc/ld.so.cache": "glibc-ld.so.cache1.1" + "x" * 99},
    ),
    Named(
        "an empty element and a relative one are the working directory's",
        (*need("x.so", "y.so"), (RUNPATH, ":lib")),
        {"w/x.so": X, "w/lib/y.so": so(*need("z.so"), (RUNPATH, "$ORIGIN")), "w/lib/z.so": X},
        workdir="/w",
    ),
    Named("slashes at the end are one", (*need("x.so"), (RUNPATH, "/opt/a///")), {"opt/a/x.so": X}),
    Named(
        "a loop of links ends the list",
        (*need("x.so"), (RUNPATH, "/opt/a:/opt/b")),
        {"opt/a/x.so": "-> x.so", "opt/b/x.so": X},
    ),
    Named(
        "glibc-hwcaps come first",
        (*need("x.so"), (RUNPATH, "/opt")),
        {"opt/x.so": X, "opt/glibc-hwcaps/x86-64-v2/x.so": X, "opt/glibc-hwcaps/x86-64-v9/x.so": X},
    ),
    Named(
        "legacy directories follow",
        (*need("x.so"), (RUNPATH, "/opt")),
        {"opt/x.so": X, "opt/tls/x.so": X, "opt/x86_64/x.so": X},
    ),
    Named("cycles end", need("a.so"), {"lib/a.so": so(*need("b.so")), "lib/b.so": so(*need("a.so", "b.so"))}),
    Named("the loader by name is the loader", need("ld-linux-x86-64.so.2", "linux-vdso.so.1"), {"lib/y": X}),
]


def build(top: Path, case: Named) -> None:
    place = top / "lib64/ld-linux-x86-64.so.2"
    place.parent.mkdir(parents=True)
    place.write_bytes(LOADER.read_bytes())
    place.chmod(0o755)
    for directory in ("lib", "usr/lib", "etc", "w", "proc", case.home.lstrip("/")):
        (top / directory).mkdir(parents=True, exist_ok=True)
    plant(top, case.tree)
    real = top / case.home.lstrip("/") / "program"
    real.write_bytes(program(*case.main))
    real.chmod(0o755)
    (top / "start").symlink_to(f"{case.home}/program")


def test_every_named_rule_is_ld_sos(tmp_path: Path) -> None:
    """All cases at once: starting the namespace costs more than tracing them."""
    cpu = native_cpu(str(LOADER))
    for number, case in enumerate(CASES):
        build(tmp_path / str(number), case)
    jobs = [Job(str(tmp_path / str(n)), "/start", case.env, case.workdir) for n, case in enumerate(CASES)]
    wrong: list[str] = []
    for case, job, real in zip(CASES, jobs, trace(jobs), strict=True):
        ours = Loader(DirectoryRoot(job.root), cpu=cpu).closure("/start", env=case.env, workdir=case.workdir)
        assert ours is not None
        fatal = "fatal" in case.title or "is no library" in case.title
        assert (real.status == 127) == fatal, f"{case.title}: {real.errors}"
        if fatal:
            if not ours.missing:
                wrong.append(f"{case.title}: nothing is missing")
            continue
        loads = tuple((each.name, each.path) for each in ours.loads)
        missing = {each.name for each in ours.missing} | ({"gone.so"} if "auxiliary" in case.title else set())
        theirs = tuple(pair for pair in real.loads if pair[1] != ours.interpreter)
        if loads != theirs or missing != set(real.missing):
            wrong.append(f"{case.title}:\n  ours {loads} {missing}\n  real {theirs} {real.missing}")
    assert not wrong, "\n".join(wrong)


def test_random_roots_agree_with_ld_so(tmp_path: Path) -> None:
    cpu = native_cpu(str(LOADER))
    cases = [plant_case(tmp_path / str(seed), random.Random(seed), LOADER, fatal=seed % 2 == 0) for seed in range(120)]
    wrong = []
    for seed, (case, real) in enumerate(zip(cases, trace([job_of(case) for case in cases]), strict=True)):
        differs = difference(case, resolve(case, cpu), real)
        if differs:
            wrong.append(f"seed {seed}: {differs}")
    assert not wrong, "\n".join(wrong)


def debian(arch: Arch) -> Path:
    """A root of the architecture's packages; a skip where it cannot be run here."""
    if arch.qemu and not arch.runner[0]:
        pytest.skip(f"not installed: qemu-{arch.qemu}-static")
    return root_of(*PACKAGES, architecture=arch.debian, variant="extract")


@pytest.mark.slow
@pytest.mark.parametrize("name", CHOSEN)
def test_every_program_of_debian_agrees_with_its_own_ld_so(name: str) -> None:
    arch = ARCHES[name]
    place = DirectoryRoot(str(debian(arch)))
    loader = Loader(place, cpu=native_cpu(str(LOADER)) if name == "amd64" else "baseline")
    resolved = [loader.closure(path, secure=False) for path in executables(place, loader)]
    programs = [each for each in resolved if each is not None and each.interpreter == arch.loader]
    assert len(programs) > 80
    wrong = []
    jobs = [Job(place.name, each.file, runner=arch.runner) for each in programs]
    for ours, real in zip(programs, trace(jobs), strict=True):
        if real.status == 5:
            continue  # setgid: ld.so lists nothing in secure mode, process_envvars in rtld.c
        loads = tuple((each.name, each.path) for each in ours.loads)
        theirs = tuple(pair for pair in real.loads if pair[1] != ours.interpreter)
        if real.status or loads != theirs or {each.name for each in ours.missing} != set(real.missing):
            wrong.append(f"{ours.file}: {real.status} {real.errors}\n  ours {loads}\n  real {theirs}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("name", [each for each in CHOSEN if each != "amd64"])
def test_random_foreign_roots_with_our_own_caches_agree_with_their_ld_so(name: str, tmp_path: Path) -> None:
    arch = ARCHES[name]
    real_loader = loader_of(debian(arch), arch)
    cases = [plant_case(tmp_path / str(seed), random.Random(seed), real_loader, arch) for seed in range(40)]
    for seed, (case, real) in enumerate(zip(cases, trace([job_of(case, arch) for case in cases]), strict=True)):
        assert not difference(case, resolve(case, "baseline"), real), f"seed {seed}"


def test_shared_objects_on_their_own_agree_with_ld_so() -> None:
    loader = Loader(DirectoryRoot("/"), cpu=native_cpu(str(LOADER)))
    checked = 0
    for path in sorted(Path("/usr/lib/x86_64-linux-gnu").glob("lib*.so.?"))[:40]:
        ours = loader.closure(str(path)) if path.is_file() else None
        if ours is None or not ours.loads:
            continue
        real = listed([str(LOADER), str(path)], {"LD_TRACE_LOADED_OBJECTS": "1"})
        assert tuple((each.name, each.path) for each in ours.loads) == tuple(
            pair for pair in real.loads if "/ld-linux" not in pair[1]
        )
        checked += 1
    assert checked > 5
