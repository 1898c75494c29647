"""Node: whole runtime packages by package.json and by what sources load, without what is only for development."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from slimmer.closure.commands.literals import CommandLine
from slimmer.closure.languages.node.imports import Load, scan
from slimmer.closure.languages.node.rule import NodeRule
from slimmer.closure.model import Application
from tests.unit.closures import kept

NODE = "/usr/bin/node"


def grown(tmp: Path, tree: Mapping[str, str | bytes | None], *seeds: str, **more: object) -> set[str]:
    """What stays of a tree beside the interpreter that is in it."""
    return kept(tmp, {NODE: "", **tree}, NODE, *seeds, rules=(NodeRule,), **more) - {NODE}


def package(**fields: object) -> str:
    return json.dumps(fields)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import a, {b} from 'm'; import 'n'; export * from './o'", ["m", "n", "./o"]),
        ("const x = require('m'); require.resolve(\"n\")", ["m", "n"]),
        ("if (x) { import('./late.mjs').then(f) }", ["./late.mjs"]),
        ("createRequire(import.meta.url)('m')", ["m"]),
        ("// require('m')\n/* import 'n' */ 'require(\"o\")'", []),
        ("require(`./a`); require('./b' + '/c')", ["./a", "./b/c"]),
        ("x.require('m'); foo('m')", []),
    ],
)
def test_loads_that_are_known_whole(source: str, expected: list[str]) -> None:
    assert sorted(load.specifier for load in scan(source.encode()).loads if load.whole) == sorted(expected)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("require('./plugins/' + name)", Load("./plugins/", 1, False)),
        ("import(`./drivers/${kind}.js`)", Load("./drivers/", 1, False)),
        ("require(path.join(__dirname, 'models', file))", Load("./models/", 1, False)),
    ],
)
def test_loads_that_are_known_by_their_beginning(source: str, expected: Load) -> None:
    assert scan(source.encode()).loads == (expected,)


def test_a_load_of_which_nothing_is_known_is_told() -> None:
    assert scan(b"\nrequire(name)").computed == (2,)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("execFile('git', ['log', x])", CommandLine(("git", "log", ""), 1)),
        ("cp.spawnSync('convert', ['a'])", CommandLine(("convert", "a"), 1)),
        ("exec('tar cz . | wc -c', cb)", CommandLine(("tar cz . | wc -c",), 1, True)),
        ("execSync(`date +${f}`)", CommandLine(("date +$UNKNOWN",), 1, True)),
        ("spawn('ls -l', { shell: true })", CommandLine(("ls -l",), 1, True)),
        ("execFile(process.execPath, ['-p', '1'])", CommandLine(("node", "-p", "1"), 1)),
    ],
)
def test_command_lines(source: str, expected: CommandLine) -> None:
    assert scan(b"const cp = require('child_process');" + source.encode()).commands == (expected,)


def test_a_bundle_starts_programs_by_what_it_loads_itself() -> None:
    """A page's scripts in one file match patterns in thousands of places."""
    bundle = "exec('tar cz .');" + "x.exec(y);" * 1000 + f"/*{'x' * 200_000}*/"
    assert scan(bundle.encode()).commands == ()
    assert CommandLine(("tar cz .",), 1, True) in scan(b"require('child_process');" + bundle.encode()).commands
    assert CommandLine(("tar cz .",), 1, True) in scan(bundle[:1000].encode()).commands


def test_packages_stay_whole_with_what_they_depend_on(tmp_path: Path) -> None:
    modules = "/app/node_modules"
    tree: dict[str, str | bytes | None] = {
        "/app/package.json": package(
            dependencies={"a": "1"}, optionalDependencies={"gone": "1"}, devDependencies={"dev": "1"}
        ),
        "/app/server.js": "require('a'); require('dev'); require('fs'); require('node:net')",
        f"{modules}/a/package.json": package(main="lib", dependencies={"b": "1"}, peerDependencies={"@s/c": "1"}),
        f"{modules}/a/lib/index.js": "require('./never-parsed')",
        f"{modules}/a/lib/data.json": "{}",
        f"{modules}/a/build/Release/a.node": "x",
        f"{modules}/a/README.md": "x",
        f"{modules}/a/LICENSE": "x",
        f"{modules}/a/index.d.ts": "x",
        f"{modules}/a/lib/index.js.map": "x",
        f"{modules}/a/test/a.js": "require('assert').ok(1)",
        f"{modules}/a/node_modules/b/package.json": package(version="2"),
        f"{modules}/a/node_modules/b/index.js": "x",
        f"{modules}/b/package.json": package(version="1"),
        f"{modules}/@s/c/package.json": package(),
        f"{modules}/@s/c/index.mjs": "x",
        f"{modules}/dev/package.json": package(),
        f"{modules}/unused/package.json": package(),
    }  # fmt: skip
    out = (
        "README.md",
        ".d.ts",
        ".map",
        "/test/a.js",
        f"{modules}/b/package.json",
        "dev/package.json",
        "unused/package.json",
    )
    expected = {path for path in tree if not path.endswith(out)}
    assert grown(tmp_path, tree, "/app/server.js") == expected


def test_a_package_named_in_a_string_is_loaded_by_somebody(tmp_path: Path) -> None:
    tree: dict[str, str | bytes | None] = {
        "/app/server.js": "app.set('view engine', 'pug'); log('other thing')",
        "/node_modules/pug/package.json": package(),
        "/node_modules/pug/index.js": "x",
        "/node_modules/other/package.json": package(),
    }
    assert grown(tmp_path, tree, "/app/server.js") == {*tree} - {"/node_modules/other/package.json"}


def test_files_of_the_application_are_found_as_node_finds_them(tmp_path: Path) -> None:
    tree: dict[str, str | bytes | None] = {
        "/app/main.js": (
            "require('./a'); require('./dir'); require('./pkg'); new Worker('./w.js');"
            "new URL('./f.wasm', import.meta.url);"
            "fs.readFile(path.join(__dirname, 'data', 'x.txt')); require('./plugins/' + n); fork('./child.js');"
            "require('child_process')"
        ),
        "/app/a.cjs": "require('./b.json')",
        "/app/b.json": "{}",
        "/app/dir/index.js": "",
        "/app/pkg/package.json": package(main="./src/m"),
        "/app/pkg/src/m.js": "",
        "/app/w.js": "",
        "/app/f.wasm": "",
        "/app/data/x.txt": "",
        "/app/plugins/one.js": "",
        "/app/child.js": "",
        "/app/unused.js": "",
    }
    assert grown(tmp_path, tree, "/app/main.js") == {*tree} - {"/app/unused.js"}


def test_shared_directories_links_and_node_path_are_searched(tmp_path: Path) -> None:
    tree: dict[str, str | bytes | None] = {
        "/app/main.js": "require('deb'); require('linked'); require('far')",
        "/usr/share/nodejs/deb/package.json": package(dependencies={"dep": "1"}),
        "/usr/share/nodejs/dep/package.json": package(),
        "/usr/share/nodejs/nodep/package.json": package(),
        "/app/node_modules/linked": "-> ../packages/linked",
        "/app/packages/linked/package.json": package(),
        "/app/packages/linked/main.js": "",
        "/opt/far/index.js": "",
    }
    application = Application(env={"NODE_PATH": "/opt"})
    found = grown(tmp_path, tree, "/app/main.js", application=application)
    assert found == {*tree} - {"/usr/share/nodejs/nodep/package.json"}


def test_nodes_own_library_in_files_stays(tmp_path: Path) -> None:
    tree: dict[str, str | bytes | None] = {
        "/usr/lib/libnode.so.108": b"\x7fELF\0/usr/share/nodejs/acorn/dist/acorn.js\0/usr/share/nodejs/gone/x.js\0",
        "/usr/share/nodejs/acorn/dist/acorn.js": "",
        "/usr/share/nodejs/acorn/package.json": package(),
    }
    found = grown(tmp_path, tree, "/usr/lib/libnode.so.108")
    assert found == {*tree} - {"/usr/share/nodejs/acorn/package.json"}


def test_npm_runs_scripts_of_package_json(tmp_path: Path) -> None:
    tree: dict[str, str | bytes | None] = {
        "/srv/package.json": package(scripts={"start": "tool --x && node ./s.js", "prestart": "date", "test": "id"}),
        "/srv/node_modules/.bin/tool": "-> ../tool/cli.js",
        "/srv/node_modules/tool/cli.js": "#755 x",
        "/usr/bin/date": "#755 x",
        "/usr/bin/id": "#755 x",
        "/srv/s.js": "",
    }
    application = Application(argv=("npm", "start"), workdir="/srv")
    assert grown(tmp_path, tree, application=application) == {*tree} - {"/usr/bin/id"}


@pytest.mark.parametrize("content", ["", "[]", "{", '{"dependencies": []}', '{"main": 3, "imports": {"#x": ["y", 1]}}'])
def test_a_broken_package_json_depends_on_nothing(tmp_path: Path, content: str) -> None:
    tree = {"/app/package.json": content, "/app/node_modules/a/package.json": "{}"}
    assert grown(tmp_path, tree, "/app/package.json") == {"/app/package.json"}


@pytest.mark.parametrize(
    ("interpreter", "runs"),
    [
        ("/usr/bin/node", True),
        ("/usr/bin/node-20", True),
        ("/root/.bun/bin/bun", True),
        ("/usr/lib/x86_64-linux-gnu/libnode.so.108", True),
        ("/usr/lib/libmozjs-102.so.0", True),
        ("/opt/shop/v8_context_snapshot.bin", True),
        ("/usr/bin/ruby3.1", False),
        ("/usr/lib/libnodes.txt", False),
    ],
)
def test_sources_say_nothing_where_nothing_that_stays_runs_them(tmp_path: Path, interpreter: str, runs: bool) -> None:
    """A Ruby gem with a page's scripts, or with what compiles them: the interpreter alone makes them speak."""
    tree: dict[str, str | bytes | None] = {
        interpreter: "",
        "/gems/pages/page.js": "require('widgets')",
        "/gems/pages/package.json": package(dependencies={"a": "1"}),
        "/gems/pages/node_modules/a/package.json": package(name="a"),
        "/usr/share/nodejs/widgets/package.json": package(name="widgets"),
    }
    asked = {"/gems/pages/node_modules/a/package.json", "/usr/share/nodejs/widgets/package.json"}
    first = ("/gems/pages/page.js", "/gems/pages/package.json", interpreter)
    for at, seeds in enumerate((first, first[::-1])):  # whatever comes first
        found = kept(tmp_path / str(at), tree, *seeds, rules=(NodeRule,))
        assert (asked <= found, asked & found) == ((True, asked) if runs else (False, set()))
