"""A shell in an image has somebody who starts it, and a reviewer may refuse it."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.closure.model import Application
from slimmer.image.config import ImageConfig
from slimmer.pipeline.plan import Plan, make_plan
from slimmer.recipe import Reach, Recipe
from slimmer.report.warnings import Packed, warnings
from slimmer.root.directory import DirectoryRoot
from tests.support import plant
from tests.support_roots import Owned
from tests.unit.profiles_support import recorded
from tracer.recording import Recording

TREE: dict[str, str | bytes | None] = {
    "/bin": "-> usr/bin",
    "/usr/bin/sh": "-> dash",
    "/usr/bin/dash": "#755 \x7fELF",
    "/usr/bin/bash": "#755 \x7fELF",
    "/usr/bin/git": "#755 \x7fELF",
    "/usr/bin/python3": "-> python3.11",
    "/usr/bin/python3.11": "#755 \x7fELF",
    "/usr/lib/python3.11/os.py": "",
    "/usr/lib/python3/dist-packages/lib.py": "import os\ndef f(line):\n os.system(line)\n",
    "/app/main.py": "import os, lib\ndef f(x):\n os.system(f'git log {x}')\n",
    "/app/quiet.py": "import lib\n",
}


def plan(tmp_path: Path, program: str, *without: str, executed: tuple[str, ...] = ()) -> Plan:
    tree = {path: content for path, content in TREE.items() if not path.startswith("/app/") or path == program}
    root = DirectoryRoot(str(plant(tmp_path / "root", tree)))
    ran = recorded(executed=["/usr/bin/python3.11", *executed], read=[program, "/usr/lib/python3.11/os.py"])
    application = Application(argv=("python3", program))
    return make_plan(root, Owned(), ran, application, Recipe(reach=Reach(no_profiles=without)))


def test_the_shell_stays_and_the_line_that_starts_it_is_its_reason(tmp_path: Path) -> None:
    found = plan(tmp_path, "/app/main.py")
    assert {"/usr/bin/sh", "/usr/bin/dash", "/usr/bin/git"} <= {*found.paths}
    assert any(each.text == "started by /app/main.py line 3" for each in found.reasons["/usr/bin/dash"])
    assert "/usr/bin/bash" not in found.paths


def test_a_library_that_merely_could_start_a_line_brings_no_shell(tmp_path: Path) -> None:
    found = plan(tmp_path, "/app/quiet.py")
    assert {"/usr/bin/sh", "/usr/bin/dash"}.isdisjoint(found.paths)
    shown = warnings(Packed(found.root, found.paths, ImageConfig()), Recording(()), found.warnings)
    assert [(each.kind, each.path) for each in shown if each.kind != "unsound-elf"] == [
        ("shell-line", "/usr/lib/python3/dist-packages/lib.py")
    ]
    with_shell = Packed(found.root, (*found.paths, "/usr/bin/sh"), ImageConfig())
    assert not [each for each in warnings(with_shell, Recording(()), found.warnings) if each.kind == "shell-line"]


def test_without_the_profile_none_stays_and_a_warning_names_who_would_start_it(tmp_path: Path) -> None:
    found = plan(tmp_path, "/app/main.py", "shell")
    assert {"/usr/bin/sh", "/usr/bin/dash"}.isdisjoint(found.paths)
    assert "/usr/bin/git" in found.paths
    told = [(each.path, each.text) for each in found.warnings if each.kind == "refused-shell"]
    text = "cannot start /usr/bin/dash (started by /app/main.py line 3): --no-profile shell leaves it out"
    assert ("/app/main.py", text) in told


@pytest.mark.parametrize("program", ["/app/main.py", "/app/quiet.py"])
def test_a_shell_that_the_run_started_stays_all_the_same(tmp_path: Path, program: str) -> None:
    found = plan(tmp_path, program, "shell", executed=("/bin/sh",))
    assert {"/usr/bin/sh", "/usr/bin/dash"} <= {*found.paths}
    assert not [each for each in found.warnings if each.kind == "refused-shell"]
