"""The closure of Python programs in planted roots: search path, packages, data, metadata, entry points."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from slimmer.closure.commands.needs import Embedded
from slimmer.closure.languages.base import NOTHING
from slimmer.closure.languages.python.origins import dotted_name
from slimmer.closure.languages.python.rule import PythonRule
from slimmer.closure.model import Application
from slimmer.closure.profiles.load import parse, shipped
from slimmer.closure.profiles.modules import known_modules
from tests.unit.closures import kept

Tree = Mapping[str, str | bytes | None]
LIB = "/usr/lib/python3.11"
SITE = "/usr/lib/python3/dist-packages"
BASE: dict[str, str | bytes | None] = {
    "/usr/bin/python3": "-> python3.11",
    "/usr/bin/python3.11": "#755 \x7fELF",
    f"{LIB}/os.py": "import posixpath",
    f"{LIB}/posixpath.py": "",
    f"{LIB}/lib-dynload": None,
    SITE: None,
}


def reached(tmp_path: Path, tree: Tree, *seeds: str, **more: object) -> set[str]:
    """What is kept beside the interpreter and its start-up."""
    found = kept(tmp_path, {**BASE, **tree}, "/usr/bin/python3", *seeds, rules=(PythonRule,), **more)
    return found - {*BASE}


def test_modules_of_the_library_are_followed_one_by_one(tmp_path: Path) -> None:
    tree = {
        "/app/main.py": "import a\n",
        f"{LIB}/a.py": "def f():\n  from b import c\n",
        f"{LIB}/b/__init__.py": "",
        f"{LIB}/b/c.py": "import _d",
        f"{LIB}/b/other.py": "",
        f"{LIB}/unused.py": "",
        f"{LIB}/__pycache__/a.cpython-311.pyc": "x",
        f"{LIB}/__pycache__/a.cpython-311.opt-1.pyc": "x",
        f"{LIB}/__pycache__/a.cpython-310.pyc": "x",
        f"{LIB}/__pycache__/unused.cpython-311.pyc": "x",
        f"{LIB}/lib-dynload/_d.cpython-311-x86_64-linux-gnu.so": "x",
        f"{LIB}/lib-dynload/_e.cpython-311-x86_64-linux-gnu.so": "x",
    }
    assert reached(tmp_path, tree, "/app/main.py") == {
        "/app/main.py",
        f"{LIB}/a.py",
        f"{LIB}/__pycache__/a.cpython-311.pyc",
        f"{LIB}/b/__init__.py",
        f"{LIB}/b/c.py",
        f"{LIB}/lib-dynload/_d.cpython-311-x86_64-linux-gnu.so",
    }


def test_what_the_interpreter_needs_by_itself_stays(tmp_path: Path) -> None:
    startup = known_modules((each.modules for each in shipped()), "python").startup
    tree = {f"{LIB}/{name.replace('.', '/')}.py": "" for name in startup if "." not in name and name != "encodings"}
    tree |= {f"{LIB}/encodings/__init__.py": "", f"{LIB}/encodings/cp1252.py": "", f"{LIB}/zzz.py": ""}
    assert reached(tmp_path, tree) == {*tree} - {f"{LIB}/zzz.py", *BASE}


def test_tools_for_developers_are_not_reached_from_the_library_alone(tmp_path: Path) -> None:
    tree = {
        "/app/main.py": "import site2\n",
        f"{LIB}/site2.py": "def help():\n  import pydoc\ndef t():\n  import test\n",
        f"{LIB}/pydoc.py": "",
        f"{LIB}/test/__init__.py": "",
    }
    assert reached(tmp_path, tree, "/app/main.py") == {"/app/main.py", f"{LIB}/site2.py"}
    tree["/app/main.py"] = "import site2, pydoc\n"
    assert f"{LIB}/pydoc.py" in reached(tmp_path / "2", tree, "/app/main.py")


def test_a_third_party_package_stays_whole_without_its_tests(tmp_path: Path) -> None:
    tree = {
        "/app/main.py": "import pkg\n",
        f"{SITE}/pkg/__init__.py": "",
        f"{SITE}/pkg/backend_x.py": "import dep",
        f"{SITE}/pkg/templates/a.html": "x",
        f"{SITE}/pkg/fast.pyx": "x",
        f"{SITE}/pkg/tests/test_a.py": "import pytest",
        f"{SITE}/dep.py": "",
        f"{SITE}/pytest.py": "",
        f"{SITE}/other/__init__.py": "",
        f"{SITE}/Pkg_Dist-1.0.dist-info/METADATA": "x",
        f"{SITE}/Pkg_Dist-1.0.dist-info/top_level.txt": "pkg\n",
        f"{SITE}/other-1.0.dist-info/METADATA": "x",
        f"{SITE}/dep-2.egg-info": "x",
    }
    left_out = {"fast.pyx", "test_a.py", "pytest.py", "other/__init__.py", "other-1.0.dist-info/METADATA"}
    expected = {path for path in tree if not path.endswith(tuple(left_out))}
    assert reached(tmp_path, tree, "/app/main.py") == expected


def test_a_namespace_package_stays_in_portions(tmp_path: Path) -> None:
    tree = {
        "/app/main.py": "import ns.one.deep\n",
        f"{SITE}/ns/one/__init__.py": "",
        f"{SITE}/ns/one/deep.py": "",
        f"{SITE}/ns/one/data.txt": "",
        f"{SITE}/ns/two/__init__.py": "",
    }
    assert reached(tmp_path, tree, "/app/main.py") == {path for path in tree if "/two/" not in path}


def test_names_in_strings_count_for_the_application_and_inside_a_package(tmp_path: Path) -> None:
    tree = {
        "/app/settings.py": "APPS = ['pkg.admin', 'single', 'os']\nENGINE = 'pkg2.x:y'\n",
        f"{SITE}/pkg/__init__.py": "",
        f"{SITE}/pkg/admin.py": "",
        f"{SITE}/pkg2/__init__.py": "",
        f"{SITE}/pkg2/x.py": "",
        f"{SITE}/single.py": "W = {'a': 'third.mod'}",
        f"{SITE}/third/__init__.py": "",
        f"{SITE}/third/mod.py": "",
        f"{LIB}/xml/__init__.py": "",
        f"{LIB}/xml/sax.py": "P = ['xml.expat', 'json.tool']",
        f"{LIB}/xml/expat.py": "",
        f"{LIB}/json/__init__.py": "",
        f"{LIB}/json/tool.py": "",
    }
    tree["/app/settings.py"] += "import xml.sax\n"
    expected = {path for path in tree if "/third/" not in path and "/json/" not in path}
    assert reached(tmp_path, tree, "/app/settings.py") == expected


def test_a_computed_name_keeps_the_family(tmp_path: Path) -> None:
    tree = {
        "/app/main.py": "import importlib\ndef load(n):\n  return importlib.import_module(f'plugins.{n}')\n",
        "/app/plugins/__init__.py": "",
        "/app/plugins/one.py": "import late",
        "/app/plugins/sub/__init__.py": "",
        "/app/plugins/sub/two.py": "",
        f"{LIB}/late.py": "",
    }
    assert reached(tmp_path, tree, "/app/main.py") == {*tree}


def test_pth_files_zips_and_pythonpath_lead_further(tmp_path: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("zipped/__init__.py", "import fromzip")
    tree: dict[str, str | bytes | None] = {
        "/app/main.py": "import linked, zipped, extra\n",
        f"{SITE}/x.pth": "/srv/linked\n../eggs/z.egg\nimport hook; hook.go()\n# no\n/nowhere\n",
        "/srv/linked/linked.py": "",
        "/usr/lib/python3/eggs/z.egg": archive.getvalue(),
        f"{LIB}/fromzip.py": "",
        f"{LIB}/hook.py": "",
        "/opt/extra/extra.py": "",
    }
    application = Application(env={"PYTHONPATH": "/opt/extra"})
    assert reached(tmp_path, tree, "/app/main.py", application=application) == {*tree}


def test_a_virtual_environment_has_its_own_site(tmp_path: Path) -> None:
    site = "/venv/lib/python3.11/site-packages"
    tree: dict[str, str | bytes | None] = {
        "/venv/bin/python": "-> /usr/bin/python3.11",
        "/venv/pyvenv.cfg": "home = /usr/bin\n",
        f"{site}/pkg/__init__.py": "",
        f"{site}/other/__init__.py": "",
        "/venv/bin/tool": "#755 #!/venv/bin/python\nfrom pkg import main\n",
    }
    found = reached(tmp_path, tree, "/venv/bin/python", "/venv/bin/tool")
    assert found == {path for path in tree if "/other/" not in path}


def test_entry_points_are_kept_for_who_looks_them_up(tmp_path: Path) -> None:
    tree = {
        "/app/main.py": "from importlib.metadata import entry_points\nentry_points(group='app.plugins')\n",
        f"{SITE}/plug-1.dist-info/entry_points.txt": (
            "[app.plugins]\nx = plug.core:run [extra]\n[console_scripts]\ny = cli:main\n"
        ),
        f"{SITE}/plug-1.dist-info/top_level.txt": "plug\n",
        f"{SITE}/plug/__init__.py": "",
        f"{SITE}/plug/core.py": "",
        f"{SITE}/cli.py": "",
        f"{SITE}/nope-1.dist-info/entry_points.txt": "[other]\nx = nope\n",
        f"{SITE}/nope.py": "",
    }
    expected = {path for path in tree if "nope" not in path and "cli.py" not in path}
    assert reached(tmp_path, tree, "/app/main.py") == expected


def test_relative_imports_and_star_exports(tmp_path: Path) -> None:
    tree = {
        "/app/main.py": "from proj import *\n",
        "/app/proj/__init__.py": "__all__ = ['shown']\n",
        "/app/proj/shown.py": "from ..proj import sibling\nfrom . import near\nfrom .deep.er import x\n",
        "/app/proj/sibling.py": "",
        "/app/proj/near.py": "",
        "/app/proj/deep/__init__.py": "",
        "/app/proj/deep/er.py": "",
        "/app/proj/hidden.py": "",
    }
    assert reached(tmp_path, tree, "/app/main.py") == {*tree} - {"/app/proj/hidden.py"}


def test_compiled_modules_name_what_they_import(tmp_path: Path) -> None:
    tree: dict[str, str | bytes | None] = {
        "/app/main.py": "import fast\n",
        f"{SITE}/fast.cpython-311-x86_64-linux-gnu.so": (
            b"\x7fELF\0PyInit_fast\0decimal2\0helper.sub\0absent\0word\0_back\0"
        ),
        f"{SITE}/fast.cpython-39-x86_64-linux-gnu.so": b"\x7fELF\0PyInit_fast\0",
        f"{LIB}/decimal2.py": "",
        f"{SITE}/helper/__init__.py": "",
        f"{SITE}/helper/sub.py": "",
        f"{SITE}/_back.cpython-311-x86_64-linux-gnu.so": "",
        f"{SITE}/word.py": "",
        f"{LIB}/absent2.py": "",
    }
    left_out = ("absent", "-39-", "/word.py")
    expected = {path for path in tree if not any(part in path for part in left_out)}
    assert reached(tmp_path, tree, "/app/main.py") == expected


def test_command_lines_and_environment_name_modules(tmp_path: Path) -> None:
    tree = {
        "/srv/site/wsgi.py": "",
        "/srv/site/__init__.py": "",
        "/srv/site/settings.py": "import used",
        f"{LIB}/used.py": "",
        "/srv/other.py": "",
    }
    application = Application(
        argv=("gunicorn", "site.wsgi:app"), env={"DJANGO_SETTINGS_MODULE": "site.settings"}, workdir="/srv"
    )
    assert reached(tmp_path, tree, application=application) == {*tree} - {"/srv/other.py"}


def test_programs_and_libraries_that_code_names(tmp_path: Path) -> None:
    tree: dict[str, str | bytes | None] = {
        "/app/main.py": (
            "import subprocess, ctypes\n"
            "subprocess.run(['git', 'log'])\nsubprocess.run('date | wc -l', shell=True)\nctypes.CDLL('libm2.so.6')\n"
        ),
        "/usr/bin/git": "#755 x",
        "/usr/bin/date": "#755 x",
        "/usr/bin/wc": "#755 x",
        "/usr/bin/log": "#755 x",
        "/bin/sh": "#755 x",
        "/usr/lib/x86_64-linux-gnu/libm2.so.6": "-> libm2.so.6.1",
        "/usr/lib/x86_64-linux-gnu/libm2.so.6.1": "x",
        "/usr/lib/x86_64-linux-gnu/libm3.so.6": "x",
    }
    expected = {*tree} - {"/usr/bin/log", "/usr/lib/x86_64-linux-gnu/libm3.so.6"}
    assert reached(tmp_path, tree, "/app/main.py") == expected


def test_two_versions_keep_their_own_libraries(tmp_path: Path) -> None:
    tree: dict[str, str | bytes | None] = {
        "/usr/local/bin/python3.12": "#755 \x7fELF",
        "/usr/local/lib/python3.12/os.py": "import new",
        "/usr/local/lib/python3.12/new.py": "",
        "/usr/local/lib/python3.12/shared.py": "",
        f"{LIB}/new.py": "",
        f"{LIB}/shared.py": "",
        "/app/main.py": "import shared\n",
    }
    found = reached(tmp_path, tree, "/app/main.py", "/usr/local/bin/python3.12")
    assert found == {*tree} - {f"{LIB}/new.py"}


def test_a_profile_says_what_a_third_partys_module_loads_by_computed_names(tmp_path: Path) -> None:
    site = f"{LIB}/site-packages"
    mine = parse(
        'why = "x"\n[modules]\nlanguage = "python"\n[modules.implied]\n"engine.core" = ["drivers.net*"]\n', "x", "x"
    )
    tree = {
        f"{site}/engine/__init__.py": "",
        f"{site}/engine/core.py": "",
        f"{site}/drivers/__init__.py": "",
        f"{site}/drivers/network.py": "",
    }
    tree |= {"/app/m.py": "import engine.core"}

    class Knowing(PythonRule):
        def __init__(self, inline: Mapping[str, Embedded] = NOTHING) -> None:
            super().__init__(inline, (*shipped(), mine))

    def keeps(rule: type[PythonRule]) -> bool:
        seeds = ("/usr/bin/python3", "/app/m.py")
        found = kept(tmp_path / rule.__name__, {**BASE, **tree}, *seeds, rules=(rule,))
        return f"{site}/drivers/network.py" in found

    assert keeps(Knowing)
    assert not keeps(PythonRule)


def test_a_modules_name_is_told_from_the_innermost_of_its_places() -> None:
    assert dotted_name("/usr/lib/python3.11/site-packages/a/b/__init__.py") == "a.b"
    assert dotted_name("/usr/lib/python3.11/lib-dynload/_ssl.cpython-311.so") == "_ssl"
    assert dotted_name("/usr/lib/python3/dist-packages/six.py") == "six"
    assert dotted_name("/app/six.py") == ""
