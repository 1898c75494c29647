"""The application's own files stay whole: which directories are its units, and what of them is left out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from slimmer.closure.model import Application
from slimmer.closure.ownership.application import ApplicationRule, dropped
from slimmer.closure.ownership.units import Units
from slimmer.closure.profiles.load import load_all
from slimmer.packages.index import index
from slimmer.root.directory import DirectoryRoot
from tests.support import plant
from tests.unit.profiles_support import Deb, closure, debian, profile, reached, recorded
from tracer.recording import Recording

BASE = {
    "base": Deb(
        {
            "/usr/bin/env": "#755 e",
            "/usr/lib/python3.11/os.py": "os",
            "/etc/web/web.conf": "c",
            "/usr/share/web/page.html": "p",
            "/var/www/html": None,
            "/srv": None,
            "/opt": None,
            "/root": None,
            "/etc/base.conf": "b",
            "/var/lib/data": None,
        }
    )
}
APP: Mapping[str, str | bytes | None] = {
    "/app/main.py": "import x",
    "/app/lib/util.py": "u",
    "/app/empty": None,
    "/app/data/x.bin": "x",
    "/app/link": "-> data/x.bin",
    "/app/.git/HEAD": "ref",
    "/app/.git/objects/ab/cd": "blob",
    "/app/__pycache__/main.cpython-311.pyc": "pyc",
    "/app/tests/test_main.py": "t",
    "/app/tests/data.json": "{}",
    "/app/native/Makefile": "all:",
    "/app/native/fast.c": "int x;",
    "/app/native/fast.o": "o",
    "/app/native/fast.so": "so",
    "/app/download/example.c": "int y;",
    "/app/.env": "A=1",
}

METADATA = "Metadata-Version: 2.1\nName: y\nVersion: 1\n"


@pytest.fixture
def top(tmp_path: Path) -> Path:
    return debian(tmp_path, BASE, APP)


def own(top: Path, recording: Recording, application: Application | None = None) -> set[str]:
    return reached(top, recording, [ApplicationRule(load_all())], application)


def test_one_touched_file_keeps_its_whole_unit_with_empty_directories_and_links(top: Path) -> None:
    found = set(closure(top, recorded(read=["/app/main.py"]), [ApplicationRule(load_all())]).paths)
    assert {"/app/lib/util.py", "/app/empty", "/app/data/x.bin", "/app/link", "/app/.env"} <= found


def test_a_unit_that_a_link_leads_to_stays_too(top: Path) -> None:
    plant(
        top, {"/app/current": "-> /srv/releases/7", "/srv/releases/7/x": "x", "/srv/releases/6/x": "x", "/srv/y/z": ""}
    )
    plant(top, {"/app/env": "-> /usr/bin/env", "/app/void": "-> nowhere"})
    found = set(closure(top, recorded(read=["/app/main.py"]), [ApplicationRule(load_all())]).paths)
    assert {"/srv/releases/7/x", "/srv/releases/6/x", "/usr/bin/env", "/app/void"} <= found
    assert "/srv/y/z" not in found


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/app/.git/HEAD", False),
        ("/app/__pycache__/main.cpython-311.pyc", False),
        ("/app/tests/test_main.py", False),
        ("/app/tests/data.json", True),
        ("/app/native/fast.c", False),
        ("/app/native/fast.o", False),
        ("/app/native/fast.so", True),
        ("/app/download/example.c", True),
    ],
)
def test_what_is_plainly_not_run_time_is_left_out(top: Path, path: str, kept: bool) -> None:
    assert (path in own(top, recorded(read=["/app/main.py"]))) is kept


def test_what_the_run_used_is_not_left_out_nor_what_lies_beside_it(top: Path) -> None:
    assert "/app/.git/objects/ab/cd" in own(top, recorded(read=["/app/main.py", "/app/.git/HEAD"]))
    assert "/app/.git/objects/ab/cd" not in own(top, recorded(read=["/app/main.py"], looked_at=["/app/.git"]))


def test_the_left_out_are_listed_with_reasons_outermost_only(top: Path) -> None:
    root = DirectoryRoot(str(top))
    found = dropped(load_all(), root, recorded(read=["/app/main.py"]), index(root), Application())
    assert [each.path for each in found] == [
        "/app/.git",
        "/app/__pycache__",
        "/app/native/fast.c",
        "/app/native/fast.o",
        "/app/tests/test_main.py",
    ]
    assert all(each.why and each.profile == "application" for each in found)


@pytest.mark.parametrize(
    "application",
    [
        Application(workdir="/app"),
        Application(argv=("/app/main.py", "--x")),
        Application(argv=("./main.py",), workdir="/app"),
        Application(argv=("/usr/bin/env", "python3", "/app/main.py")),
        Application(executables=("/app/main.py now",)),
    ],
)
def test_the_command_line_shows_the_unit_too(top: Path, application: Application) -> None:
    (top / "app/main.py").chmod(0o755)
    assert "/app/lib/util.py" in own(top, recorded(), application)


@pytest.mark.parametrize(
    ("touched", "unit"),
    [
        ("/srv/x/site/a.html", "/srv/x"),
        ("/opt/tool/bin/t", "/opt/tool"),
        ("/home/me/app/x", "/home/me"),
        ("/root/app/x", "/root/app"),
        ("/root/x", ""),
        ("/var/www/html/index.html", "/var/www"),
        ("/var/lib/data/base/1", "/var/lib/data"),
        ("/etc/web/own.conf", "/etc/web"),
        ("/etc/own.conf", ""),
        ("/usr/share/web/about.html", "/usr/share/web"),
        ("/usr/local/bin/tool", ""),
        ("/usr/local/lib/own/x.so", "/usr/local/lib/own"),
        ("/usr/local/lib/python3.11/site-packages/x.py", ""),
        ("/usr/local/apache2/htdocs/x", "/usr/local/apache2"),
        ("/usr/lib/python3.11/__pycache__/os.pyc", ""),
        ("/usr/lib/x86_64-linux-gnu/odd.so", ""),
        ("/usr/lib/x86_64-linux-gnu/odd/x.cache", "/usr/lib/x86_64-linux-gnu/odd"),
        ("/var/log/web/x.log", ""),
        ("/var/lib/dpkg/status", ""),
        ("/tmp/x/y", ""),
        ("/opt/conda/lib/x", ""),
        ("/strange/x", "/strange"),
        ("/x", ""),
    ],
)
def test_the_unit_is_the_highest_directory_that_holds_no_others(top: Path, touched: str, unit: str) -> None:
    plant(top, {touched: "x"} if touched != "/var/lib/dpkg/status" else {})
    if "conda" in touched:
        plant(top, {"/opt/conda/conda-meta/history": ""})
    root = DirectoryRoot(str(top))
    assert Units(load_all(), root, index(root)).top(touched) == unit


def test_of_a_packages_directory_only_what_no_package_holds_is_the_applications(top: Path) -> None:
    plant(top, {"/etc/web/own.conf": "o", "/etc/web/sites/a.conf": "a"})
    assert own(top, recorded(read=["/etc/web/own.conf"])) == {
        "/etc/web",
        "/etc/web/own.conf",
        "/etc/web/sites",
        "/etc/web/sites/a.conf",
    }
    assert own(top, recorded(read=["/etc/web/web.conf"])) == set()


def test_a_listed_directory_is_used_a_looked_at_one_of_a_package_is_not(top: Path) -> None:
    plant(top, {"/var/www/html/index.html": "i"})
    assert "/var/www/html/index.html" in own(top, recorded(listed=["/var/www/html"]))
    assert own(top, recorded(looked_at=["/var/www/html"])) == set()
    assert own(top, recorded(listed=["/", "/etc", "/usr/local"])) == set()


def test_installed_packages_inside_a_unit_are_left_to_their_languages(tmp_path: Path) -> None:
    debian(
        tmp_path,
        BASE,
        {
            "/app/server.js": "require('x')",
            "/app/package.json": '{"name": "app", "version": "1.0.0"}',
            "/app/node_modules/x/package.json": '{"name": "x", "version": "1.0.0"}',
            "/app/node_modules/x/index.js": "x",
            "/app/venv/lib/python3.11/site-packages/y-1.dist-info/METADATA": METADATA,
            "/app/venv/lib/python3.11/site-packages/y-1.dist-info/RECORD": "y.py,,\ny-1.dist-info/METADATA,,\n",
            "/app/venv/lib/python3.11/site-packages/y.py": "y",
            "/app/venv/lib/python3.11/site-packages/loose.py": "l",
        },
    )
    found = own(tmp_path, recorded(read=["/app/server.js"]))
    assert {"/app/server.js", "/app/package.json", "/app/venv/lib/python3.11/site-packages/loose.py"} <= found
    assert found.isdisjoint({"/app/node_modules/x/index.js", "/app/venv/lib/python3.11/site-packages/y.py"})


def test_without_a_package_database_the_system_is_not_the_applications(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {**APP, "/usr/share/web/a": "a", "/usr/share/web/b": "b", "/usr/local/app/x": "x", "/usr/local/app/y": "y"},
    )
    plant(tmp_path, {"/var/lib/data/1": "1", "/var/lib/data/2": "2", "/etc/web/a": "a", "/etc/web/b": "b"})
    touched = ["/app/main.py", "/usr/share/web/a", "/usr/local/app/x", "/var/lib/data/1", "/etc/web/a"]
    found = own(tmp_path, recorded(read=touched))
    assert {"/app/lib/util.py", "/usr/local/app/y", "/var/lib/data/2"} <= found
    assert found.isdisjoint({"/usr/share/web/b", "/etc/web/b"})


def test_a_large_unit_is_kept_and_mentioned(top: Path) -> None:
    small = profile('why = "x"\n[application]\ncontainers = ["/etc"]\nlarge = 3\n')
    grown = closure(top, recorded(read=["/app/main.py"]), [ApplicationRule([small])])
    assert "/app/lib/util.py" in grown.paths
    assert [(warning.kind, warning.path) for warning in grown.warnings] == [("large-application", "/app")]


@pytest.mark.parametrize("sign", ["lib/jvm.cfg", "jre/lib/amd64/jvm.cfg"])
def test_a_java_runtime_in_the_applications_directory_is_its_rules_affair(sign: str, top: Path) -> None:
    jdk = "/srv/shop/jdk"
    plant(
        top,
        {f"{jdk}/{sign}": "", f"{jdk}/jmods/java.base.jmod": "m", f"{jdk}/lib/src.zip": "s", "/srv/shop/a.jar": "a"},
    )
    assert own(top, recorded(read=["/srv/shop/a.jar"])) == {"/srv/shop", "/srv/shop/a.jar"}
