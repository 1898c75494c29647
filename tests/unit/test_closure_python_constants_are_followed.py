"""Python: command lines of texts that are put together, handed through names, and only started elsewhere."""

from __future__ import annotations

import ast

import pytest

from slimmer.closure.languages.python.commands import Commands, scan_commands, scan_together


def found(source: str, *, mentions: bool = False) -> Commands:
    return scan_commands(ast.parse(source), mentions=mentions)


def started(source: str) -> list[tuple[str, ...]]:
    return [each.words for each in found(source).started]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('def f(x):\n subprocess.run(["sh", "-c", f"tac {x}"])', ("sh", "-c", "tac $UNKNOWN")),
        ('def f(x):\n subprocess.run(["sh", "-c", "comm %s" % x])', ("sh", "-c", "comm $UNKNOWN")),
        ('def f(x):\n c = "paste %s %d" % (x, 3)\n subprocess.call(c, shell=True)', ("paste $UNKNOWN 3",)),
        ('def f(x):\n line = "fold"\n line += f" && join {x}"\n os.system(line)', ("fold && join $UNKNOWN",)),
        ('def f(x):\n subprocess.run(shlex.split("expand -a %s" % x))', ("expand", "-a", "")),
        ('subprocess.run("unexpand -a".split())', ("unexpand", "-a")),
        ('def f(rest):\n subprocess.run([*rest, "factor"])', ("factor",)),
        ('TOOL = ("tsort", "-")\ndef f(x):\n subprocess.run([*TOOL, x])', ("tsort", "-", "")),
        ('def f(rest):\n subprocess.run(["pr"] + rest)', ("pr",)),
        ('def f(rest):\n subprocess.run(rest + ["pr", "-l"])', ("pr", "-l")),
        ('class A:\n tool = "shuf"\n def f(self):\n  subprocess.run([self.tool, "-n1"])', ("shuf", "-n1")),
        ('class A:\n def __init__(self):\n  self.t = "shuf"\n def f(self):\n  subprocess.run([self.t])', ("shuf",)),
        ('class A:\n T = "shuf"\ndef f():\n subprocess.run([A.T])', ("shuf",)),
        ('def f(tool="tac"):\n subprocess.run([tool, "x"])', ("tac", "x")),
        ('def run(*args):\n subprocess.run(args)\nrun("tac", "x")', ("tac", "x")),
        ('def run(cmd, check=True):\n subprocess.run(cmd, shell=True)\ndef g(x):\n run(f"tac {x} | wc")',
         ("tac $UNKNOWN | wc",)),
        ('class A:\n def _run(self, cmd):\n  Popen(cmd)\n def go(self):\n  self._run(["tac", "x"])', ("tac", "x")),
        ('def line(x):\n return "tac " + x\ndef g(x):\n os.system(line(x))', ("tac $UNKNOWN",)),
        ('def f():\n os.system("{} -n {name}".format("tac", name=3))', ("tac -n 3",)),
        ('def f(x):\n os.system(" ".join(["tac", "-b", x]))', ("tac -b $UNKNOWN",)),
        ('def f(x):\n for t in ("tac", "rev"):\n  subprocess.run([t, x])', ("rev", "")),
        ('T = {"a": "tac", "b": "rev"}\ndef f(x):\n subprocess.run([T[x]])', ("rev",)),
        ('T = {"a": "tac", "b": "rev"}\ndef f(x):\n subprocess.run([T["a"]])', ("tac",)),
        ('subprocess.run([os.environ.get("T", "tac"), "x"])', ("tac", "x")),
        ('subprocess.run([os.getenv("T") or "tac", "x"])', ("tac", "x")),
        ('def f(x):\n c = ["tac"]\n if x:\n  c.append("-b")\n c += ["-r"]\n c.extend(["-s", x])\n Popen(c)',
         ("tac", "-b", "-r", "-s", "")),
        ('def f(x):\n t = "tac" if x else "rev"\n Popen([t])', ("rev",)),
        ('Popen(args=["tac", "x"])', ("tac", "x")),
        ('def f(x):\n Popen([Path("/opt") / "bin" / "tac", x])', ("/opt/bin/tac", "")),
        ('def f(x):\n Popen([os.path.join("/opt", "tac"), x])', ("/opt/tac", "")),
        ('def f(x):\n a, b = "tac", "rev"\n Popen([b])', ("rev",)),
        ('def f(x):\n if (t := shutil.which("tac")):\n  Popen([t, x])', ("tac", "")),
        ('sh.tac("x")', ("tac", "x")),
        ('from sh import git_lfs, tac\ntac("x")', ("git-lfs",)),
        ("from plumbum.cmd import tac\ntac()", ("tac",)),
        ('from plumbum import local\nlocal["tac"]("x")', ("tac",)),
        ("import invoke\ninvoke.run(x)", ("bash",)),
        ('c.run("tac x | wc")', ("tac x | wc",)),
        ('pexpect.spawn("tac", ["-b"])', ("tac", "-b")),
        ('os.execv("/bin/tac", ["tac", "-b"])', ("/bin/tac", "-b")),
        ('os.execlp("sh", "sh", "-c", "tac x")', ("sh", "-c", "tac x")),
        ('def f(n):\n Popen(["sudo", "-u", n, "tac"])', ("sudo", "-u", "", "tac")),
    ],
)  # fmt: skip
def test_what_is_started_is_known(source: str, expected: tuple[str, ...]) -> None:
    assert expected in started(source)


def test_a_databases_statements_start_nothing() -> None:
    assert started('cursor.execute("select 1")\ncursor.execute(f"INSERT INTO a VALUES ({x})")') == []
    assert started('tool.execute("tac x")') == [("tac x",)]


def test_a_name_that_nothing_tells_is_said_to_be_computed() -> None:
    assert found("import x\ndef f(a):\n subprocess.run(a)\n os.system(x.y())").computed == [3, 4]
    assert started("def f(a):\n os.system(a)") == [("",)], "a shell reads it all the same"
    assert found("def f(a):\n a.run(b)\n a.start(b)").computed == [], "many things have such methods"


def test_texts_of_a_line_are_mentioned_where_nothing_starts_them() -> None:
    source = '"""tar is documented"""\nLINE = "tar -cz x"\nARGV = ("rev", "x")\ndef f(x):\n return f"tac {x} && wc"\n'
    words = {each.words for each in found(source, mentions=True).mentioned}
    assert words >= {("tar -cz x",), ("rev", "x"), ("tac $UNKNOWN && wc",)}
    assert ("tar is documented",) not in words


def test_values_that_name_themselves_come_to_an_end() -> None:
    source = (
        "a = a + ['x']\nb = f'{b} {b} {b}'\ndef f(x):\n return f(x + 'y')\nPopen(a); os.system(b); os.system(f('z'))"
    )
    assert len(started(source)) < 40


def test_the_work_for_one_module_is_bounded() -> None:
    source = "a0 = b0 = x + y\n" + "".join(
        f"a{n} = f'{{a{n - 1}}} {{b{n - 1}}}' if p else b{n - 1} + a{n - 1}\nb{n} = a{n - 1} % (b{n - 1}, a{n - 1})\n"
        for n in range(1, 400)
    )
    assert len(started(source + "os.system(a399)\nos.system(a6)")) < 100


def test_modules_of_an_application_are_read_together() -> None:
    modules = {
        "settings": 'TOOL = "tac"\nclass Paths:\n db = "/usr/bin/sqlite3"\nFORMATS = {"a": ["rev", "-x"]}\n',
        "shell": (
            "import subprocess\ndef launch(cmd, **more):\n return subprocess.run(cmd, **more)\n"
            "def line(text):\n subprocess.run(text, shell=True)\ndef words(*each):\n subprocess.Popen(each)\n"
        ),
        "main": (
            "import subprocess, settings, shell\nfrom settings import Paths, FORMATS\n"
            "subprocess.run([settings.TOOL, 'x'])\nsubprocess.run([Paths.db])\nsubprocess.run(FORMATS[x])\n"
            "shell.launch(['nl', 'y'])\nshell.line(f'fold {x} | wc')\nshell.words('pr', 'z')\nsubprocess.run(unknown)\n"
        ),
    }
    together = scan_together([(name, ast.parse(source)) for name, source in modules.items()])
    lines = {name: {each.words for each in commands.started} for name, commands in together.items()}
    assert lines["main"] == {("tac", "x"), ("/usr/bin/sqlite3",), ("rev", "-x")}
    assert lines["shell"] == {("nl", "y"), ("fold $UNKNOWN | wc",), ("pr", "z")}
    assert together["main"].computed == [9]
    assert together["shell"].computed == []
