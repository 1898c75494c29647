"""JavaScript: command lines of templates, other names of a function, fields of objects, destructured lists."""

from __future__ import annotations

import pytest

from slimmer.closure.languages.node.imports import scan, scan_together


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("const run = promisify(exec); await run(`tac ${x}`)", ("tac $UNKNOWN",)),
        ("const run = util.promisify(cp.execFile); run('comm', [x, 'y'])", ("comm", "", "y")),
        ("const c = `paste ${x}`; execSync(c)", ("paste $UNKNOWN",)),
        ("const p = 'fold'; spawn(p, [x])", ("fold", "")),
        ("const T = { lines: 'nl' }; spawn(T.lines, [x])", ("nl", "")),
        ("const T = { lines: 'nl', other: 'rev' }; spawn(T[kind], [x])", ("rev", "")),
        ("spawn(process.env.E || 'expand', [x])", ("expand", "")),
        ("spawn(process.env.E ?? 'expand')", ("expand",)),
        ("const [n, ...rest] = 'unexpand -a'.split(' '); spawn(n, rest)", ("unexpand",)),
        ("spawn('sh', ['-c', `join ${x} ${x}`])", ("sh", "-c", "join $UNKNOWN $UNKNOWN")),
        ("exec('pr ' + x)", ("pr $UNKNOWN",)),
        ("exec(['tac', '-b', x].join(' '))", ("tac -b $UNKNOWN",)),
        ("const a = ['-b']; spawn('tac', [...a, '-r'])", ("tac", "-b", "-r")),
        ("import { exec as sh } from 'child_process'; sh('tac x | wc')", ("tac x | wc",)),
        ("const { spawn: start } = require('child_process'); start('tac', ['x'])", ("tac", "x")),
        ("class A { tool = 'tac'; go() { cp.spawn(this.tool, ['x']) } }", ("tac", "x")),
        ("class A { constructor() { this.t = 'tac' } go() { spawn(this.t) } }", ("tac",)),
        ("function f(tool = 'tac') { spawn(tool, ['x']) }", ("tac", "x")),
        ("spawn(x ? 'tac' : 'rev')", ("rev",)),
        ("cp.exec('set -e; tac x')", ("set -e; tac x",)),
        ("cp.execSync('select x | tac')", ("select x | tac",)),
        ("spawn('tac x | wc', { shell: true })", ("tac x | wc",)),
        ("spawn(path.join('/opt', 'tac'))", ("/opt/tac",)),
        ("spawn(process.execPath, ['-e', '1'])", ("node", "-e", "1")),
    ],
)
def test_what_is_started_is_known(source: str, expected: tuple[str, ...]) -> None:
    found = scan(b"import 'node:child_process';\n" + source.encode())
    assert expected in [each.words for each in found.commands]


@pytest.mark.parametrize("call", ["db.exec('CREATE TABLE a (b)')", "/a(b)/.exec('a b')", "db.exec(`PRAGMA x = ${y}`)"])
def test_statements_and_patterns_start_nothing(call: str) -> None:
    assert scan(f"const db = require('better-sqlite3')('x');\n{call};\n".encode()).commands == ()


def test_a_name_that_nothing_tells_is_said_to_be_computed() -> None:
    found = scan(b"const cp = require('child_process');\ncp.spawn(x.y());\nfoo.exec(text);\n")
    assert found.starting == (2,), "a pattern's exec starts nothing"


def test_sources_of_an_application_are_read_together() -> None:
    sources = {
        "/a/settings.js": b"module.exports = {GIT: process.env.GIT || 'git', FMT: {text: 'fmt'}};",
        "/a/package.json": b'{"scripts": {"report": "sort -u a | uniq -c"}}',
        "/a/sh.js": (
            b"const cp = require('child_process');\nconst run = (tool, ...a) => cp.execFileSync(tool, a);\n"
            b"function pipe(line) { return cp.execSync(line); }\nclass J { go(cmd) { cp.spawn(cmd); } }\n"
            b"cp.spawnSync(unknown);\n"
        ),
        "/a/main.js": (
            b"const {run, pipe} = require('./sh'); const S = require('./settings');\nconst line = (x) => `tac ${x}`;\n"
            b"run(S.GIT, '--version'); run(S.FMT.text); pipe(`cut -c1 ${x}`); new J().go('nproc');\n"
            b"pipe(require('./package.json').scripts.report); pipe(line(y));\n"
        ),
    }
    found = scan_together([*sources.items()])
    assert {*found} == {"/a/sh.js"}
    words = {each.words for each in found["/a/sh.js"].commands}
    assert {each[0] for each in words if len(each) > 1 or " " not in each[0]} >= {"git", "fmt", "nproc"}
    assert words >= {("git", "--version"), ("cut -c1 $UNKNOWN",), ("sort -u a | uniq -c",), ("tac $UNKNOWN",)}
    assert found["/a/sh.js"].starting == (5,)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import {$} from 'zx';\nawait $`tac ${x} | wc`", ("tac $UNKNOWN | wc",)),
        ("import {$} from 'execa';\n$({cwd})`x`; execa.$`rev y`", ("rev y",)),
    ],
)
def test_templates_are_command_lines(source: str, expected: tuple[str, ...]) -> None:
    assert expected in [each.words for each in scan(source.encode()).commands]
