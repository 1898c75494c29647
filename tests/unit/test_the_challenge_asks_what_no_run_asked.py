"""The challenge: which questions are asked of what was kept, in which order, and which replies differ."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from slimmer.checks import compare
from slimmer.checks.challenge import drivers, java, modules, programs
from slimmer.checks.challenge.ask import _rows
from slimmer.checks.challenge.differences import differences, suspects
from slimmer.checks.challenge.model import Difference, Findings, Question, Reply, Topic
from slimmer.checks.challenge.patience import Patience, ended
from slimmer.checks.challenge.questions import filled, framework, questions
from slimmer.checks.challenge.subject import Subject
from slimmer.checks.compare import Comparison, Verdict
from slimmer.closure.model import Application
from slimmer.closure.profiles.load import Profile, load_all, parse
from slimmer.errors import SlimmerError
from slimmer.packages.index import index
from slimmer.recipe import Miss
from slimmer.root.directory import DirectoryRoot
from tests.unit.profiles_support import Deb, debian, profile
from tracer.recording import Execution, Recording

HELP = Question(Topic.PROGRAM, ("/usr/bin/tool", "--help"))
SHORT = Question(Topic.PROGRAM, ("/usr/bin/tool", "-h"), fallback_of=HELP.argv)
SHOP = Question(Topic.MODULE, ("/usr/bin/python3", "-c", "driver", "/app"), "shop", "Python's import of shop")


def told(fat: Reply, slim: Reply, again: Reply | None = None, still: Reply | None = None, of: Question = HELP) -> str:
    """The problem that four replies to one question make; empty when there is none."""
    found = list(differences([of], {of: fat}, {of: slim}, {of: again or fat}, {of: still or slim}))
    return found[0].problem if found else ""


def test_another_exit_and_other_words_differ() -> None:
    assert "exit 127" in told(Reply(0, b"usage"), Reply(127, b"", b"not found"))
    assert told(Reply(0, b"usage\nverbs: a b"), Reply(0, b"usage\nverbs: a")) == "other words: verbs: a"


@pytest.mark.parametrize(
    ("fat", "slim", "again", "still"),
    [
        (Reply(0, b"pid 12"), Reply(0, b"pid 977"), None, None),  # numbers vary
        (Reply(0, b"at noon today"), Reply(0, b"at dusk today"), Reply(0, b"at dawn today"), None),  # so does fat
        (Reply(None), Reply(1), None, None),  # it did not end: that says nothing
        (Reply(0), Reply(None), None, None),
        (Reply(0, b"a"), Reply(1, b"b"), None, Reply(0, b"a")),  # once wrong, then right: chance
        (Reply(0, b"a"), Reply(1, b"b"), Reply(1, b"b"), None),
    ],
)
def test_chance_does_not_differ(fat: Reply, slim: Reply, again: Reply | None, still: Reply | None) -> None:
    assert not told(fat, slim, again, still)


def test_modules_are_compared_by_what_can_be_imported() -> None:
    assert told(Reply(0, b"a b c"), Reply(0, b"a c d"), of=SHOP) == "without b"
    assert "No module" in told(Reply(0, b"a"), Reply(1, b"ModuleNotFoundError: No module named 'x'"), of=SHOP)
    assert not told(Reply(1, b"ImportError: one way"), Reply(1, b"ImportError: another"), of=SHOP)
    assert "without fast=True" in told(Reply(0, b"fast=True"), Reply(0, b"fast=False"), of=SHOP)


def test_only_suspects_are_asked_again_and_a_fallback_says_nothing_more() -> None:
    fat = {HELP: Reply(2, b"a"), SHORT: Reply(2, b"a"), SHOP: Reply(0, b"x")}
    slim = {HELP: Reply(127), SHORT: Reply(127), SHOP: Reply(0, b"x")}
    doubtful = suspects([HELP, SHORT, SHOP], fat, slim)
    assert doubtful == (HELP, SHORT)
    assert [each.question for each in differences(doubtful, fat, slim, fat, slim)] == [HELP]


def test_lines_of_a_driver_are_replies_and_what_it_does_not_reach_has_none() -> None:
    batch = [Question(Topic.MODULE, SHOP.argv, name) for name in ("a", "b", "c", "d")]
    rows = dict(_rows(batch, Reply(0, b"a\tok\tx y\nb\tno\tImportError: z\nc\tended\t14\n")))
    assert [(each.item, reply.code) for each, reply in rows.items()] == [("a", 0), ("b", 1), ("c", None)]
    dead = dict(_rows(batch, Reply(127, b"", b"python3: error while loading shared libraries")))
    assert [(each.item, reply.code) for each, reply in dead.items()] == [("a", 127)]


def test_the_python_driver_imports_each_module_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").write_text(
        "import json\ntry:\n    import none_such\nexcept ImportError:\n    none_such = None\n"
    )
    (tmp_path / "shop/ends.py").write_text("import os\nos._exit(3)\n")
    (tmp_path / "shop/bad.py").write_text("raise SystemExit('no')\n")
    (tmp_path / "shop/lazy.py").write_text(
        "__all__ = ['here', 'gone']\ndef __getattr__(name):\n    if name == 'here':\n        return 1\n"
        "    raise AttributeError(name)\n"
    )
    names = ["shop.lazy", "shop", "shop.ends", "shop.bad", "absent"]
    done = subprocess.run(
        [sys.executable, "-c", drivers.PYTHON, str(tmp_path), *names], capture_output=True, text=True, check=True
    )
    rows = {line.split("\t")[0]: tuple(line.split("\t")[1:]) for line in done.stdout.splitlines()}
    assert rows["shop"] == ("ok", "json none_such=None")
    assert rows["shop.lazy"] == ("ok", "here")
    assert rows["shop.ends"] == ("ended", "3")
    assert rows["shop.bad"] == ("no", "SystemExit: no")
    assert rows["absent"][0] == "no"


SCHEMAS = Path(compare.__file__).parents[1] / "report/schemas"
PROGRAM = b"#!/bin/sh\n"
KEEPER = Deb({"/usr/bin/keeperd": PROGRAM, "/usr/bin/keeperctl": PROGRAM})
PYTHON = Deb({"/usr/bin/python3": PROGRAM, "/usr/bin/pydoc3": PROGRAM, "/usr/lib/python3/json/__init__.py": b""})


def subject(
    top: Path,
    argv: tuple[str, ...],
    unowned: Mapping[str, str | bytes | None],
    gone: tuple[str, ...] = (),
    profiles: tuple[Profile, ...] = (),
    executed: tuple[str, ...] = (),
) -> Subject:
    """Two packages and what belongs to none, all kept but for `gone`."""
    root = DirectoryRoot(str(debian(top, {"keeper": KEEPER, "python3": PYTHON}, unowned)))
    for each in ("usr/bin/keeperd", "usr/bin/keeperctl", "usr/bin/python3", "usr/bin/pydoc3"):
        (top / each).chmod(0o755)
    root = DirectoryRoot(str(top))
    recording = Recording((), tuple(Execution(each, "/") for each in executed))
    paths = tuple(each.path for each in root.walk() if each.path not in gone)
    return Subject(root, paths, recording, index(root), Application(argv, {}, workdir="/app"), profiles)


def asked(found: Iterable[Question]) -> list[str]:
    return [each.what for each in found]


def test_a_packages_other_programs_are_asked_whether_kept_or_not_but_not_those_of_a_runtime(tmp_path: Path) -> None:
    base = profile('why = "x"\n[programs]\nbase = ["python3"]')
    it = subject(tmp_path, ("keeperd",), {"/app/x": ""}, ("/usr/bin/keeperctl", "/usr/bin/pydoc3"), (base,))
    found = asked(programs.own(it))
    assert found[:4] == [
        "/usr/bin/keeperd --help",
        "/usr/bin/keeperd -h",
        "/usr/bin/keeperd --version",
        f"/usr/bin/keeperd {programs.UNKNOWN}",
    ]
    assert "/usr/bin/keeperctl --help" in found
    it = subject(tmp_path / "2", ("python3", "/app/main.py"), {"/app/main.py": ""}, ("/usr/bin/pydoc3",), (base,))
    assert not [each for each in asked(programs.own(it)) if "pydoc3" in each]


def test_modules_of_the_application_are_asked_first_and_directories_that_stayed_empty_too(tmp_path: Path) -> None:
    unowned = {
        "/app/main.py": "",
        "/app/shop/__init__.py": "",
        "/app/shop/cart.py": "",
        "/app/shop/tests/test_cart.py": "",
        "/app/hollow/__init__.py": "",
        "/app/notes.txt": "",
    }
    it = subject(tmp_path, ("python3", "/app/main.py"), unowned, ("/app/hollow/__init__.py",))
    (python,) = modules.interpreters(it)
    found = [each.item for each in modules.questions(it, [(python, ["", "/usr/lib/python3"])])]
    assert found[:2] == ["hollow", "main"]
    assert found.index("shop") < found.index("shop.cart") < found.index("shop.tests.test_cart")
    assert "json" in found
    limits = {each.item: each.limit for each in modules.questions(it, [(python, ["/usr/lib/python3"])])}
    assert limits["json"] < limits["shop"]  # what a library leaves out on purpose does not come back whole


def test_profiles_ask_with_what_the_application_is_started_with(tmp_path: Path) -> None:
    text = """why = "a keeper"
[when]
paths = ["/usr/bin/keeperd"]
[[challenge]]
ask = ["keeperd --test {arguments}", "{python} -c 'import {target}'", "nowhere --list"]
why = "it tests its configuration"
"""
    it = subject(tmp_path, ("keeperd", "-c", "/app/k.conf", "mod:app"), {"/app/k.conf": "x"}, (), (profile(text),))
    asked_, beyond = questions(it, [], 500)
    assert asked_[0].argv == ("keeperd", "--test", "-c", "/app/k.conf", "mod:app")
    assert not beyond
    assert "nowhere" not in " ".join(asked(asked_))
    assert filled(["{program}", "{target}"], it) == ("keeperd", "mod:app")
    assert filled(["other", "{arguments}"], it) == ()  # of another program
    assert filled(["{python}"], it) == ()  # which did not run
    fewer, beyond = questions(it, [], 3)
    assert len(fewer) == 3
    assert beyond == len(asked_) - 3


@pytest.mark.parametrize("ask", ['"x"', "[]", "[1]", "['an \"open quote']"])
def test_a_challenge_that_asks_nothing_is_refused_with_its_place(ask: str) -> None:
    with pytest.raises(SlimmerError, match=r"mine\.toml:3:\d+"):
        parse(f'why = "x"\n[[challenge]]\nask = {ask}\nwhy = "y"\n', "mine", "mine.toml")


def test_a_check_that_passed_is_repaired_by_what_the_challenge_found_once() -> None:
    miss = Miss("/usr/bin/env", why="used for the question `x --help`")
    findings = Findings(3, 1, (Difference(HELP, "exit 0", "exit 127", "not found"),), 2, (miss,))
    verdict = Verdict((Comparison("GET /", "200", "200"),), challenge=findings)
    assert verdict.passed
    assert verdict.repairs(()) == (miss,)
    assert verdict.repairs((miss,)) == ()
    assert [each.kind for each in findings.warnings()] == ["challenge"]
    assert (
        findings.summary()
        == "3 questions asked, 1 answered otherwise than in the fat root, 2 mended by repair, 1 not asked"
    )


def test_check_json_with_a_challenge_follows_its_schema() -> None:
    findings = Findings(3, 1, (Difference(HELP, "exit 0", "exit 127", "not found"),), notes=("cut short",))
    document = json.loads(Verdict((Comparison("GET /", "200", "200"),), challenge=findings).dump())
    schema = json.loads((SCHEMAS / "check.schema.json").read_text())
    jsonschema.validate(document, schema)
    assert document["challenge"]["differ"] == 1


@pytest.mark.parametrize(
    ("program", "driver", "files", "ok", "no"),
    [
        (
            "perl",
            ("-e", drivers.PERL),
            {"Shop.pm": "package Shop; sub sell {1} 1;", "Bad.pm": "use NoneSuch; 1;"},
            ("Shop", "sell"),
            "Bad",
        ),
        (
            "ruby",
            ("-e", drivers.RUBY),
            {"shop.rb": "module Shop; end", "bad.rb": "require 'none_such'"},
            ("shop", "Shop"),
            "bad",
        ),
        (
            "node",
            ("-e", drivers.NODE),
            {"shop.js": "exports.sell = 1;", "bad.js": "process.exit(3);"},
            ("./shop", "object sell"),
            "./bad",
        ),
    ],
)
def test_drivers_of_other_languages_tell_names_and_survive_what_fails(
    program: str, driver: tuple[str, ...], files: Mapping[str, str], ok: tuple[str, str], no: str, tmp_path: Path
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [program, *driver, str(tmp_path), no, ok[0]], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[:2] for row in rows] == [[no, "no"], [ok[0], "ok"]]
    assert rows[1][2] == ok[1]


@pytest.mark.parametrize(
    ("program", "driver", "name", "text"),
    [
        (
            "python3",
            ("-c", drivers.PYTHON.replace("alarm(5)", "alarm(1)")),
            "waits.py",
            "import time\ntime.sleep(600)\n",
        ),
        ("perl", ("-e", drivers.PERL.replace("alarm 5", "alarm 1")), "waits.pm", "sleep 1 while 1; 1;"),
        ("ruby", ("-e", drivers.RUBY.replace("sleep 5", "sleep 1")), "waits.rb", "sleep 600"),
    ],
)
def test_a_module_that_waits_for_nothing_ends_and_says_nothing(
    program: str, driver: tuple[str, ...], name: str, text: str, tmp_path: Path
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    (tmp_path / name).write_text(text)
    item = Question(Topic.MODULE, (program, *driver, str(tmp_path)), "waits")
    done = subprocess.run([*item.argv, item.item], capture_output=True, check=True)
    assert dict(_rows([item], Reply(0, done.stdout))) == {item: Reply(None)}


class Popen(subprocess.Popen[bytes]):
    """Seen as the challenge sees a command."""

    def wait(self, timeout: float | None = None) -> int | None:  # type: ignore[override]
        try:
            return super().wait(timeout)
        except subprocess.TimeoutExpired:
            return None


BUSY = "import time\nwhile time.process_time() < 1.5: pass\nraise SystemExit(3)"


@pytest.mark.parametrize(
    ("argv", "patience", "code"),
    [
        ((sys.executable, "-c", BUSY), Patience(10), 3),  # it is at work, for longer than it might sleep
        (("sh", "-c", '"$0" -c "$1"; exit 4', sys.executable, BUSY), Patience(10), 4),  # so is what it waits for
        (("sleep", "600"), Patience(10), None),
        ((sys.executable, "-c", "while True: pass"), Patience(10, computing=0.5), None),
    ],
)
def test_patience_goes_by_what_a_command_does_and_not_by_the_clock(
    argv: tuple[str, ...], patience: Patience, code: int | None
) -> None:
    with Popen(argv) as process:
        try:
            assert ended(process, patience) == code
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("argv", "question"),
    [
        (("lighttpd", "-D", "-f", "/app/l.conf"), ("lighttpd", "-tt", "-D", "-f", "/app/l.conf")),
        (("dnsmasq", "-k", "-C", "/app/d.conf"), ("dnsmasq", "--test", "-k", "-C", "/app/d.conf")),
    ],
)
def test_servers_are_asked_to_test_their_configuration(
    argv: tuple[str, ...], question: tuple[str, ...], tmp_path: Path
) -> None:
    program = f"/usr/bin/{argv[0]}"
    it = subject(tmp_path, argv, {program: PROGRAM}, profiles=load_all(), executed=(program,))
    (tmp_path / program[1:]).chmod(0o755)
    it = replace(it, root=DirectoryRoot(str(tmp_path)))
    assert question in [each.argv for each in framework(it)]


def jar(main: str = "", *providers: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", f"Main-Class: {main}\r\n" if main else "")
        archive.writestr("META-INF/services/shop.Till", "\n".join(providers))
    return stream.getvalue()


def test_classes_of_kept_archives_are_asked_on_the_class_path_of_the_run_and_never_run(tmp_path: Path) -> None:
    top = tmp_path / "root"
    packages = {
        "jre": Deb({"/usr/bin/java": PROGRAM}),
        "libtill-java": Deb({"/usr/share/java/till.jar": jar("till.Main", "till.Drawer")}),
        "libfar-java": Deb({"/usr/share/java/far.jar": jar("", "far.Till")}),
    }
    own = {"/app/lib/shop.jar": jar("shop.Main", "shop.Cash", "shop.Card"), "/app/gone.jar": jar("gone.Main")}
    debian(top, packages, own)
    (top / "usr/bin/java").chmod(0o755)
    root = DirectoryRoot(str(top))
    line = ("java", "-cp", "lib/*:/usr/share/java/till.jar", "shop.Main", "-jar", "x")
    recording = Recording((), (Execution("/usr/bin/java", "/app"),), commands=(line,))
    paths = tuple(each.path for each in root.walk() if each.path != "/app/gone.jar")
    it = Subject(root, paths, recording, index(root), Application(("/app/run",), {}, workdir="/"))
    found = list(java.questions(it))
    used = ("/usr/bin/java", "--dry-run", "-cp", "/app/lib/*:/usr/share/java/till.jar")
    assert [each.argv for each in found] == [
        (*used, "shop.Cash"),
        (*used, "shop.Card"),
        ("/usr/bin/java", "--dry-run", "-jar", "/app/lib/shop.jar"),
        (*used, "till.Drawer"),
        ("/usr/bin/java", "--dry-run", "-jar", "/usr/share/java/till.jar"),
        ("/usr/bin/java", "--dry-run", "-cp", "/usr/share/java/far.jar", "far.Till"),
    ]
    assert found[0].what == "Java's loading of shop.Cash"
    assert found[-1].limit < found[0].limit
    assert not list(java.questions(replace(it, kept=tuple(each for each in paths if each != "/usr/bin/java"))))
    asked_, _ = questions(it, [], 100)
    assert found == [each for each in asked_ if each.topic is Topic.CLASS]


def test_a_class_that_is_refused_in_both_roots_in_other_words_differs() -> None:
    loads = Question(
        Topic.CLASS, ("/usr/bin/java", "--dry-run", "-cp", "/app/a.jar", "shop.Cash"), label="Java's loading"
    )
    fat = Reply(1, b"", b"Error: Main method not found in class shop.Cash")
    slim = Reply(1, b"", b"Error: Could not find or load main class shop.Cash")
    assert told(fat, slim, of=loads) == "other words: Error: Could not find or load main class shop.Cash"
    assert not told(fat, fat, of=loads)
