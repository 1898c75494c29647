"""What tracing does not show, from the mappings of real processes: audit modules, setuid programs, patched files."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from slimmer.closure.binaries.dlopen import library_rules
from slimmer.closure.model import Application, Level
from slimmer.closure.recorded import RecordedRule
from slimmer.closure.worklist import grow
from slimmer.elf.loader import Loader, Resolved
from slimmer.elf.versions import Problem, check
from slimmer.root.directory import DirectoryRoot
from tests.support import needs_root, requires
from tests.support_elf import Job, trace
from tests.support_roots import Owned
from tracer.recording import Access, Kind, Recording

pytestmark = [
    requires("unshare", "mount", "cc", "patchelf"),
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="x86-64 cases"),
]

PROGRAM = r"""
#include <stdio.h>
int main(void) { FILE *f = fopen("/proc/self/maps", "r"); char line[4096];
  while (fgets(line, sizeof line, f)) fputs(line, stdout); return 0; }
"""
AUDIT = "unsigned int la_version(unsigned int v) { return v; }"


class Yard:
    """A root with the machine's own libc in which real programs are built."""

    def __init__(self, top: Path) -> None:
        self.top = top
        libraries = top / "lib/x86_64-linux-gnu"
        libraries.mkdir(parents=True)
        for name in ("ld-linux-x86-64.so.2", "libc.so.6"):
            shutil.copy(f"/lib/x86_64-linux-gnu/{name}", libraries)
        (top / "lib64").mkdir()
        (top / "lib64/ld-linux-x86-64.so.2").symlink_to("../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
        (top / "proc").mkdir()

    def build(self, path: str, source: str, *flags: str) -> None:
        place = self.top / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["cc", "-o", place, "-Wl,--no-as-needed", "-x", "c", "-", "-x", "none", *flags],
            input=source, text=True, check=True,
        )  # fmt: skip

    def library(self, path: str, *flags: str, source: str = "int unused;") -> None:
        self.build(path, source, "-shared", "-fPIC", f"-Wl,-soname,{Path(path).name}", *flags)

    def patch(self, path: str, *arguments: str) -> None:
        subprocess.run(["patchelf", *arguments, self.top / path.lstrip("/")], check=True)

    def mapped(self, path: str, env: dict[str, str] | None = None, uid: int = 0) -> set[str]:
        """Files that the running program has mapped, itself and its interpreter aside."""
        (real,) = trace([Job(str(self.top), path, env or {}, uid=uid, argv=[path])])
        assert real.status == 0, real.errors
        files = {line.split()[5] for line in real.output.splitlines() if len(line.split()) > 5}
        return {name for name in files if name.startswith("/") and name != path and "ld-linux" not in name}

    def resolved(self, path: str, env: dict[str, str] | None = None) -> Resolved:
        found = Loader(DirectoryRoot(str(self.top)), cpu="baseline").closure(path, env=env)
        assert found is not None
        return found

    def ours(self, path: str, env: dict[str, str] | None = None) -> set[str]:
        root = DirectoryRoot(str(self.top))
        return {root.resolve(each.path).path for each in self.resolved(path, env).loads}


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    tmp_path.chmod(0o755)
    tmp_path.parent.chmod(0o755)
    return Yard(tmp_path)


def test_audit_modules_and_their_own_needs_are_loaded(yard: Yard) -> None:
    yard.library("/opt/libdeep.so")
    yard.library("/opt/libaudit1.so", f"{yard.top}/opt/libdeep.so", source=AUDIT)
    yard.library("/opt/libaudit2.so", source=AUDIT)
    flags = (
        "-Wl,--audit=libaudit1.so",
        "-Wl,--depaudit=/opt/libaudit2.so",
        "-Wl,-rpath,/opt",
        "-Wl,--disable-new-dtags",
    )
    yard.build("/bin/app", PROGRAM, *flags)
    mapped = yard.mapped("/bin/app")
    assert {"/opt/libaudit1.so", "/opt/libaudit2.so", "/opt/libdeep.so"} <= mapped
    assert yard.ours("/bin/app") == mapped
    assert yard.resolved("/bin/app").loads[-1].rule in ("audit", "rpath of /bin/app")


def test_the_audit_modules_of_the_environment_too(yard: Yard) -> None:
    yard.library("/opt/liba.so", source=AUDIT)
    yard.build("/bin/app", PROGRAM)
    env = {"LD_AUDIT": "/opt/liba.so:/opt/gone.so"}
    assert yard.ours("/bin/app", env) == yard.mapped("/bin/app", env)


def test_an_audit_module_is_ignored_where_its_own_name_space_finds_no_loader(yard: Yard) -> None:
    loader = yard.top / "lib64/ld-linux-x86-64.so.2"
    loader.unlink()
    (yard.top / "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2").rename(loader)
    yard.library("/opt/liba.so", source=AUDIT)
    yard.build("/bin/app", PROGRAM)
    env = {"LD_AUDIT": "/opt/liba.so"}
    assert yard.ours("/bin/app", env) == yard.mapped("/bin/app", env)
    assert "ld-linux" in yard.resolved("/bin/app", env).warnings[0]


def test_filters_are_mapped_beside_what_they_filter(yard: Yard) -> None:
    yard.library("/opt/libreal.so")
    yard.library("/opt/libf.so", "-Wl,-F,libreal.so", "-Wl,-f,libgone.so", "-Wl,-rpath,/opt")
    yard.build("/bin/app", PROGRAM, f"{yard.top}/opt/libf.so")
    yard.patch("/bin/app", "--set-rpath", "/opt")
    assert yard.ours("/bin/app") == yard.mapped("/bin/app") >= {"/opt/libf.so", "/opt/libreal.so"}
    assert yard.resolved("/bin/app").missing == ()


@needs_root
def test_a_setuid_program_ignores_the_environment_and_foreign_origins(yard: Yard) -> None:
    for directory in ("/opt/env", "/opt/app", "/lib", "/usr/lib/app"):
        yard.library(f"{directory}/libx.so")
    for place in ("/opt/app/app", "/usr/lib/app/app"):
        yard.build(place, PROGRAM, f"{yard.top}/lib/libx.so")
        yard.patch(place, "--set-rpath", "$ORIGIN")
        (yard.top / place.lstrip("/")).chmod(0o4755)
    env = {"LD_LIBRARY_PATH": "/opt/env", "LD_PRELOAD": "/opt/env/libx.so:libx.so"}
    assert yard.mapped("/opt/app/app", env, uid=1234) >= {"/lib/libx.so"}
    for place in ("/opt/app/app", "/usr/lib/app/app"):
        assert yard.ours(place, env) == yard.mapped(place, env, uid=1234)
    assert "/usr/lib/app/libx.so" in yard.ours("/usr/lib/app/app", env)
    plain = Loader(DirectoryRoot(str(yard.top))).closure("/opt/app/app", env=env, secure=False)
    assert plain is not None
    assert plain.loads[0].path == "/opt/env/libx.so"


@needs_root
def test_a_setuid_preload_may_be_preloaded_into_setuid_programs(yard: Yard) -> None:
    yard.library("/lib/libp.so")
    yard.library("/lib/libq.so")
    (yard.top / "lib/libp.so").chmod(0o4755)
    yard.build("/bin/app", PROGRAM)
    (yard.top / "bin/app").chmod(0o4755)
    env = {"LD_PRELOAD": "libp.so libq.so"}
    assert yard.ours("/bin/app", env) == yard.mapped("/bin/app", env, uid=1234)
    assert "/lib/libp.so" in yard.ours("/bin/app", env)


def test_a_version_that_a_kept_library_lacks_is_told_as_the_loader_tells_it(yard: Yard) -> None:
    script = yard.top / "versions"
    uses = "int given(void); " + PROGRAM.replace("return 0;", "return given();")

    def build_library(version: str) -> None:
        script.write_text(f"{version} {{ global: given; }};")
        yard.library("/lib/libv.so.1", f"-Wl,--version-script={script}", source="int given(void) { return 0; }")

    build_library("V_2")
    yard.build("/bin/app", uses, f"{yard.top}/lib/libv.so.1")
    root = DirectoryRoot(str(yard.top))
    kept = ["/bin/app", "/lib/libv.so.1", "/lib/x86_64-linux-gnu/libc.so.6"]
    assert yard.mapped("/bin/app") == yard.ours("/bin/app")
    assert check(root, kept) == ()
    build_library("V_1")
    (real,) = trace([Job(str(yard.top), "/bin/app", argv=["/bin/app"])])
    assert "version `V_2' not found (required by /bin/app)" in real.errors
    root = DirectoryRoot(str(yard.top))
    assert check(root, kept) == (Problem("/bin/app", "libv.so.1", "V_2", "/lib/libv.so.1"),)


def test_a_program_that_ends_threads_brings_libgcc_and_its_user_database(yard: Yard) -> None:
    for name in ("libgcc_s.so.1", "libnss_x.so.2"):
        yard.library(f"/lib/{name}")
    (yard.top / "etc").mkdir()
    (yard.top / "etc/nsswitch.conf").write_text("passwd: files x [NOTFOUND=return] gone\nhosts: y\n")
    source = "void pthread_exit(void *); void *getpwnam(const char *); int main(void) { getpwnam(0); pthread_exit(0); }"
    yard.build("/bin/app", source, "-w", "-fno-builtin")
    accesses = (Access("/bin/app", frozenset({Kind.EXEC}), frozenset()),)
    root = DirectoryRoot(str(yard.top))
    closure = grow(root, Recording(accesses), Owned(), Application(), [RecordedRule(), *library_rules()])
    levels = {path: kept.level for path, kept in closure.paths.items()}
    assert levels["/lib/libgcc_s.so.1"] is levels["/etc/nsswitch.conf"] is Level.RECORDED
    assert levels["/lib/libnss_x.so.2"] is Level.REACHABLE
    assert closure.paths["/lib/libgcc_s.so.1"].reasons[0].text == "loaded for pthread_exit by /bin/app"
