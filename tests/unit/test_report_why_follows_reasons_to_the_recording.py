"""`slim why`: the shortest chain, all chains, links on the way, removed and unknown paths."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from slimmer.cli.why import command
from slimmer.closure.model import Reason
from slimmer.errors import SlimmerError
from slimmer.report.output import Output
from slimmer.report.why import needer, why
from slimmer.root.model import Entry, FileType
from tests.report_outputs import make_output
from tests.support import plant
from tests.unit.test_report_files_read_back_as_written import valid

TREE: dict[str, str | bytes | None] = {
    "usr/bin/app": "#755 x",
    "usr/bin/tool": "#755 x",
    "usr/bin/gone": "#755 x",
    "usr/lib/a.so": "x",
    "usr/lib/b.so": "x",
    "usr/lib/loop1": "x",
    "usr/lib/loop2": "x",
    "bin": "-> usr/bin",
    "usr/lib/part": "x",
    "var/lib/dpkg/status": "Package: p\nStatus: install ok installed\nVersion: 1\n",
    "var/lib/dpkg/info/p.list": "/usr/bin/gone\n/usr/lib/part\n/usr/lib/a.so\n",
}
KEPT = {
    "/bin": (Reason("link", "link on the way to /usr/bin/app", "/usr/bin/app"),),
    "/usr/bin/app": (Reason("recorded", "started by the exercise"),),
    "/usr/bin/tool": (
        Reason("script", "named in /usr/bin/app", "/usr/bin/app"),
        Reason("profile:x", "a profile wants it"),
    ),
    "/usr/lib/a.so": (Reason("elf", "NEEDED by tool", "/usr/bin/tool"), Reason("elf", "NEEDED by app", "/usr/bin/app")),
    "/usr/lib/b.so": (Reason("elf", "NEEDED by a.so", "/usr/lib/a.so"),),
    "/usr/lib/loop1": (Reason("x", "by loop2", "/usr/lib/loop2"),),
    "/usr/lib/loop2": (Reason("x", "by loop1", "/usr/lib/loop1"),),
}


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return Output(make_output(tmp_path / "out", plant(tmp_path / "fat", TREE), KEPT))


def chains(output: Output, path: str, *, every: bool = False) -> list[list[str]]:
    return [[step.path for step in chain] for chain in why(output, path, every=every).chains]


def test_the_shortest_chain_leads_back_to_what_stays_by_itself(output: Output) -> None:
    assert chains(output, "/usr/lib/b.so") == [["/usr/lib/b.so", "/usr/lib/a.so", "/usr/bin/app"]] or chains(
        output, "/usr/lib/b.so"
    ) == [["/usr/lib/b.so", "/usr/lib/a.so", "/usr/bin/tool"]]
    assert chains(output, "usr/bin/app") == [["/usr/bin/app"]]


def test_all_chains_are_found_the_shortest_first(output: Output) -> None:
    assert chains(output, "/usr/lib/a.so", every=True) == [
        ["/usr/lib/a.so", "/usr/bin/tool"],  # the profile's word
        ["/usr/lib/a.so", "/usr/bin/app"],
        ["/usr/lib/a.so", "/usr/bin/tool", "/usr/bin/app"],
    ]


def test_reasons_that_only_name_each_other_are_said_and_do_not_hang(output: Output) -> None:
    assert chains(output, "/usr/lib/loop1") == [["/usr/lib/loop1"]]
    assert chains(output, "/usr/lib/loop1", every=True) == []


def test_a_path_through_a_link_is_found_where_it_really_is(output: Output) -> None:
    answer = why(output, "/bin/app")
    assert (answer.path, answer.links) == ("/usr/bin/app", ("/bin",))
    assert why(output, "/bin/gone").removed is not None


def test_a_removed_path_tells_its_package_who_would_need_it_and_how_to_keep_it(output: Output) -> None:
    answer = why(output, "/usr/bin/gone")
    assert answer.removed is not None
    assert answer.removed.package is not None
    assert answer.removed.package.name == "p"
    assert (answer.siblings, answer.siblings_removed) == (1, 2)
    assert "starts it" in answer.needer
    assert answer.advice[0].startswith("--include '/usr/bin/gone'")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/usr/lib/libx.so.1", "NEEDED"),
        ("/usr/lib/python3/x.py", "imports this module"),
        ("/app/x.mjs", "requires or imports"),
        ("/usr/share/x.pm", "script that loads"),
        ("/etc/x", "opens it"),
        ("/etc/ssh/ssh_host_rsa_key", "a program that reads it in the exercise: a private host key"),
        ("/etc/machine-id", "nobody: identifies one machine"),
    ],
)
def test_who_would_need_a_path_depends_on_what_it_is(path: str, words: str) -> None:
    assert words in needer(Entry(path, FileType.FILE, 0o644, 0, 0, 1, 0))


def test_the_command_prints_the_chain_and_json(output: Output) -> None:
    text = CliRunner().invoke(command, [str(output.directory), "/usr/lib/b.so"], catch_exceptions=False).stdout
    assert text.splitlines()[0] == "/usr/lib/b.so  kept"
    assert "NEEDED by a.so [elf]" in text
    assert "└ /usr/lib/a.so" in text
    done = CliRunner().invoke(command, [str(output.directory), "/usr/bin/gone", "--json"], catch_exceptions=False)
    value = json.loads(done.stdout)
    valid(value, "why")
    done = CliRunner().invoke(
        command, [str(output.directory), "/usr/lib/a.so", "--all", "--json"], catch_exceptions=False
    )
    valid(json.loads(done.stdout), "why")
    assert (value["format"], value["status"], value["package_files"]) == (
        "slimmer.why/1",
        "removed",
        {"kept": 1, "removed": 2},
    )


def test_an_unknown_path_is_an_error_that_names_others_like_it(output: Output) -> None:
    with pytest.raises(SlimmerError, match=r"did you mean /usr/lib/b\.so"):
        CliRunner().invoke(command, [str(output.directory), "/lib/b.so"], catch_exceptions=False)
