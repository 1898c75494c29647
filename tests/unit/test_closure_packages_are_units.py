"""A distribution, package or gem stays whole or not at all: commands, data, test suites, other systems' binaries."""

from __future__ import annotations

import json
import os
import posixpath
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest

from slimmer.closure.languages.node.rule import NodeRule
from slimmer.closure.languages.python.rule import PythonRule
from slimmer.closure.languages.registry import LANGUAGE_RULES, language_rules
from slimmer.closure.languages.ruby.gems import Gem, binstubs, executables
from slimmer.closure.languages.suites import is_suite
from slimmer.closure.model import Application, Level, Rule
from slimmer.closure.ownership.application import ApplicationRule
from slimmer.closure.profiles.load import shipped
from slimmer.closure.recorded import RecordedRule
from slimmer.closure.worklist import Closure, grow
from slimmer.packages.index import index
from slimmer.root.directory import DirectoryRoot
from tests.support import plant
from tests.unit.profiles_support import Deb, debian
from tracer.recording import Access, Kind, Recording, collect

Tree = Mapping[str, str | bytes | None]
SITE = "/opt/v/lib/python3.11/site-packages"
PYTHON: dict[str, str | bytes | None] = {
    "/usr/bin/python3.11": "#755 \x7fELF",
    "/usr/lib/python3.11/os.py": "",
    "/usr/lib/python3.11/distutils/__init__.py": "",
    "/usr/lib/python3.11/distutils/util.py": "",
    "/opt/v/pyvenv.cfg": "home = /usr/bin",
    "/opt/v/bin/python3.11": "-> /usr/bin/python3.11",
}


def wheel(name: str, files: Mapping[str, str], **metadata: str) -> dict[str, str | bytes | None]:
    """The files of an installed wheel, named relative to its site directory, with its RECORD."""
    info = f"{SITE}/{name}-1.dist-info"
    found: dict[str, str | bytes | None] = {}
    for path, text in files.items():
        up = path.count("../")
        base = SITE.rsplit("/", up)[0] if up else SITE
        found[f"{base}/{path.replace('../', '')}"] = text
    found[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n"
    found.update({f"{info}/{key}": value for key, value in metadata.items()})
    found[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*files, f"{name}-1.dist-info/METADATA"))
    return found


def grown(tmp: Path, tree: Tree, seen: Mapping[str, Kind], *rules: Rule, workdir: str = "/") -> Closure:
    if any(isinstance(each, NodeRule) for each in rules):
        tree, seen = {"/usr/bin/node": "", **tree}, {"/usr/bin/node": Kind.EXEC, **seen}
    root = DirectoryRoot(str(plant(tmp / "root", tree)))
    recording = Recording(
        collect([Access(path, frozenset({kind}), frozenset()) for path, kind in seen.items()]), architecture="x86_64"
    )
    application = Application(workdir=workdir)
    return grow(root, recording, index(root), application, [RecordedRule(), *rules], highest=Level.REACHABLE)


def python(tmp: Path, tree: Tree, seen: Mapping[str, Kind]) -> Closure:
    rules = (ApplicationRule(shipped()), PythonRule())
    touched = {"/usr/bin/python3.11": Kind.EXEC, "/opt/v/pyvenv.cfg": Kind.READ, **seen}
    return grown(tmp, {**PYTHON, **tree}, touched, *rules)


STUDIO = wheel(
    "studio",
    {
        "studio/__init__.py": "",
        "studio/main.py": "def main(): pass",
        "studio_worker.py": "import json",
        "../../../bin/studio": "#755 #!/opt/v/bin/python3.11\nfrom studio.main import main",
        "../../../bin/studio-export": "#755 #!/opt/v/bin/python3.11\nfrom studio.main import main",
        "../../../share/studio/templates/page.txt": "page",
        "../../../share/man/man1/studio.1": "manual",
        "../../../etc/studio/studio.conf": "x",
    },
)


@pytest.mark.parametrize("bulk", [0, 1 << 10])
def test_the_wheel_whose_command_runs_keeps_all_its_parts(tmp_path: Path, bulk: int) -> None:
    found = python(tmp_path, {**STUDIO, f"{SITE}/bulk.bin": "b" * bulk}, {"/opt/v/bin/studio": Kind.EXEC}).paths
    expected = {path for path in STUDIO if "/share/man/" not in path}
    assert expected <= set(found)
    assert "/opt/v/share/man/man1/studio.1" not in found


def test_a_distribution_that_nothing_uses_leaves_nothing_behind(tmp_path: Path) -> None:
    tree = {
        **STUDIO,
        **wheel("pip", {"pip/__init__.py": "", "pip/_vendor/x/__init__.py": "", "../../../bin/pip": "#755 x"}),
        **wheel("somelib", {"somelib/__init__.py": "try:\n  import pip\nexcept ImportError: pass\n"}),
        f"{SITE}/loose/data.txt": "the application's own, by no wheel",
        "/opt/v/empty": None,
    }
    seen = {
        "/opt/v/bin/studio": Kind.EXEC,
        f"{SITE}/somelib/__init__.py": Kind.READ,
        SITE: Kind.LIST,
        f"{SITE}/pip": Kind.LIST,  # pkgutil.iter_modules comes by
        f"{SITE}/pip/_vendor": Kind.STAT,
    }
    found = set(python(tmp_path, tree, seen).paths)
    assert not {path for path in found if "/pip" in path}
    assert {f"{SITE}/somelib/__init__.py", f"{SITE}/loose/data.txt", "/opt/v/empty"} <= found


def test_a_directory_of_a_package_in_use_stays_as_the_run_saw_it(tmp_path: Path) -> None:
    tree = wheel("kit", {"kit/__init__.py": "", "kit/plugins/a.txt": "a"})
    seen = {f"{SITE}/kit/__init__.py": Kind.READ, f"{SITE}/kit/plugins": Kind.LIST}
    found = grown(tmp_path, {**PYTHON, **tree}, seen)
    assert f"{SITE}/kit/plugins" in found.paths


SETUPTOOLS = {
    **wheel(
        "setuptools",
        {
            "setuptools/__init__.py": "",
            "setuptools/_distutils/__init__.py": "",
            "setuptools/_distutils/util.py": "",
            "pkg_resources/__init__.py": "",
            "_distutils_hack/__init__.py": "def f(i):\n  i.import_module('setuptools._distutils')",
            "distutils-precedence.pth": "import os; enabled = 1; enabled and __import__('_distutils_hack').add()",
        },
    )
}


@pytest.mark.parametrize(
    ("source", "stays"),
    [
        ("import json", False),
        ("import distutils", True),
        ("def f():\n  import distutils.util", True),
        ("def f():\n  from distutils.util import strtobool", True),
        ("def f():\n  from distutils import util", True),
        ("import pkg_resources", True),
        ("import setuptools", True),
    ],
)
def test_what_a_pth_redirects_to_stays_when_it_is_asked_for(tmp_path: Path, source: str, stays: bool) -> None:
    tree = {**SETUPTOOLS, "/app/t.py": source}
    seen = {"/app/t.py": Kind.READ, f"{SITE}/distutils-precedence.pth": Kind.READ}
    found = python(tmp_path, tree, seen).paths
    assert (f"{SITE}/setuptools/_distutils/util.py" in found) is stays
    assert (f"{SITE}/pkg_resources/__init__.py" in found) is stays
    assert (f"{SITE}/setuptools" in found) is stays
    assert f"{SITE}/_distutils_hack/__init__.py" in found


DIST = "/usr/lib/python3/dist-packages"


@pytest.mark.parametrize(("depends", "stays"), [("", False), ("python3-rest", True), ("middle", True)])
def test_a_distribution_that_system_packages_divide_stays_as_they_require_each_other(
    depends: str, stays: bool, tmp_path: Path
) -> None:
    info = f"{DIST}/tools-1.egg-info"
    used = {
        f"{DIST}/resources/__init__.py": "",
        f"{info}/PKG-INFO": "Metadata-Version: 2.1\nName: tools\nVersion: 1\n",
        f"{info}/top_level.txt": "resources\ntools\n",
    }
    rest: dict[str, str | bytes | None] = {f"{DIST}/tools/__init__.py": "", f"{DIST}/tools/build.py": ""}
    packages = {
        "python3-used": Deb(used, {"Depends": depends} if depends else {}),
        "python3-rest": Deb(rest, {"Depends": "python3-used"}),
        "middle": Deb({"/usr/share/middle": "x"}, {"Depends": "python3-rest"}),
    }
    for which in "ab":
        debian(tmp_path / which / "root", packages)
    tree: Tree = {"/app/t.py": "import resources"}
    paths = python(tmp_path / "a", tree, {"/app/t.py": Kind.READ}).paths
    assert set(used) <= set(paths)
    assert (f"{DIST}/tools/build.py" in paths) is stays
    assert (f"{DIST}/tools" in paths) is stays, "an empty directory imports as a namespace"
    paths = python(tmp_path / "b", {"/app/t.py": "import resources, tools"}, {"/app/t.py": Kind.READ}).paths
    assert {*rest} <= set(paths)


def test_only_the_distribution_of_a_shared_namespace_that_holds_the_module_stays(tmp_path: Path) -> None:
    tree = {
        **wheel("ns-a", {"ns/a/__init__.py": "", "ns/a_types/__init__.py": ""}),
        **wheel("ns-b", {"ns/b/__init__.py": ""}),
        "/app/t.py": "import ns.a",
    }
    found = set(python(tmp_path, tree, {"/app/t.py": Kind.READ}).paths)
    assert {f"{SITE}/ns/a/__init__.py", f"{SITE}/ns/a_types/__init__.py", f"{SITE}/ns-a-1.dist-info/METADATA"} <= found
    assert not {path for path in found if "ns-b" in path or "/ns/b" in path}


@pytest.mark.parametrize(
    "line",
    [
        "__path__ = __import__('pkgutil').extend_path(__path__, __name__)",
        "__import__('pkg_resources').declare_namespace(__name__)",
    ],
)
def test_a_package_in_several_places_is_found_in_each(tmp_path: Path, line: str) -> None:
    other = "/usr/lib/python3/dist-packages"
    tree = {
        f"{SITE}/ns/__init__.py": line,
        f"{SITE}/ns/a.py": "",
        f"{other}/ns/__init__.py": line,
        f"{other}/ns/b.py": "",
        "/app/t.py": "import ns.b",
    }
    assert f"{other}/ns/b.py" in python(tmp_path, tree, {"/app/t.py": Kind.READ}).paths


@pytest.mark.parametrize(
    ("files", "suite"),
    [
        ({"odd.py": "def apply(n): return n % 2"}, False),
        ({"__init__.py": "", "core.py": "class TestModule:\n    def tests(self): return {}"}, False),
        ({"data/sample.csv": "a,b"}, False),
        ({"index.js": "module.exports = function isTest(node) {}"}, False),
        ({"helper.rb": "module Helper; end"}, False),
        ({"test_main.py": ""}, True),
        ({"unit/deep/test_main.py": ""}, True),
        ({"main_test.py": ""}, True),
        ({"conftest.py": ""}, True),
        ({"checks.py": "import os\nimport unittest\n"}, True),
        ({"all.py": "from pytest import mark"}, True),
        ({"index.js": "var test = require('tape')\n"}, True),
        ({"index.js": "import test from 'node:test'\n"}, True),
        ({"basic.js": "describe('it', () => {})"}, True),
        ({"a.spec.ts": ""}, True),
        ({"thing_spec.rb": ""}, True),
        ({"run.rb": 'require "minitest/autorun"'}, True),
        ({"ThingTest.php": ""}, True),
        ({".mocharc.json": "{}"}, True),
    ],
)  # fmt: skip
def test_a_suite_is_told_by_its_files_and_not_by_its_name(tmp_path: Path, files: Tree, suite: bool) -> None:
    plant(tmp_path / "root", {f"/p/test/{name}": text for name, text in files.items()})
    assert is_suite("/p/test", DirectoryRoot(str(tmp_path / "root"))) is suite


def test_plugins_of_a_kind_called_test_stay_and_a_suite_does_not(tmp_path: Path) -> None:
    tree = wheel(
        "engine",
        {
            "engine/__init__.py": "",
            "engine/plugins/test/__init__.py": "",
            "engine/plugins/test/odd.py": "def apply(n): return n",
            "engine/tests/test_it.py": "import unittest",
            "engine/tests/helpers.py": "DATA = 'numbers.csv'",
            "engine/tests/numbers.csv": "1",
        },
    )
    tree["/app/t.py"] = "import engine"
    found = python(tmp_path / "1", tree, {"/app/t.py": Kind.READ})
    assert f"{SITE}/engine/plugins/test/odd.py" in found.paths
    assert not {path for path in found.paths if "/engine/tests" in path}
    assert (f"{SITE}/engine/tests", "test suites of packages") in {(each.path, each.why) for each in found.left_out}
    tree["/app/t.py"] = "import engine.tests.helpers"
    paths = python(tmp_path / "2", tree, {"/app/t.py": Kind.READ}).paths
    assert {f"{SITE}/engine/tests/helpers.py", f"{SITE}/engine/tests/numbers.csv"} <= set(paths)
    assert f"{SITE}/engine/tests/test_it.py" not in paths


def elf(machine: int) -> bytes:
    return b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HH", 3, machine) + bytes(64)


PLATFORMS = ("linux-x64", "linux-arm64", "darwin-x64", "win32-x64")
PORTABLE_EXE = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + bytes(20) + b"\x0b\x02" + bytes(110 + 15 * 8)


def test_binaries_that_no_process_here_can_load_are_left_out(tmp_path: Path) -> None:
    top = "/app/node_modules/native"
    tree: Tree = {
        "/app/server.js": "require('native')",
        f"{top}/package.json": '{"name": "native", "version": "1", "main": "index.js", "bin": {"nat": "cli.js"}}',
        f"{top}/index.js": "",
        f"{top}/cli.js": "#755 #!/usr/bin/env node",
        "/app/node_modules/.bin/nat": "-> ../native/cli.js",
        f"{top}/prebuilds/linux-x64/n.node": elf(62),
        f"{top}/prebuilds/linux-arm64/n.node": elf(183),
        f"{top}/prebuilds/darwin-x64/n.node": b"\xcf\xfa\xed\xfe" + bytes(60),
        f"{top}/prebuilds/win32-x64/n.node": PORTABLE_EXE,
        f"{top}/lib/history.js": "",
        # A way in for each platform, as bundlers need them, names the addon of its own.
        **{f"{top}/lib/{name}.js": f"require('../prebuilds/{name}/n.node')" for name in PLATFORMS},
        f"{top}/README.md": "",
        f"{top}/src/n.cc": "",
        f"{top}/index.js.map": "{}",
    }
    found = grown(tmp_path, tree, {"/app/server.js": Kind.READ}, NodeRule(), workdir="/app")
    files = {path for path in found.paths if path in tree and path != "/app/server.js"}
    assert files == {
        f"{top}/package.json",
        f"{top}/index.js",
        f"{top}/cli.js",
        f"{top}/lib/history.js",
        *(f"{top}/lib/{name}.js" for name in PLATFORMS),
        f"{top}/prebuilds/linux-x64/n.node",
        "/app/node_modules/.bin/nat",
    }


@pytest.mark.parametrize(
    ("size", "loaded", "field", "stays"),
    [
        (60_000_000, False, "optionalDependencies", False),
        (60_000_000, True, "optionalDependencies", True),
        (60_000_000, False, "dependencies", True),
        (9_000_000, False, "optionalDependencies", True),
    ],
)
def test_a_large_optional_addon_stays_when_the_run_loaded_it(
    size: int, loaded: bool, field: str, stays: bool, tmp_path: Path
) -> None:
    addon = "/app/node_modules/@build/linux-x64/compiler.node"
    tree: Tree = {
        "/app/package.json": '{"dependencies": {"front": "1"}}',
        "/app/server.js": "require('front')",
        "/app/node_modules/front/package.json": json.dumps({"name": "front", field: {"@build/linux-x64": "1"}}),
        "/app/node_modules/front/index.js": "",
        "/app/node_modules/@build/linux-x64/package.json": '{"name": "@build/linux-x64", "version": "1"}',
    }
    place = tmp_path / "root" / addon[1:]
    place.parent.mkdir(parents=True)
    place.write_bytes(elf(62))
    os.truncate(place, size)  # a hole, which takes no room
    seen = {"/app/server.js": Kind.READ, **({addon: Kind.READ} if loaded else {})}
    found = grown(tmp_path, tree, seen, ApplicationRule(shipped()), NodeRule(), workdir="/app")
    assert (addon in found.paths) is stays
    told = [each.text for each in found.warnings if each.kind == "node"]
    text = f"@build/linux-x64, an optional addon of {size:,} bytes, was not loaded and stays out;"
    text += " --include /app/node_modules/@build/linux-x64 keeps it"
    assert told == ([] if stays else [text])
    assert bool([each for each in found.left_out if each.path == posixpath.dirname(addon)]) is not stays


def test_a_message_catalogue_stays_as_it_is_read(tmp_path: Path) -> None:
    """The source is for translators where the compiled one lies beside it; where it does not, a program may read it."""
    names = ["a/LC_MESSAGES/x.po", "a/LC_MESSAGES/x.mo", "b/LC_MESSAGES/x.po", "a/notes.po"]
    files = {"frame/__init__.py": "", **{f"frame/{name}": "x" for name in names}}
    tree: Tree = {"/app/main.py": "import frame\n", **wheel("frame", files)}
    found = python(tmp_path, tree, {"/app/main.py": Kind.READ})
    assert {name for name in names if f"{SITE}/frame/{name}" in found.paths} == {*names[1:]}


def test_source_maps_stay_for_what_translates_stack_traces_by_them(tmp_path: Path) -> None:
    top = "/app/node_modules/a"
    tree: Tree = {
        "/app/server.js": "require('a')",
        f"{top}/package.json": '{"name": "a", "version": "1"}',
        f"{top}/index.js": "",
        f"{top}/index.js.map": "{}",
        "/app/node_modules/source-map-support/package.json": '{"name": "source-map-support", "version": "1"}',
        "/app/node_modules/source-map-support/index.js": "",
    }
    seen = {"/app/server.js": Kind.READ, "/app/node_modules/source-map-support/index.js": Kind.READ}
    assert f"{top}/index.js.map" in grown(tmp_path, tree, seen, NodeRule(), workdir="/app").paths


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('s.executables = ["rails".freeze]', ["rails"]),
        ('  s.executables   = ["puma", "pumactl"]', ["puma", "pumactl"]),
        ('s.executables << "x"', []),
        ("s.name = 'x'", []),
    ],
)
def test_a_gemspec_names_its_commands(text: str, names: list[str]) -> None:
    assert executables(text) == names


def test_binstubs_lie_in_the_gem_home_and_in_path(tmp_path: Path) -> None:
    home, stub = "/usr/local/bundle", "#755 #!/usr/bin/env ruby\n"
    tree = {f"{home}/bin/pumactl": stub, "/usr/bin/pumactl": stub, "/usr/local/bin/pumactl": "#755 #!/bin/sh\n"}
    root = DirectoryRoot(str(plant(tmp_path / "root", tree)))
    gem = Gem("puma", "6", f"{home}/specifications/puma-6.gemspec", f"{home}/gems/puma-6", "puma-6")
    found = [*binstubs(gem, 's.executables = ["pumactl"]', root)]
    assert found == [f"{home}/bin/pumactl", "/usr/bin/pumactl"]


def test_every_rule_of_a_language_is_made_with_the_profiles_of_the_closure() -> None:
    assert len(language_rules(shipped())) == len(LANGUAGE_RULES)


def test_a_test_beside_the_code_stays_out_with_what_it_starts(tmp_path: Path) -> None:
    tree = wheel(
        "curve",
        {
            "curve/__init__.py": "",
            "curve/keys.py": "",
            "curve/test_keys.py": "import subprocess\nimport unittest\nsubprocess.run(['openssl', 'version'])\n",
            "curve/__pycache__/test_keys.cpython-311.pyc": "",
            "curve/test_vectors.py": "VECTORS = ()\n",
            "curve/shared_test.py": "import pytest\n",
            "curve/selftest.py": "from . import shared_test\n",
        },
    )
    seen = {f"{SITE}/curve/__init__.py": Kind.READ}
    found = set(python(tmp_path, {**tree, "/usr/bin/openssl": "#755 \x7fELF"}, seen).paths)
    here = f"{SITE}/curve"
    assert {f"{here}/keys.py", f"{here}/test_vectors.py", f"{here}/shared_test.py"} <= found
    assert not {f"{here}/test_keys.py", f"{here}/__pycache__/test_keys.cpython-311.pyc", "/usr/bin/openssl"} & found


def test_declarations_stay_out_but_those_that_a_type_checker_reads(tmp_path: Path) -> None:
    files = {"checker/__init__.py": "", "checker/api.pyi": "", "checker/typeshed/stdlib/abc.pyi": ""}
    found = python(tmp_path, wheel("checker", files), {f"{SITE}/checker/__init__.py": Kind.READ}).paths
    assert f"{SITE}/checker/typeshed/stdlib/abc.pyi" in found
    assert f"{SITE}/checker/api.pyi" not in found


def test_what_builds_addons_stays_out_with_the_python_that_it_is_written_in(tmp_path: Path) -> None:
    top = "/app/node_modules/node-gyp"
    tree: Tree = {
        "/app/server.js": "require('node-gyp'); require('lexer'); require('base')",
        f"{top}/package.json": '{"name": "node-gyp", "version": "1", "main": "lib/node-gyp.js"}',
        f"{top}/addon.gypi": "",
        f"{top}/lib/node-gyp.js": "",
        f"{top}/gyp/gyp_main.py": "import subprocess\nsubprocess.run(['tac', '-b'])\n",
        "/app/node_modules/lexer/package.json": '{"name": "lexer", "version": "1"}',
        "/app/node_modules/lexer/index.js": "",
        "/app/node_modules/lexer/gyp/words.txt": "",
        "/app/node_modules/base/package.json": '{"name": "base", "version": "1"}',
        "/app/node_modules/base/index.js": "",
        "/app/node_modules/base/binding.gyp": "",
        "/app/node_modules/base/deps/base-1.tar.gz": "",
    }
    found = grown(tmp_path, tree, {"/app/server.js": Kind.READ}, NodeRule(), workdir="/app").paths
    assert {f"{top}/lib/node-gyp.js", "/app/node_modules/lexer/gyp/words.txt"} <= {*found}
    assert not {f"{top}/gyp/gyp_main.py", "/app/node_modules/base/deps/base-1.tar.gz"} & {*found}


@pytest.mark.parametrize("compiles", [True, False])
def test_declarations_stay_for_a_compiler_that_runs_with_the_application(tmp_path: Path, compiles: bool) -> None:
    top, lib = "/app/node_modules/a", "/app/node_modules/typescript/lib/lib.dom.d.ts"
    tree: Tree = {
        "/app/server.js": "require('a')",
        f"{top}/package.json": '{"name": "a", "version": "1", "types": "index.d.ts"}',
        f"{top}/index.js": "",
        f"{top}/index.d.ts": "",
        f"{top}/index.ts": "",
        "/app/node_modules/typescript/package.json": '{"name": "typescript", "version": "1"}',
        lib: "",
    }
    seen = {"/app/server.js": Kind.READ, **({lib: Kind.READ} if compiles else {})}
    found = grown(tmp_path, tree, seen, NodeRule(), workdir="/app").paths
    assert (f"{top}/index.d.ts" in found) is compiles
    assert f"{top}/index.ts" not in found
