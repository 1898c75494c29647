"""Python sources as data: every way to import, start and load that can be told from the text."""

from __future__ import annotations

import importlib.util
import marshal
import struct
from pathlib import Path

import pytest

from slimmer.closure.commands.literals import CommandLine
from slimmer.closure.languages.python.bytecode import scan_bytecode
from slimmer.closure.languages.python.imports import Family, Import, When, scan
from slimmer.closure.languages.python.rule import PythonRule
from tests.unit.closures import kept

LOADED, LATER, MAIN = When.LOADED, When.LATER, When.MAIN


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import a.b, c as d", [Import("a.b", 1), Import("c", 1)]),
        ("from .. import x, y as z", [Import("", 1, ("x", "y"), 2)]),
        ("from .m import *", [Import("m", 1, ("*",), 1)]),
        ("def f():\n  import a", [Import("a", 2, when=LATER)]),
        ("class C:\n  import a", [Import("a", 2)]),
        ("try:\n  import a\nexcept ImportError:\n  import b\nelse:\n  import c\nfinally:\n  import d",
         [Import(name, line, when=LATER) for name, line in (("a", 2), ("b", 4), ("c", 6), ("d", 8))]),
        ("if x:\n  import a\nelif y:\n  import b", [Import("a", 2, when=LATER), Import("b", 4, when=LATER)]),
        ("with x:\n  import a\nfor y in z:\n  import b", [Import("a", 2), Import("b", 4)]),
        ("match x:\n  case 1:\n    import a", [Import("a", 3, when=LATER)]),
        ("if __name__ == '__main__':\n  import a", [Import("a", 2, when=MAIN)]),
        ("if TYPE_CHECKING:\n  import a\nelse:\n  import b", [Import("b", 4)]),
        ("import sys\nif sys.platform == 'win32':\n  import a", [Import("sys", 1)]),
        ("import os\nif os.name == 'nt':\n  import a\nelse:\n  import b", [Import("os", 1), Import("b", 5)]),
        ("importlib.import_module('a.b')", [Import("a.b", 1, when=LATER)]),
        ("import_module('.x', __package__)", [Import("x", 1, level=1, when=LATER)]),
        ("__import__('a', fromlist=['b'])", [Import("a", 1, when=LATER), Import("a", 1, ("b",), when=LATER)]),
        ("import_optional_dependency('tabulate')", [Import("tabulate", 1, when=LATER)]),
        ("compat._try_import(\n  'a.b', None)", [Import("a.b", 1, when=LATER)]),
        ("pytest.importorskip('a')", []),
        ("reimport('any text')", []),
        ("import_optional_dependency(name)", []),
        ("'''\nimport a\n'''", []),
        ("# import a", []),
    ],
)  # fmt: skip
def test_imports(source: str, expected: list[Import]) -> None:
    assert list(scan(source.encode()).imports) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import_module(f'a.b.{x}')", [Family("a.b.", 1)]),
        ("import_module('a.' + x)", [Family("a.", 1)]),
        ("__import__('a.drv_%s' % x)", [Family("a.drv_", 1)]),
        ("import_module('a.{}'.format(x))", [Family("a.", 1)]),
        ("import_module('.' + x, __name__)", [Family("", 1, 1)]),
    ],
)
def test_names_that_are_known_by_their_beginning(source: str, expected: list[Family]) -> None:
    found = scan(source.encode())
    assert list(found.families) == expected
    assert not found.computed


def test_an_import_of_which_nothing_is_known_is_told() -> None:
    assert scan(b"x = 1\nimport_module(x)").computed == (2,)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("subprocess.run(['git', 'log', x])", ("git", "log", "")),
        ("run('ls -l | wc', shell=True)", ("ls -l | wc",)),
        ("os.system('date +%s')", ("date +%s",)),
        ("shutil.which('pdftotext')", ("pdftotext",)),
        ("os.execvp('nginx', ['nginx'])", ("nginx",)),
        ("await asyncio.create_subprocess_exec('ffmpeg', '-i', x)", ("ffmpeg", "-i", "")),
        ("os.spawnlp(os.P_WAIT, 'git', 'git', 'log')", ("git", "log")),
        ("cmd = ['convert', x]\nsubprocess.run(cmd)", ("convert", "")),
        ("subprocess.run([sys.executable, '-m', 'app.job'])", ("python3", "-m", "app.job")),
        ("os.popen(f'tar cz {x}')", ("tar cz $UNKNOWN",)),
    ],
)
def test_command_lines(source: str, expected: tuple[str, ...]) -> None:
    assert expected in [
        command.words for command in scan(b"import subprocess\nasync def f():\n " + _inside(source)).commands
    ]


def _inside(source: str) -> bytes:
    return source.replace("\n", "\n ").encode()


def test_whether_a_shell_reads_a_command_line() -> None:
    assert scan(b"os.system('x y')").commands == (CommandLine(("x y",), 1, True),)
    assert scan(b"subprocess.run(['x', 'y'])").commands == (CommandLine(("x", "y"), 1),)


def test_a_long_list_of_words_is_a_vocabulary_and_no_programs() -> None:
    def mentioned(text: str, **whose: bool) -> bool:
        found = scan(f"import subprocess\nrun('git --version')\n{text}\n".encode(), **whose)
        return any(command.words[0] == "umount" for command in (*found.mentioned, *found.commands))

    lexer = ", ".join(repr(f"word{at}") for at in range(50))
    for opening, closing in ("()", "[]", "{}"):
        assert mentioned(f"TOOLS = {opening}'x', 'umount'{closing}")
        assert not mentioned(f"words({opening}{lexer}, 'umount'{closing}, suffix='b')")
    assert not mentioned(f"words(['umount', {lexer}])")
    assert mentioned(f"ALLOWED = ({lexer}, 'umount')", words=True)  # the application's own may be a menu


def test_libraries_and_paths_and_strings() -> None:
    found = scan(
        b"import sys\nsys.path.insert(0, '/srv/lib')\nctypes.CDLL('libmagic.so.1')\nfind_library('foo')\n"
        b"HANDLERS = ['a.b.C', 'x.y:z', 'plain']\nfor e in entry_points(group='app.plugins'): pass\n",
        words=True,
    )
    assert found.paths == ("/srv/lib",)
    assert {mention.text for mention in found.libraries} >= {"libmagic.so.1", "foo"}
    assert {"a.b.C", "x.y"} <= {mention.text for mention in found.dotted}
    assert "plain" in {mention.text for mention in found.words}
    assert "app.plugins" in found.groups


def test_another_versions_syntax_is_read_line_by_line() -> None:
    source = b"print 'hello'\nimport a, b.c as d\n  from .x import (y, z)\n"
    assert [(each.module, each.names, each.level) for each in scan(source).imports] == [
        ("a", (), 0),
        ("b.c", (), 0),
        ("x", ("y", "z"), 1),
    ]


@pytest.mark.parametrize("source", [b"\0", b"import a\0", b"\xff\xfe", b"(" * 5000, b"# coding: nonsense\nimport a"])
def test_no_source_is_too_odd(source: bytes) -> None:
    scan(source)


def test_bytecode_without_a_source_names_its_imports() -> None:
    source = (
        "import json.decoder\ndef f():\n  from pkg import sub, other as o\n  from . import near\n"
        "X = {'a': 1.5, 'b': (2, 3j), 'c': 1 << 70, 'd': b'x', 'e': frozenset({1})}\n"
    )
    code = compile(source, "m.py", "exec")

    content = importlib.util.MAGIC_NUMBER + struct.pack("<III", 0, 0, 0) + marshal.dumps(code)
    found = scan_bytecode(content)
    assert any(each.module == "json.decoder" and not each.level for each in found.imports)
    assert any(each.module == "pkg" and {"sub", "other"} <= {*each.names} for each in found.imports)
    assert any(each.module == "" and each.level == 1 and "near" in each.names for each in found.imports)


def bytecode(source: str) -> bytes:
    return importlib.util.MAGIC_NUMBER + struct.pack("<III", 0, 0, 0) + marshal.dumps(compile(source, "m.py", "exec"))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import subprocess\ndef f(x):\n subprocess.run(['git', 'log', x])", {"git"}),
        ("import subprocess\ndef f(x):\n subprocess.run(['git', 'log', 'a', 'b'])", {"git"}),
        ("import subprocess\ndef f(x):\n subprocess.run(f'sort {x} | head -n1', shell=True)", {"sh", "sort"}),
        ("import os\ndef f(x):\n os.system('sort -u ' + x)", {"sh", "sort"}),
        ("import subprocess\nTOOL = 'git'\ndef f(x):\n subprocess.run([TOOL, x])", {"git"}),
        ("def f(x):\n return 'sort', 'git log -n1'", set[str]()),
    ],
)
def test_bytecode_without_a_source_starts_programs(source: str, expected: set[str], tmp_path: Path) -> None:
    tree: dict[str, str | bytes | None] = {
        **{f"/usr/bin/{name}": "#755 \x7fELF" for name in ("git", "sort", "head", "comm")},
        "/bin/sh": "#755 \x7fELF",
        "/usr/lib/python3.11/os.py": "",
        "/usr/bin/python3.11": "#755 \x7fELF",
    }
    (tmp_path / "root/app").mkdir(parents=True)
    (tmp_path / "root/app/job.pyc").write_bytes(bytecode(source))
    found = kept(tmp_path, tree, "/app/job.pyc", "/usr/bin/python3.11", rules=(PythonRule,))
    names = {path.rpartition("/")[2] for path in found if "/bin/" in path} - {"python3.11", "head"}
    assert names == expected


@pytest.mark.parametrize("content", [b"", b"\xa7\r\r\n", b"\xa7\r\r\n" + b"\0" * 12 + b"\xe3" + b"\0" * 8, b"x" * 64])
def test_broken_bytecode_names_nothing(content: bytes) -> None:
    assert scan_bytecode(content).imports == ()
