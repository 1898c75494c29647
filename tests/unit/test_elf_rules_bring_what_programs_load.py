"""The closure's ELF rules on planted roots whose loader is a handful of texts."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from slimmer.cli.resolve import command
from slimmer.closure.binaries.dlopen import SonameTextRule, library_rules, sources
from slimmer.closure.binaries.needed import ElfRule, LoaderBox
from slimmer.closure.model import Application, View
from slimmer.closure.recorded import RecordedRule
from slimmer.closure.worklist import Closure, grow
from slimmer.elf.file import Elf
from slimmer.elf.loader import Loader
from slimmer.elf.tokens import expand
from slimmer.errors import SlimmerError
from slimmer.root.directory import DirectoryRoot
from slimmer.root.model import Entry
from tests.support import plant
from tests.support_elf import NEEDED, RPATH, RUNPATH, elf, program
from tests.support_roots import Owned
from tests.unit.profiles_support import Deb, closure, debian, recorded
from tracer.recording import Access, Execution, Kind, Recording

LDSO = elf((14, "ld-linux-x86-64.so.2")) + (
    b"\0/lib/\0/usr/lib/\0lib\0/etc/ld.so.cache\0x86-64-v3:x86-64-v2\0stable release version 2.40.\0"
)
BASE: dict[str, str | bytes | None] = {"lib64/ld-linux-x86-64.so.2": LDSO}


def root_with(top: Path, tree: Mapping[str, str | bytes | None]) -> DirectoryRoot:
    return DirectoryRoot(str(plant(top, {**BASE, **tree})))


def grown(root: DirectoryRoot, recording: Recording, *rules: object, env: dict[str, str] | None = None) -> Closure:
    return grow(root, recording, Owned(), Application(env=env), [RecordedRule(), *rules])  # type: ignore[list-item]


def files(closure: Closure) -> set[str]:
    return {path for path in closure.paths if path.endswith((".so", ".2", ".1"))}


def ran(path: str, **env: str) -> Execution:
    return Execution(path, "/", tuple(sorted(env.items())))


def test_a_program_brings_interpreter_and_closure_with_reasons(tmp_path: Path) -> None:
    tree = {
        "bin/app": program((NEEDED, "a.so")),
        "usr/lib/a.so": elf((NEEDED, "b.so")),
        "lib/b.so": elf(),
        "lib/c.so": elf(),
    }
    accesses = (Access("/bin/app", frozenset({Kind.EXEC}), frozenset()),)
    closure = grown(root_with(tmp_path, tree), Recording(accesses), ElfRule())
    assert files(closure) == {"/lib64/ld-linux-x86-64.so.2", "/usr/lib/a.so", "/lib/b.so"}
    assert closure.paths["/lib/b.so"].reasons[0].text == "needed by /usr/lib/a.so (b.so, by default)"
    assert closure.paths["/lib/b.so"].reasons[0].needed_by == "/usr/lib/a.so"


def test_the_recorded_environment_decides_where_libraries_are_found(tmp_path: Path) -> None:
    tree = {"bin/app": program((NEEDED, "a.so")), "opt/a.so": elf(), "srv/a.so": elf(), "lib/a.so": elf()}
    accesses = (Access("/bin/app", frozenset({Kind.EXEC}), frozenset()),)
    root = root_with(tmp_path, tree)
    recording = Recording(accesses, (ran("/bin/app", LD_LIBRARY_PATH="/opt"), ran("/bin/app", LD_LIBRARY_PATH="/srv")))
    assert {"/opt/a.so", "/srv/a.so"} == files(grown(root, recording, ElfRule())) - {"/lib64/ld-linux-x86-64.so.2"}
    alone = grown(root, Recording(accesses), ElfRule(), env={"LD_LIBRARY_PATH": "/srv"})
    assert {"/srv/a.so"} == files(alone) - {"/lib64/ld-linux-x86-64.so.2"}


def test_a_dlopened_object_finds_what_its_host_has_loaded(tmp_path: Path) -> None:
    tree = {
        "bin/app": program((NEEDED, "a.so"), (RPATH, "/opt/app")),
        "opt/app/a.so": elf(),
        "lib/a.so": elf(),
        "opt/app/late.so": elf(),
        "plugins/p.so": elf((NEEDED, "a.so"), (NEEDED, "late.so")),
    }
    accesses = (
        Access("/bin/app", frozenset({Kind.EXEC}), frozenset()),
        Access("/plugins/p.so", frozenset({Kind.READ}), frozenset({"/bin/app"})),
    )
    closure = grown(root_with(tmp_path, tree), Recording(accesses, (ran("/bin/app"),)), ElfRule())
    assert {"/opt/app/late.so", "/opt/app/a.so", "/plugins/p.so"} <= files(closure)
    assert "/lib/a.so" not in closure.paths


def test_an_object_of_unknown_host_is_resolved_on_its_own(tmp_path: Path) -> None:
    tree = {"plugins/p.so": elf((NEEDED, "a.so"), (NEEDED, "gone.so"), (RUNPATH, "$ORIGIN")), "plugins/a.so": elf()}
    accesses = (Access("/plugins/p.so", frozenset({Kind.READ}), frozenset()),)
    closure = grown(root_with(tmp_path, tree), Recording(accesses), ElfRule())
    assert "/plugins/a.so" in closure.paths
    assert [warning.kind for warning in closure.warnings] == ["missing-library"]


def test_every_variant_stays_unless_a_processor_is_pinned(tmp_path: Path) -> None:
    tree = {
        "bin/app": program((NEEDED, "a.so")),
        "lib/a.so": elf(),
        "lib/glibc-hwcaps/x86-64-v2/a.so": elf((NEEDED, "only-v2.so")),
        "lib/glibc-hwcaps/x86-64-v3/a.so": elf(),
        "lib/glibc-hwcaps/x86-64-v4/a.so": elf(),
        "lib/only-v2.so": elf(),
    }
    root = root_with(tmp_path, tree)
    everything = Loader(root).closure("/bin/app")
    assert everything is not None
    assert [each.path for each in everything.loads] == [
        "/lib/a.so",
        "/lib/glibc-hwcaps/x86-64-v2/a.so",
        "/lib/only-v2.so",
        "/lib/glibc-hwcaps/x86-64-v3/a.so",
    ]
    pinned = Loader(root, cpu="x86-64-v3").closure("/bin/app")
    assert pinned is not None
    assert [each.path for each in pinned.loads] == ["/lib/glibc-hwcaps/x86-64-v3/a.so"]
    with pytest.raises(SlimmerError, match="knows no processor"):
        Loader(root, cpu="fast").closure("/bin/app")


def test_static_files_load_nothing_and_scripts_are_none(tmp_path: Path) -> None:
    root = root_with(tmp_path, {"static": elf(type_=2), "script": "#!/bin/sh"})
    loader = Loader(root)
    static = loader.closure("/static")
    assert static is not None
    assert (static.loads, static.libc, static.interpreter) == ((), None, None)
    assert loader.closure("/script") is None


def note(payload: object) -> bytes:
    text = json.dumps(payload).encode() + b"\0"
    text += bytes(-len(text) % 4)
    return struct.pack("<III", 4, len(text), 0x407C0C0A) + b"FDO\0" + text


def with_note(data: bytes, content: bytes) -> bytes:
    """The file with its PT_GNU_STACK header turned into a PT_NOTE for content at its end."""
    at = data.index(struct.pack("<I", 0x6474E551))
    header = struct.pack("<IIQQQQQQ", 4, 4, len(data), len(data), len(data), len(content), len(content), 4)
    return data[:at] + header + data[at + len(header) :] + content


def test_dlopen_notes_bring_the_first_soname_that_is_there(tmp_path: Path) -> None:
    wanted = [
        {"soname": ["none.so.1", "two.so.1"], "feature": "zip", "priority": "required"},
        {"soname": ["recommended.so.1"]},
        {"soname": ["suggested.so.1"], "priority": "suggested"},
        {"nonsense": 1},
    ]
    app = with_note(program((NEEDED, "x.so")), note(wanted))
    libraries = {f"lib/{name}.so.1": elf() for name in ("two", "three", "recommended", "suggested")}
    accesses = (Access("/bin/app", frozenset({Kind.EXEC}), frozenset()),)
    closure = grown(
        root_with(tmp_path, {"bin/app": app, "lib/x.so": elf(), **libraries}), Recording(accesses), *library_rules()
    )
    levels = {path: kept.level.name for path, kept in closure.paths.items() if path.endswith(".so.1")}
    assert levels == {
        "/lib/two.so.1": "RECORDED",
        "/lib/recommended.so.1": "REACHABLE",
        "/lib/suggested.so.1": "PACKAGES",
    }
    assert "required for zip" in closure.paths["/lib/two.so.1"].reasons[0].text


class Imports(LoaderBox):
    """Objects that import dlopen; the planted ones have no symbols."""

    def imported(self, entry: Entry, file: Elf, view: View) -> frozenset[str]:
        return frozenset({"dlopen"})


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"Depends": "libfontconfig1 (>= 2.12)"}, True),
        ({"Recommends": "libother1 | libfontconfig1"}, True),
        ({"Suggests": "libfontconfig1"}, False),
    ],
)
def test_a_name_of_a_library_counts_where_packages_declare_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, str], kept: bool
) -> None:
    texts = elf((NEEDED, "libneeded.so.1"), (0x6000000D, "libfontconfig.so.1"))
    packages = {
        "jre": Deb({"/usr/lib/jvm/lib/libfontmanager.so": texts}, fields),
        "libfontconfig1": Deb({"/usr/lib/libfontconfig.so.1": elf((NEEDED, "libexpat.so.1"))}),
        "libexpat1": Deb({"/usr/lib/libexpat.so.1": elf()}),
        "libc6": Deb({f"/{path}": content for path, content in BASE.items()}),
    }
    top, recording = debian(tmp_path, packages), recorded(read=["/usr/lib/jvm/lib/libfontmanager.so"])
    found = closure(top, recording, [SonameTextRule(Imports())])
    assert {"/usr/lib/libfontconfig.so.1", "/usr/lib/libexpat.so.1"}.isdisjoint(found.paths) == (not kept)
    assert [warning.kind for warning in found.warnings] == ([] if kept else ["dlopen-string"])
    monkeypatch.setattr("slimmer.closure.binaries.dlopen.BRINGS", 100)
    heavy = closure(top, recording, [SonameTextRule(Imports())])
    assert [warning.kind for warning in heavy.warnings] == ["dlopen-string"]


@pytest.mark.parametrize(
    ("beside", "warned"), [("libkrb5-fcafa220.so.3.3", False), ("libssl-8bd944e8.so.3", True), ("libkrb5.so.3.3", True)]
)
def test_the_former_name_of_a_library_that_a_wheel_brings_is_no_library_to_load(
    tmp_path: Path, beside: str, warned: bool
) -> None:
    libs = "/usr/lib/python3/dist-packages/psycopg2.libs"
    texts = elf((NEEDED, "libneeded.so.1"), (0x6000000D, "libkrb5.so.3"))
    own = f"{libs}/libsasl2-84219a89.so.3"
    tree = {own: texts, f"{libs}/{beside}": elf(), "/usr/lib/libkrb5.so.3": elf()}
    top = debian(tmp_path, {"libc6": Deb({**{f"/{path}": content for path, content in BASE.items()}, **tree})})
    found = closure(top, recorded(read=[own]), [SonameTextRule(Imports())])
    assert [warning.path for warning in found.warnings] == ([own] if warned else [])


def test_nsswitch_is_read_without_actions_and_comments() -> None:
    assert sources("passwd: files systemd # x\nhosts:files mdns4_minimal [NOTFOUND=return] dns\n#group: ldap") == {
        "passwd": ("files", "systemd"),
        "hosts": ("files", "mdns4_minimal", "dns"),
    }


def test_origin_in_setuid_programs_leads_only_into_trusted_directories() -> None:
    trusted = ("/lib/", "/usr/lib/")
    options = {"lib": "lib", "platform": None, "secure": True, "trusted": trusted}
    assert expand("$ORIGIN/../lib", origin="/usr/bin", **options) == "/usr/bin/../lib"  # type: ignore[arg-type]
    assert expand("$ORIGIN/../lib", origin="/opt/bin", **options) == ""  # type: ignore[arg-type]
    assert expand("/x$ORIGIN", origin="/usr/lib", **options) == ""  # type: ignore[arg-type]
    assert expand("$ORIGINAL/${LIB}/$PLATFORM", origin="/o", lib="lib", platform="p") == "$ORIGINAL/lib/p"
    assert expand("/a/$PLATFORM", origin="/o", lib="lib", platform=None) == ""


def test_the_command_prints_data_and_fails_when_something_is_missing(tmp_path: Path) -> None:
    root = root_with(
        tmp_path, {"bin/app": program((NEEDED, "a.so"), (NEEDED, "gone.so")), "lib/a.so": elf(), "bin/text": "#755 x"}
    )
    (tmp_path / "bin/app").chmod(0o755)
    result = CliRunner().invoke(command, [root.name, "bin/app", "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "file": "/bin/app",
        "arch": "x86_64",
        "libc": "glibc",
        "interpreter": "/lib64/ld-linux-x86-64.so.2",
        "loads": [{"name": "a.so", "path": "/lib/a.so", "needed_by": "/bin/app", "rule": "default"}],
        "missing": [{"name": "gone.so", "needed_by": "/bin/app"}],
    }
    tree = CliRunner().invoke(command, [root.name, "--all"])
    assert tree.stdout.splitlines()[1:] == ["├── a.so => /lib/a.so  [default]", "└── gone.so: not found"]


def test_notes_are_shown_on_request(tmp_path: Path) -> None:
    app = with_note(
        program((NEEDED, "x.so")), note([{"soname": ["n.so"], "priority": "suggested"}, {"soname": ["gone.so"]}])
    )
    root = root_with(
        tmp_path, {"bin/app": app, "lib/x.so": elf(), "lib/n.so": elf((NEEDED, "deep.so")), "lib/deep.so": elf()}
    )
    plain = CliRunner().invoke(command, [root.name, "/bin/app", "--json"])
    assert [load["path"] for load in json.loads(plain.stdout)["loads"]] == ["/lib/x.so"]
    noted = CliRunner().invoke(command, [root.name, "/bin/app", "--json", "--notes", "suggested"])
    assert [(load["path"], load["needed_by"], load["rule"]) for load in json.loads(noted.stdout)["loads"]] == [
        ("/lib/x.so", "/bin/app", "default"),
        ("/lib/n.so", "/bin/app", "note (suggested)"),
        ("/lib/deep.so", "/lib/n.so", "default"),
    ]
    assert noted.exit_code == 0


@pytest.mark.parametrize(
    ("kind", "limit", "stays"),
    [(Kind.STAT, 10, False), (Kind.STAT, 1 << 30, True), (Kind.EXEC, 10, True), (Kind.READ, 10, True)],
)
def test_a_program_that_was_only_looked_at_brings_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, limit: int, stays: bool
) -> None:
    monkeypatch.setattr("slimmer.closure.binaries.needed.LOOKED_AT", limit)
    tree: dict[str, str | bytes | None] = {"bin/heavy": program((NEEDED, "engine.so")), "usr/lib/engine.so": elf()}
    root = root_with(tmp_path, tree)
    (tmp_path / "bin/heavy").chmod(0o755)
    accesses = (Access("/bin/heavy", frozenset({kind}), frozenset()),)
    found = grown(root, Recording(accesses), ElfRule())
    assert "/bin/heavy" in found.paths
    assert ("/usr/lib/engine.so" in found.paths) is stays
    assert ("looked-at" in {each.kind for each in found.warnings}) is not stays
