"""Python: what a distribution whose command is run starts is the application's; a library's prompts are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.closure.languages.python.rule import PythonRule
from slimmer.closure.model import Application
from slimmer.packages.index import index
from slimmer.root.directory import DirectoryRoot
from tests.support import plant
from tests.unit.closures import closure

SITE = "/usr/local/lib/python3.11/site-packages"
TREE = {
    "/bin/sh": "#755 \x7fELF",
    "/usr/bin/bash": "#755 \x7fELF",
    "/usr/bin/tac": "#755 \x7fELF",
    "/usr/local/bin/job": "#755 #!/usr/local/bin/python3\nimport job\n",
    f"{SITE}/job/__init__.py": "LINE = 'tac -b'\nsubprocess.run(['bash', '-l'])\nos.system(X[0])\n",
    f"{SITE}/job-1.dist-info/METADATA": "Name: job\nVersion: 1\n",
    f"{SITE}/job-1.dist-info/RECORD": "job/__init__.py,,\n../../../bin/job,,\n",
}


@pytest.mark.parametrize(
    ("argv", "extra"),
    [(("job",), {"/bin/sh", "/usr/bin/bash"}), (("python3", "-m", "job"), {"/bin/sh", "/usr/bin/bash"}), ((), set())],
)
def test_what_is_run_is_the_application(argv: tuple[str, ...], extra: set[str], tmp_path: Path) -> None:
    root = DirectoryRoot(str(plant(tmp_path / "root", TREE)))
    found = closure(
        root,
        (f"{SITE}/job/__init__.py",),
        (PythonRule,),
        application=Application(argv=argv),
        packages=index(root),
    )
    assert {each for each in found.paths if each in ("/bin/sh", "/usr/bin/bash", "/usr/bin/tac")} == {
        "/usr/bin/tac",
        *extra,
    }


@pytest.mark.parametrize(
    ("source", "argv", "kept"),
    [
        (
            "def f(self):\n    name = 'lmod' if self.local else 'usermod'\n    m.get_bin_path(name, True)\n",
            (),
            True,
        ),
        ("def f(m):\n    return m.run_command([m.get_bin_path('usermod'), '-L'])\n", (), True),
        ("import subprocess\ndef f(find):\n    tool = 'usermod'\n    subprocess.run([find(tool)])\n", ("job",), True),
        ("import subprocess\ndef f(find):\n    tool = 'usermod'\n    subprocess.run([find(tool)])\n", (), False),
    ],
)
def test_a_program_that_is_searched_by_its_name_stays(
    source: str, argv: tuple[str, ...], kept: bool, tmp_path: Path
) -> None:
    tree = {**TREE, "/usr/sbin/usermod": "#755 \x7fELF", f"{SITE}/job/__init__.py": source}
    root = DirectoryRoot(str(plant(tmp_path / "root", tree)))
    application = Application(argv=argv)
    found = closure(root, (f"{SITE}/job/__init__.py",), (PythonRule,), application=application, packages=index(root))
    assert ("/usr/sbin/usermod" in found.paths) is kept


def test_a_library_that_asks_a_prompt_for_its_version_does_not_bring_it(tmp_path: Path) -> None:
    source = (
        "import shutil, subprocess\nexe = shutil.which('bash')\n"
        "subprocess.run(\n    [exe, '--norc', '-c', 'echo \"$BASH_VERSION\"'],\n)\nsubprocess.run(['tac', '-b'])\n"
    )
    root = DirectoryRoot(str(plant(tmp_path / "root", {**TREE, f"{SITE}/job/__init__.py": source})))
    found = closure(root, (f"{SITE}/job/__init__.py",), (PythonRule,), packages=index(root))
    assert "/usr/bin/tac" in found.paths
    assert "/usr/bin/bash" not in found.paths
