"""PHP sources by their syntax: includes that are put together, and commands in every ordinary form."""

from __future__ import annotations

import pytest

from slimmer.closure.languages.php.syntax import scan


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("require 'a.php';", "a.php"),
        ("require_once __DIR__ . '/lib/a.php';", "/app/src/lib/a.php"),
        ('include(dirname(__FILE__) . "/a.php");', "/app/src/a.php"),
        ("include dirname(__DIR__, 1) . '/a.php';", "/app/a.php"),
        ("require dirname(dirname(__FILE__)) . DIRECTORY_SEPARATOR . 'a.php';", "/app/a.php"),
        ("define('ROOT', __DIR__ . '/core'); require ROOT . '/a.php';", "/app/src/core/a.php"),
        ("class A { const HOME = '/opt/a'; function f() { return include self::HOME . '/b.php'; } }", "/opt/a/b.php"),
        ("$base = '/srv'; include \"$base/a.php\";", "/srv/a.php"),
        ('include "{$dir}/parts/$name.php";', "$UNKNOWN/parts/$UNKNOWN.php"),
        ("$x = 'a'; $x = 'b'; include $x . '.php';", "$UNKNOWN.php"),
        ("// include 'no.php';\n# require 'no.php';\n/* require 'no.php'; */", None),
        ("$text = \"include 'no.php'\";", None),
        ("include $all;", None),
    ],
)
def test_includes(code: str, expected: str | None) -> None:
    found = [each.text for each in scan(f"<?php\n{code}\n".encode(), "/app/src/x.php").includes]
    assert found == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("exec('git log', $out);", ("git log", True)),
        ("$r = `uname -s | tr a b`;", ("uname -s | tr a b", True)),
        ("system('convert ' . escapeshellarg($a) . ' x.png');", ("convert $UNKNOWN x.png", True)),
        ('shell_exec("convert $a x.png");', ("convert $UNKNOWN x.png", True)),
        ("passthru(<<<CMD\ngit log $x\nCMD\n);", ("git log $UNKNOWN", True)),
        ("popen(<<<'CMD'\ngit log\nCMD\n, 'r');", ("git log", True)),
        ("proc_open(['git', 'log', $x], [], $pipes);", ("git log ", False)),
        ("Process::fromShellCommandline('git log | cat');", ("git log | cat", True)),
        (
            "class A { private string $tool = 'convert'; function f() { exec($this->tool . ' x'); } }",
            ("convert x", True),
        ),
        ("const TOOL = '/usr/bin/git'; exec(sprintf('%s log %d', TOOL, 3));", ("/usr/bin/git log $UNKNOWN", True)),
        ("exec(sprintf('git -C %s log', $d));", ("git -C $UNKNOWN log", True)),
        ("exec(implode(' ', ['git', 'log', $x]));", ("git log $UNKNOWN", True)),
        ("exec($command);", ("", True)),
        ("proc_open([$tool, 'log'], [], $pipes);", None),
        ("$base->exec($statement);", None),
        ("$base->exec('create table if not exists notes (text text)');", None),
        ('Db::exec("SELECT 1");', None),
        ("$shell->exec('git log');", ("git log", True)),
        ("Process::fromShellCommandline('set x; git log');", ("set x; git log", True)),
        ("$shell->exec('set -e; git log');", ("set -e; git log", True)),
        ("$text = 'exec(\"git\")';", None),
    ],
)
def test_commands(code: str, expected: tuple[str, bool] | None) -> None:
    found = [(" ".join(each.words), each.shell) for each in scan(f"<?php\n{code}\n".encode(), "/app/x.php").commands]
    assert [(text.strip("\n"), shell) for text, shell in found] == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("new Process(['git', 'log']);", [("git", "log")]),
        ("new \\Symfony\\Component\\Process\\Process(['git']);", [("git",)]),
        ("new Process([$tool, 'log']);", []),
    ],
)
def test_symfony_hands_what_it_starts_to_a_shell(code: str, words: list[tuple[str, ...]]) -> None:
    found = scan(f"<?php\n{code}\n".encode(), "/app/x.php").commands
    assert [(each.words, each.shell) for each in found] == [(("",), True), *((each, False) for each in words)]


def test_a_template_has_its_lines() -> None:
    found = scan(b"<html>\n<?php if ($a): ?>\n<p><?= `git log` ?></p>\n<?php include 'a.php'; endif ?>", "/app/x.phtml")
    assert ([each.line for each in found.commands], [each.line for each in found.includes]) == ([3], [4])
