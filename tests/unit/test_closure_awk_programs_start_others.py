"""Awk: commands of `system` and of pipes, read files, included and loaded ones, wherever a program stands."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from slimmer.closure.commands.interpreters import Code, File
from slimmer.closure.commands.wrappers import Start, effects
from slimmer.closure.languages.awk.rule import AwkRule
from slimmer.closure.languages.awk.syntax import Program
from slimmer.closure.languages.shell.rule import ShellRule
from slimmer.closure.model import Application
from tests.unit.closures import kept

TOOLS = ("awk", "gawk", "date", "sort", "ls", "git", "convert", "python3", "id", "wc")


def commands(program: str) -> list[str]:
    return [each.words[0] for each in Program.read(program.encode()).commands()]


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ('BEGIN { system("date -u") }', ["date -u"]),
        ('{ print $1 | "sort -n" }', ["sort -n"]),
        ('{ print $1, $2 | ("sort -k" n " -u") }', ["sort -k$UNKNOWN -u"]),
        ('{ while (("ls " $1) | getline name > 0) n++ }', ["ls $UNKNOWN"]),
        ('{ if (x) "date" | getline now; else print }', ["date"]),
        ('{ "echo " "date" | getline }', ["echo date"]),
        ('{ cmd = "git -C " dir " log"\n  cmd | getline line; close(cmd) }', ["git -C $UNKNOWN log"]),
        ('{ cmd = x ? "a" : "b" }', []),
        ('{ cmd = "ls"; if (y) cmd = cmd " -l"; print | cmd }', ["ls", "ls -l", "ls -l -l"]),
        ('function run(c, l) { c | getline l; return l }\n{ run("id -u"); run("wc " f) }', ["id -u", "wc $UNKNOWN"]),
        ('{ system(sprintf("convert %s -resize %dx %s.png", f, 3 * n, "out")) }',
         ["convert $UNKNOWN -resize $UNKNOWNx out.png"]),
        ('{ cmd = sprintf("%s -l", "ls"); system(cmd) }', ["ls -l"]),
        ('{ print "x" |& "sort"; "sort" |& getline y }', ["sort", "sort"]),
        ('{ system("" ) ; system(ARGV[1]); ENVIRON["X"] | getline }', []),
        ('{ system("ls \\"a b\\" | wc") }', ['ls "a b" | wc']),
        ("{ system(\\\n \"date\") }", ["date"]),
        # what is no program text
        ('# system("date")\n/system\\("date"\\)/ { x = 1 }', []),
        ('$0 ~ /"|[/"]/ { print } { system("id") }', ["id"]),
        ("{ x = a / b; y = c / d } a || b { print }", []),
        ('{ gsub(/"/, "|"); print "a | b" }', []),
        ('{ print "a" > "/dev/stderr" }', []),
        ('{ system("a', []),
        ('{ a = b; b = a; system(a) }', []),
    ],
)  # fmt: skip
def test_commands_of_programs(program: str, expected: list[str]) -> None:
    assert commands(program) == expected


def test_a_program_of_any_size_is_read_in_proportion() -> None:
    def seconds(program: str) -> float:
        begin = time.process_time()
        commands(program)
        return time.process_time() - begin

    for part in ("a = b; b = a; system(a)\n", "(", "/[", 'x = x "a" | getline\n', "function f(a) { f(f(a)) }\n", "|"):
        assert seconds(part * 8000) < 20 * max(seconds(part * 2000), 0.01), part


def files(tmp_path: Path, tree: dict[str, str], *seeds: str, line: str = "") -> set[str]:
    programs = {f"/usr/bin/{name}": "#755 \x7fELF" for name in TOOLS} | {"/bin/sh": "#755 \x7fELF"}
    application = Application(workdir="/app", executables=(line,) if line else ())
    found = kept(tmp_path, {**programs, **tree}, *seeds, rules=(AwkRule, ShellRule), application=application)
    return {path.removeprefix("/usr/bin/") for path in found} - {*seeds, "/bin/sh"}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/app/report.awk", 'END { system("date") }'),
        ("/app/report", '#755 #!/usr/bin/awk -f\nEND { system("date") }'),
        ("/app/report", '#755 #!/usr/bin/env -S gawk -f\nEND { system("date") }'),
        ("/app/report.sh", "#755 #!/bin/sh\nif x; then cmd | awk -F: 'END { system(\"date\") }' file; fi"),
        ("/app/report.sh", "#755 #!/bin/sh\nawk -v c=date 'END { c | getline }'"),
        ("/app/report.sh", "#755 #!/bin/sh\ngawk -f - <<'E'\nEND { system(\"date\") }\nE"),
    ],
)
def test_a_program_is_read_wherever_it_stands(path: str, text: str, tmp_path: Path) -> None:
    assert files(tmp_path, {path: text}, path) - {"awk", "gawk"} == {"date"}


def test_a_file_that_a_command_names_is_a_program_whatever_its_name(tmp_path: Path) -> None:
    tree = {"/app/report": 'END { system("date") }', "/app/other": 'END { system("git") }'}
    assert files(tmp_path, tree, line="awk -f report data.txt") == {"awk", "/app/report", "date"}


def test_a_command_of_a_program_holds_programs_of_other_languages(tmp_path: Path) -> None:
    tree = {
        "/app/a.sh": '#755 #!/bin/sh\nawk \'BEGIN { system("awk \\"BEGIN { print | \\\\\\"wc\\\\\\" }\\"") }\'',
    }
    assert files(tmp_path, tree, "/app/a.sh") == {"awk", "wc"}


def test_included_loaded_and_read_files_stay(tmp_path: Path) -> None:
    tree = {
        "/app/a.awk": '@include "lib/own"\n@include "join"\nBEGIN { while ((getline line < "words.txt") > 0) n++ }',
        "/app/lib/own.awk": '@load "readdir"\nfunction f() { print | "sort" }',
        "/app/words.txt": "a",
        "/app/other.txt": "a",
        "/usr/share/awk/join.awk": '@load "ordchr"\nfunction j() { system("id") }',
        "/usr/share/awk/passwd.awk": 'function p() { system("git") }',
        "/usr/lib/x86_64-linux-gnu/gawk/readdir.so": "",
        "/usr/lib/x86_64-linux-gnu/gawk/ordchr.so": "",
        "/usr/lib/x86_64-linux-gnu/gawk/fork.so": "",
    }
    unused = {"/app/other.txt", "/usr/share/awk/passwd.awk", "/usr/lib/x86_64-linux-gnu/gawk/fork.so", "/app/a.awk"}
    assert files(tmp_path, tree, "/app/a.awk") == {*tree} - unused | {"sort", "id"}


def test_a_file_of_gawks_library_speaks_only_where_something_includes_it(tmp_path: Path) -> None:
    tree = {"/usr/share/awk/passwd.awk": 'function p() { system("git") }'}
    assert files(tmp_path, tree, "/usr/share/awk/passwd.awk") == set()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("awk", "{ x }", "file"), [Code("awk", "{ x }")]),
        (("awk", "-F", ":", "-vn=1", "-v", 's=a"b', "--", "{ x }", "f"), [Code("awk", 'n = "1"\ns = "a\\"b"\n{ x }')]),
        (("gawk", "-f", "a", "--file=b", "c"), [File("awk", "a"), File("awk", "b")]),
        (("gawk", "-E", "a", "-f", "b"), [File("awk", "a")]),
        (("gawk", "-i", "inplace", "-l", "time", "{ x }"), [Code("awk", '@include "inplace"\n@load "time"\n{ x }')]),
        (("gawk", "--source", "{ x }", "-e", "{ y }", "data"), [Code("awk", "{ x }\n{ y }")]),
        (("awk", "", "{ x }"), [Code("awk", "{ x }")]),
        (("awk", "-f"), []),
        (("awk",), []),
    ],
)
def test_options_of_awk(words: tuple[str, ...], expected: list[object]) -> None:
    assert list(effects(words)) == [Start(words[0]), *expected]
