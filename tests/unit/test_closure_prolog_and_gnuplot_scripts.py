"""Prolog and gnuplot: what scripts load, plot and start in a branch that no run took."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.closure.commands.interpreters import Code, File
from slimmer.closure.commands.wrappers import Start, effects
from slimmer.closure.languages.gnuplot.rule import GNUPLOT, GnuplotRule
from slimmer.closure.languages.gnuplot.rule import commands as plotted
from slimmer.closure.languages.prolog.rule import PrologRule
from slimmer.closure.languages.prolog.syntax import PROLOG, aliases, loaded
from slimmer.closure.languages.prolog.syntax import commands as called
from slimmer.closure.languages.shell.rule import ShellRule
from slimmer.closure.model import Application
from tests.unit.closures import kept

TOOLS = ("gnuplot", "swipl", "date", "sort", "ls", "git", "head", "wc")


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ('x = system("date -u")', ["date -u"]),
        ("system 'ls | wc'", ["ls | wc"]),
        ('cmd = "sort a"\nplot cmd\nprint system(cmd)', ["sort a"]),
        ('system("sort ".file." | head")', ["sort $UNKNOWN | head"]),
        ('system(sprintf("sort -k%d %s", n, "a"))', ["sort -k$UNKNOWN $UNKNOWN"]),
        ("plot '< sort -n data' using 1:2, \"<head x\" with lines", ["sort -n data", "head x"]),
        ('plot sprintf("< sort %s", f)', ["sort $UNKNOWN"]),
        ('plot "< sort ".f." | head -1"', ["sort $UNKNOWN | head -1"]),
        ("set output '|sort'; set print \"| wc\"", ["sort", "wc"]),
        ("set title `date`\nset label \"on `date +%F`\"", ["date", "date +%F"]),
        ("  ! ls -l", [" ls -l"]),
        ("if (a) {\n!git log\n}", ["git log"]),
        ("load '< sort a'", ["sort a"]),
        ("# system('ls')\nplot sin(x) # `date`\nif (a != 1) plot 2; set title \"<= 3\"", []),
        ("set title 'a `date` b", ["date"]),
        ("plot \\\n '< ls'", ["ls"]),
    ],
)  # fmt: skip
def test_commands_of_gnuplot(script: str, expected: list[str]) -> None:
    assert [each.words[0] for each in plotted(GNUPLOT.read(script.encode()))] == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a :- shell('ls -l').", [("ls -l",)]),
        ('a :- shell("sort a | head", S).', [("sort a | head",)]),
        ("a(X) :- format(string(C), 'git -C ~w log ~d', [X, 1]), shell(C).", [("git -C $UNKNOWN log $UNKNOWN",)]),
        ("a(X) :- atomic_list_concat(['ls ', X, ' | wc'], C), shell(C, 0).", [("ls $UNKNOWN | wc",)]),
        ("a(X) :- atom_concat('ls ', X, C), shell(C).", [("ls $UNKNOWN",)]),
        ("a :- open(pipe('sort x'), read, S).", [("sort x",)]),
        ("a :- process_create(path(git), ['-C', D, log], [stdout(pipe(O))]).", [("git", "-C", "", "log")]),
        ("a :- process_create('/bin/ls', [], []).", [("/bin/ls",)]),
        ("a :- C = 'ls', shell(C).", [("ls",)]),
        ("% shell(ls)\n/* shell('ls') */ a :- X = 0'', Y = 0'a, Z = 0'\\n, shell(X).", []),
        ("a(C) :- shell(C). b :- shell.", []),
    ],
)  # fmt: skip
def test_commands_of_prolog(source: str, expected: list[tuple[str, ...]]) -> None:
    assert [each.words for each in called(PROLOG.read(source.encode()))] == expected


def test_files_of_prolog() -> None:
    source = PROLOG.read(
        b":- use_module(library(http/json)).\n:- use_module(own, [a/1]). :- consult(['a b', lib/c]).\n"
        b":- [d, 'e.pl'].\n:- ensure_loaded(app(f)).\nx(X) :- consult(X).\n:- use_foreign_library(foreign(process)).\n"
        b"user:file_search_path(app, '/srv/app').\n:- asserta(user:file_search_path(more, app(deep)))."
    )
    assert [(alias, name) for alias, name, _ in loaded(source)] == [
        ("library", "http/json"),
        ("", "own"),
        ("", "a b"),
        ("", "lib/c"),
        ("app", "f"),
        ("foreign", "process"),
        ("", "d"),
        ("", "e.pl"),
    ]
    assert [*aliases(source)] == [("app", "/srv/app"), ("more", "deep")]


def files(tmp_path: Path, tree: dict[str, str], *seeds: str, rule: type, line: str = "") -> set[str]:
    programs = {f"/usr/bin/{name}": "#755 \x7fELF" for name in TOOLS} | {"/bin/sh": "#755 \x7fELF"}
    application = Application(workdir="/app", executables=(line,) if line else ())
    found = kept(tmp_path, {**programs, **tree}, *seeds, rules=(rule, ShellRule), application=application)
    return {path.removeprefix("/usr/bin/") for path in found} - {*seeds, "/bin/sh"}


def test_gnuplot_loads_and_plots_files(tmp_path: Path) -> None:
    tree = {
        "/app/a.gp": "set loadpath 'more' \"/srv/plots\"\nload 'style.gp'\nplot 'data.csv', \"deep/b.dat\"\n",
        "/app/more/style.gp": "call 'c.gp' \"x\"\nset title system('date')",
        "/srv/plots/c.gp": "",
        "/app/data.csv": "",
        "/app/deep/b.dat": "",
        "/app/other.csv": "",
        "/app/test.plt": ":- begin_tests(a).\ntest(a) :- shell('git').",
    }
    seeds = ("/app/a.gp", "/app/test.plt")
    expected = {*tree} - {*seeds, "/app/other.csv"} | {"date"}
    # what style.gp calls lies below a load path that another script sets
    assert files(tmp_path, tree, *seeds, rule=GnuplotRule) == expected - {"/srv/plots/c.gp"}


@pytest.mark.parametrize(
    "line",
    [
        "gnuplot -e \"system('date')\"",
        "gnuplot report",
        "gnuplot -p -c report x",
        "sh -c \"gnuplot <<'E'\nset title system('date')\nE\"",
    ],
)
def test_gnuplot_is_read_where_a_command_says_so(line: str, tmp_path: Path) -> None:
    tree = {"/app/report": "set title `date`", "/app/other": "`git`"}
    assert files(tmp_path, tree, line=line, rule=GnuplotRule) - {"/app/report"} == {"gnuplot", "date"}


def test_a_root_without_gnuplot_plots_nothing(tmp_path: Path) -> None:
    tree = {"/app/a.gp": "set title `date`", "/usr/bin/date": "#755 \x7fELF"}
    assert kept(tmp_path, tree, "/app/a.gp", rules=(GnuplotRule,)) == {"/app/a.gp"}


HOME = "/usr/lib/swi-prolog"
LIBRARY = {
    f"{HOME}/boot.prc": "",
    f"{HOME}/boot/init.pl": "",
    f"{HOME}/swipl.home": "",
    f"{HOME}/library/INDEX.pl": (
        "index((append), 3, lists, lists).\nindex((json_read), 2, json, http/json).\nindex((x), 1, late, late).\n"
        "index((>>), 2, yall, yall).\n"
    ),
    f"{HOME}/library/lists.pl": ":- module(lists, [append/3]).\n:- autoload(library(error), [x/1]). % library(late)\n",
    f"{HOME}/library/error.pl": "/* library(late) */",
    f"{HOME}/library/late.pl": "",
    f"{HOME}/library/yall.pl": "",
    f"{HOME}/library/http/json.pl": "",
    f"{HOME}/library/process.pl": ":- use_foreign_library(foreign(process)).\na :- shell('git').",
    f"{HOME}/lib/x86_64-linux/process.so": "",
    f"{HOME}/lib/x86_64-linux/other.so": "",
}


def test_prolog_loads_libraries_files_and_what_it_would_load_by_itself(tmp_path: Path) -> None:
    tree = {
        **LIBRARY,
        "/app/a.pl": ":- use_module(library(process)).\n:- use_module(own).\n:- ensure_loaded(more(b)).\n"
        "main :- append([1], [2], X), maplist([Y]>>true, X), shell('date').",
        "/app/own.pl": ":- module(own, []).\nuser:file_search_path(more, deep).\n",
        "/app/deep/b.pl": ":- initialization(true).\na(S) :- http_open(S), json_read(S, _).",
        "/app/other.pl": ":- dynamic a/1.",
    }
    unused = {
        "library/late.pl",
        "library/INDEX.pl",
        "boot.prc",
        "boot/init.pl",
        "swipl.home",
        "lib/x86_64-linux/other.so",
    }
    expected = {*tree} - {f"{HOME}/{each}" for each in unused} - {"/app/a.pl", "/app/other.pl"}
    assert files(tmp_path, tree, "/app/a.pl", rule=PrologRule) == expected | {"date"}


def test_the_interpreter_stays_with_what_it_starts_from(tmp_path: Path) -> None:
    base = ("boot.prc", "boot/init.pl", "swipl.home", "library/INDEX.pl", "library/lists.pl", "library/error.pl")
    found = files(tmp_path, {**LIBRARY, "/app/a": ""}, line="swipl -g main /app/a", rule=PrologRule)
    assert found == {"swipl", "/app/a", *(f"{HOME}/{each}" for each in base)}


def test_a_script_of_perl_is_none_of_prolog(tmp_path: Path) -> None:
    tree = {**LIBRARY, "/app/a.pl": "use strict; my @a = map { append($_) } `git log`;\nshell('date');"}
    assert files(tmp_path, tree, "/app/a.pl", rule=PrologRule) == set()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("gnuplot", "-persist", "-e", "a=1", "b.gp", "-"), [Code("gnuplot", "a=1"), File("gnuplot", "b.gp")]),
        (("gnuplot", "-c", "a", "b", "c"), [File("gnuplot", "a")]),
        (("swipl", "-q", "-g", "main", "-t", "halt", "a.pl", "x"), [File("swipl", "a.pl")]),
        (("swipl", "-s", "a.pl", "--", "x"), [File("swipl", "a.pl")]),
    ],
)
def test_options(words: tuple[str, ...], expected: list[object]) -> None:
    assert list(effects(words)) == [Start(words[0]), *expected]
