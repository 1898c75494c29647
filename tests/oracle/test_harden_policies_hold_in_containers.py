"""A policy that `slim harden` wrote is taken by podman and AppArmor's parser, and what it refuses is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from slimmer.cli.harden import write
from slimmer.harden.calls import names, possible
from slimmer.harden.policy import policy, why_call
from slimmer.harden.seccomp import Level, safe
from slimmer.harden.table import WRAPPERS
from slimmer.pipeline.outputs import CheckMode, Outputs
from slimmer.pipeline.progress import Progress
from slimmer.pipeline.trace import trace
from slimmer.recipe import Recipe, Run, Source, load
from slimmer.report.output import Output
from slimmer.root.directory import DirectoryRoot
from slimmer.root.model import FileType
from tests import daemons, hardened
from tests.support import requires
from tracer.recording import Kind

CODE = r"""
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/epoll.h>
#include <unistd.h>
int main(int argc, char **argv) {
    epoll_create1(0);
    syscall(SYS_memfd_create, "x", 0);
    long r;
    __asm__ volatile("syscall" : "=a"(r) : "a"(SYS_inotify_init) : "rcx", "r11", "memory");
#ifdef ANY
    syscall(argc + 500);
#endif
    return 0;
}
"""


def compiled(place: Path, *options: str) -> Path:
    (place / "code.c").write_text(CODE)
    (place / "bin").mkdir(exist_ok=True)
    done = subprocess.run(["gcc", "-O2", *options, "-o", place / "bin/app", place / "code.c"], capture_output=True)
    if done.returncode:
        pytest.skip(f"gcc does not compile here: {done.stderr.decode()[-200:]}")
    return place


@requires("gcc")
@pytest.mark.parametrize("options", [(), ("-fno-plt",), ("-O0",), ("-fcf-protection", "-Wl,-z,now")])
def test_calls_are_told_by_wrapper_by_number_and_by_instruction(tmp_path: Path, options: tuple[str, ...]) -> None:
    found = possible(DirectoryRoot(str(compiled(tmp_path, *options))), ["/bin/app"])
    assert found.untold == []
    profile = safe(found, "amd64")
    assert {"epoll_create1", "memfd_create", "inotify_init"} <= set(profile.allowed)
    assert {"ptrace", "shmget", "inotify_init1", "process_vm_readv"} <= set(profile.refused)
    assert profile.allowed["memfd_create"][0].text == "calls syscall() for it"
    assert profile.allowed["inotify_init"][0].text == "has a syscall instruction for it"


@requires("gcc")
def test_a_number_that_cannot_be_told_leaves_every_call_and_says_so(tmp_path: Path) -> None:
    profile = safe(possible(DirectoryRoot(str(compiled(tmp_path, "-DANY"))), ["/bin/app"]), "amd64")
    assert [each.path for each in profile.untold] == ["/bin/app"]
    assert "cannot be told" in profile.allowed["ptrace"][0].text


@requires("objdump")
def test_the_c_library_of_this_machine_makes_these_calls_in_these_functions_only() -> None:
    """Whatever function of libc.so.6 holds a call of the table is one that the table names for it."""
    library = Path("/lib/x86_64-linux-gnu/libc.so.6")
    if not library.exists():
        pytest.skip("no glibc for x86_64 here")
    functions = []
    for line in output("objdump", "-T", library).splitlines():
        words = line.split()
        if len(words) >= 6 and ".text" in words and "DF" in words:
            start, size = int(words[0], 16), int(words[words.index(".text") + 1], 16)
            functions.append((start, start + size, words[-1]))
    known, number, seen, wrong = names("x86_64"), None, set(), []
    for line in output("objdump", "-d", "--no-show-raw-insn", library).splitlines():
        place, tab, code = line.partition(":\t")
        if not tab:
            continue
        if code.startswith("mov") and "$0x" in code and code.rstrip().endswith(("%eax", "%rax")):
            number = int(code.partition("$0x")[2].partition(",")[0], 16)
        elif code.startswith("syscall") and number is not None and (call := known.get(number)) in WRAPPERS:
            at = int(place, 16)
            holders = {name for start, end, name in functions if start <= at < end}
            seen.add(call)
            if not holders & WRAPPERS[call] and holders:
                wrong.append((call, holders))
    assert not wrong
    assert len(seen) > 60


def output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@requires("podman", "runc", "gcc")
def test_podman_takes_a_policy_and_a_refused_call_is_refused(tmp_path: Path) -> None:
    """The program writes where it wrote in the recorded run, and nowhere else; what nothing calls is not allowed."""
    root = tmp_path / "root"
    for name in ("bin", "data/kept", "tmp", "etc"):
        (root / name).mkdir(parents=True)
    (root / "etc/passwd").write_text("app:x:1234:1234::/:/bin/app\n")
    (root / "data/kept/file").write_text("kept")
    (root / "data").chmod(0o777)
    (root / "tmp").chmod(0o1777)
    (tmp_path / "app.c").write_text(
        "#include <stdio.h>\n#include <string.h>\n#include <errno.h>\n"
        'int main(int c, char **v) { char *p = c > 1 ? v[1] : "/data/new"; FILE *f = fopen(p, "w");\n'
        'if (!f) { puts(strerror(errno)); return 1; } fclose(f); f = fopen("/data/kept/file", "r");\n'
        'puts(f ? "written" : "the kept file is hidden"); return !f; }\n'
    )
    subprocess.run(["gcc", "-O2", "-o", root / "bin/app", tmp_path / "app.c"], check=True)
    for library in ("/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6"):
        if not Path(library).exists():
            pytest.skip("no glibc for x86_64 here")
        (root / library[1:]).parent.mkdir(parents=True)
        shutil.copy(library, root / library[1:])
    recipe = Recipe(Source(root=str(root)), (Run(("/bin/app",), user="app"),))
    out = tmp_path / "out"
    trace(recipe, Outputs(out, check=CheckMode.OFF), Progress())
    found = policy(Output(out), load(out / "recipe.toml"))
    write(out, found)
    assert [each.path for each in found.needs.writable] == ["/data"]
    assert (dict(found.needs.capabilities), found.needs.gains) == ({}, ())
    assert "ptrace" in found.seccomp.refused
    assert [why_call(out, call).allowed for call in ("ptrace", "openat")] == [False, True]
    flags = (out / "harden/flags.txt").read_text().replace("harden/seccomp", f"{out}/harden/seccomp").split()
    with daemons.podman() as podman:
        image = output(*podman, "pull", "-q", f"oci:{out / 'image'}").strip()
        run = [*podman, "run", *daemons.PODMAN_RUN, *flags, image]
        assert output(*run) == "written\n"
        refused = subprocess.run([*run, "/bin/app", "/etc/new"], capture_output=True, text=True)
        assert refused.stdout == "Read-only file system\n"
    if shutil.which("apparmor_parser"):
        subprocess.run(["apparmor_parser", "-Q", "-K", out / "harden/apparmor.profile"], check=True)


@requires("podman", "runc", "mmdebstrap", "nsenter", "curl")
@pytest.mark.parametrize("service", hardened.SERVICES[:2], ids=lambda each: each.name)
def test_a_service_answers_in_podman_under_its_strict_policy(service: hardened.Service, tmp_path: Path) -> None:
    """nginx as www-data, and Python with a database; `make bench` has three more."""
    out = hardened.traced(service, tmp_path)
    found = hardened.harden(out, Level.STRICT)
    assert len(found["allowed"]) < len(found["refused"])
    hardened.answers_in_podman(service, out)


RULES = """
import json, sys
from apparmor.rule.file import FileRule
text, asked = json.load(sys.stdin)
rules = []
for line in text.split("\\n"):
    try:
        rules.append(FileRule.parse(line))
    except Exception:
        pass  # no rule of a file
answers = []
for path in asked:
    given = set()
    for rule in rules:
        if not rule.deny and not rule.all_paths and rule.path.match(path):
            given |= set(rule.perms or ()) | ({"x"} if rule.exec_perms else set())
    answers.append(sorted(given))
print(json.dumps([len(rules), answers]))
"""


def apparmor_gives(profile: str, paths: list[str]) -> list[set[str]]:
    """What AppArmor's own library reads out of a profile for each path. It runs by the system's Python."""
    system = "/usr/bin/python3"
    if subprocess.run([system, "-c", "import apparmor.rule.file"], capture_output=True).returncode:
        pytest.skip("not installed: python3-apparmor")
    asked = json.dumps([profile, paths])
    done = subprocess.run([system, "-c", RULES], input=asked, check=True, capture_output=True, text=True)
    count, answers = json.loads(done.stdout)
    assert count > 20
    return [set(each) for each in answers]


@requires("mmdebstrap")
def test_apparmors_own_reading_of_a_profile_allows_what_was_recorded_and_no_other_write(tmp_path: Path) -> None:
    out = hardened.traced(hardened.SERVICES[0], tmp_path)
    found = policy(Output(out), load(out / "recipe.toml"))
    entries = {row.entry.path: row.entry for row in Output(out).manifest()}
    places = [each.path for each in found.needs.writable]
    wanted: dict[str, set[str]] = {}
    for access in found.recording.accesses:
        entry = entries.get(access.path)
        need = wanted.setdefault(access.path + ("/" if entry and entry.type is FileType.DIRECTORY else ""), set())
        if entry is not None and entry.type is not FileType.SYMLINK:
            need |= {"r"} if access.kinds & {Kind.READ, Kind.LIST} else set()
            need |= {"x"} if Kind.EXEC in access.kinds else set()
        if Kind.WRITE in access.kinds and any(access.path.startswith(f"{each}/") for each in places):
            need.add("w")
    asked = [path for path, need in wanted.items() if need and path.isascii() and not set(path) & set("*?[]{}^")]
    given = apparmor_gives(found.files()["apparmor.profile"], asked)
    short = {path: wanted[path] - has for path, has in zip(asked, given, strict=True) if wanted[path] - has}
    assert short == {}
    assert {need for each in wanted.values() for need in each} == {"r", "x", "w"}
    others = ["/etc/passwd", "/usr/sbin/nginx", "/etc/new", "/usr/bin/new", "/root/.ssh/id"]
    assert not [
        path
        for path, has in zip(others, apparmor_gives(found.files()["apparmor.profile"], others), strict=True)
        if "w" in has
    ]
