"""A file that is built to hold a reader up counts as unread, and is named; what is merely long is read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from slimmer.closure.commands import shell_syntax
from slimmer.closure.commands.wrappers import Start, effects
from slimmer.closure.languages.node import imports as node_imports
from slimmer.closure.languages.node.rule import NodeRule
from slimmer.closure.languages.python import imports as python_imports
from slimmer.closure.languages.shell.rule import ShellRule
from slimmer.closure.model import Need, Rule, View
from slimmer.errors import SlimmerError
from slimmer.packages import index
from slimmer.packages.database import Database
from slimmer.packages.places import Places
from slimmer.root.budget import DEEPEST, Unread, Watch, check_depth
from slimmer.root.directory import DirectoryRoot
from slimmer.root.model import Entry, Root
from tests.support import plant
from tests.unit.closures import closure


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("x.js", "(" * 200_000, NodeRule),
        ("x.js", "[" * 200_000, NodeRule),
        ("x.sh", "$(" * 100_000, ShellRule),
    ],
)
def test_what_is_nested_too_deeply_is_unread_and_named(
    tmp_path: Path, name: str, content: str, rule: type[Rule]
) -> None:
    root = DirectoryRoot(str(plant(tmp_path / "root", {f"/app/{name}": content, "/usr/bin/node": ""})))
    found = closure(root, ["/usr/bin/node", f"/app/{name}"], [rule])
    assert [(each.kind, each.path) for each in found.warnings] == [("unread", f"/app/{name}")]
    assert "brackets" in found.warnings[0].text


def test_a_rule_that_recurses_too_deeply_loses_only_what_it_had_not_said(tmp_path: Path) -> None:
    class Deep(Rule):
        name = "deep"

        def visit(self, entry: Entry, view: View) -> Iterable[Need]:
            return self.visit(entry, view) if entry.path == "/app/a" else ()

    root = DirectoryRoot(str(plant(tmp_path / "root", {"/app/a": "", "/app/b": ""})))
    found = closure(root, ["/app/a", "/app/b"], [Deep])
    assert {"/app/a", "/app/b"} <= set(found.paths)
    assert [(each.kind, each.path) for each in found.warnings] == [("unread", "/app/a")]


def test_the_last_net_gives_up_what_shows_no_life() -> None:
    watch = Watch(0.02)
    with watch.armed(), pytest.raises(Unread, match="seconds"):
        watch.reading = True
        while True:
            pass
    with watch.armed():
        for _ in range(200_000):
            watch.alive += 1


def test_depth_is_counted_in_brackets_inside_each_other() -> None:
    check_depth(b"()" * DEEPEST * 2)
    check_depth(b"(" * DEEPEST + b")" * DEEPEST)
    with pytest.raises(Unread):
        check_depth(b"([" * DEEPEST)


def test_every_branch_of_a_long_elif_chain_is_read() -> None:
    source = "if a: pass\n" + "".join(f"elif a == {n}: import m{n}\n" for n in range(600))
    found = python_imports.scan(source.encode())
    assert [each.module for each in found.imports] == [f"m{n}" for n in range(600)]


def test_a_long_concatenation_is_read_from_its_beginning() -> None:
    parts = " + ".join(f"'{n}/'" for n in range(2000))
    (load,) = node_imports.scan(f"require('./x/' + {parts} + name)".encode()).loads
    assert load.specifier.startswith("./x/0/1/2/")
    assert not load.whole


def test_a_long_python_concatenation_is_read_from_its_beginning() -> None:
    source = "import importlib\nimportlib.import_module('plugins.' + " + " + ".join(["x"] * 400) + ")\n"
    assert [each.prefix for each in python_imports.scan(source.encode()).families] == ["plugins."]


def test_deeply_nested_defaults_of_a_variable_are_unknown() -> None:
    script = shell_syntax.parse(b"run " + b"${a:-" * 600 + b"x" + b"}" * 600 + b"\ngzip y\n")
    assert "gzip" in [command.literal[0] for command in script.commands]


@pytest.mark.parametrize("word", ["env", "nice", "find . -exec", "sudo"])
def test_wrappers_around_wrappers_end_somewhere(word: str) -> None:
    found = list(effects([*(f"{word} " * 800).split(), "ls"]))
    assert Start(word.split()[0]) == found[0]
    assert len(found) < 100


def test_a_path_may_have_any_number_of_components(tmp_path: Path) -> None:
    root = DirectoryRoot(str(plant(tmp_path / "root", {"/a/b": "x"})))
    assert root.find("/a" + "/b" * 1500) is None
    assert root.entry("/x" * 1500) is None
    assert root.entry("/" + "/a" * 3000) is None


def test_a_package_database_that_holds_its_reader_up_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(root: Root, places: Places) -> Database | None:
        while True:
            pass

    monkeypatch.setattr(index, "DATABASES", (slow,))
    monkeypatch.setattr(index, "Watch", lambda: Watch(0.02))
    root = DirectoryRoot(str(plant(tmp_path / "root", {"/etc/os-release": ""})))
    with pytest.raises(SlimmerError, match="its package database holds its reader up"):
        index.index(root)
