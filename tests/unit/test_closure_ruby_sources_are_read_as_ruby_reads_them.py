"""Commands and files that a Ruby source puts together, from its syntax tree."""

from __future__ import annotations

import pytest

from slimmer.closure.commands.literals import CommandLine
from slimmer.closure.languages.ruby.syntax import scan
from slimmer.closure.languages.tokens import UNKNOWN

HERE = "/srv/app/lib/main.rb"


@pytest.mark.parametrize(
    ("source", "words", "shell"),
    [
        ('system("git log")', ("git log",), True),
        ('system("git", "log", chdir: "/x")', ("git", "log"), False),
        ('system({"A" => "b"}, "git", *args)', ("git", ""), False),
        ('Process.spawn(ENV.to_h, "nice", "true", [:out, :err] => "/dev/null")', ("nice", "true"), False),
        ("`date #{x}`", (f"date {UNKNOWN}",), True),
        ("%x(ls -l | sort)", ("ls -l | sort",), True),
        ('Open3.capture2("jq", ".")', ("jq", "."), False),
        ('IO.popen(["tac", "x"], "r")', ("tac", "x"), False),
        ('IO.popen("tac x", "w") { |io| io }', ("tac x",), True),
        ('TOOL = "rsvg-" + "convert"\nspawn TOOL, "a"', ("rsvg-convert", "a"), False),
        ('TOOL = "gs".freeze\nsystem "#{TOOL} -q"', ("gs -q",), True),
        ("cmd = %w[gs -q]\nsystem(*cmd)", ("gs", "-q"), False),
        ('system(%w[gs -q].join(" "))', ("gs -q",), True),
        ("exec <<~SH\n  convert a.png #{b}\nSH\n", (f"\n  convert a.png {UNKNOWN}\n",), True),
        ('Kernel.exec("a" "b", "c")', ("ab", "c"), False),
    ],
)
def test_a_command_is_put_together(source: str, words: tuple[str, ...], shell: bool) -> None:
    line = source.count("\n", 0, max(source.find(each) for each in ("system", "spawn", "exec"))) + 1
    assert scan(source.encode(), HERE).commands == [CommandLine(words, max(1, line), shell)]


def test_each_part_of_a_pipeline_is_a_command() -> None:
    found = scan(b'Open3.pipeline("sort x", ["uniq", "-c"])', HERE).commands
    assert found == [CommandLine(("sort x",), 1, True), CommandLine(("uniq", "-c"), 1)]


@pytest.mark.parametrize(
    "source",
    [
        "system(command)",  # nothing of it is known
        'x = "a"\nx = "b"\nsystem(x)',  # either
        '# system("git")',
        "puts 'system(\"git\")'",
        'host.system("git")',  # somebody else's method
        '"spawn"',
        'redis.exec("get")',
    ],
)
def test_what_is_no_command_or_not_known_is_none(source: str) -> None:
    assert scan(source.encode(), HERE).commands == []


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ('require File.join(__dir__, "parts", "x")', "/srv/app/lib/parts/x"),
        ('require File.expand_path("../../config/y", __FILE__)', "/srv/app/config/y"),
        ('require_relative "a/" + "b"', "/srv/app/lib/a/b"),
        ('BASE = File.dirname(__FILE__)\nload "#{BASE}/../z.rb"', "/srv/app/z.rb"),
        ('autoload :Tool, File.join(File.expand_path("..", __dir__), "tool")', "/srv/app/tool"),
    ],
)
def test_a_file_to_load_is_put_together(source: str, path: str) -> None:
    assert [each.text for each in scan(source.encode(), HERE).required] == [path]


def test_names_as_they_stand_and_unknown_ones_are_left_to_the_load_path() -> None:
    source = b'require "json"\nrequire_relative "x"\nrequire File.join(base, "x")\nrequire "#{name}/y"\nsystem "ls"'
    assert scan(source, HERE).required == []
