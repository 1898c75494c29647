"""Suites of libraries: Python's, Perl's, Node.js'."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from fixtures.roots import debian_root
from tests.suite_parts import debian_source, grown, made, named, npm, parts, sdist, tools, wheels
from tests.suite_run import HERE, NUMBERED, PATH, Suite, each_file

# ------------------------------------------------------------------ Python

PYTHON = ("python3", "tzdata", "ca-certificates")
LIBRARIES = (
    *("jinja2", "markdown", "PyYAML", "click", "python-dateutil", "babel", "pygments", "docutils", "requests"),
    *("httpx", "werkzeug", "sqlalchemy"),
)
RUNNER = ("pytest", "pytest-asyncio", "trio")
ASYNCIO = ("-o", "asyncio_default_fixture_loop_scope=function")
STDLIB = "usr/lib/python3.11"


def python_root(libraries: tuple[str, ...] = LIBRARIES) -> Path:
    """Debian's Python with these libraries: each suite trains one of them."""
    root = debian_root(*PYTHON)
    return grown(root, wheels(*libraries), "usr/local/lib/python3.11/dist-packages") if libraries else root


def _pytest(
    name: str,
    module: str,
    *names: str,
    needs: tuple[str, ...] = (),
    arguments: tuple[str, ...] = (),
    explained: Mapping[str, str] | None = None,
    libraries: tuple[str, ...] = LIBRARIES,
    source: Callable[[], Path] | None = None,
    beside: tuple[str, ...] = (),
) -> Suite:
    """A suite of pytest: `names` of the source (a source distribution) are mounted, `needs` are the tests' own.

    `beside` is of the source too: modules of the library's packages that only tests import.
    """
    where = source or (lambda: sdist(name, wheels(*libraries)))

    def mounts(root: Path) -> dict[str, Path]:
        return {
            "source": parts(where(), *names),
            "runner": wheels(*RUNNER, *needs),
            "python": HERE / "python",
            "bin": tools(),
            "stdlib": root / STDLIB,
            **({"beside": parts(where(), *beside)} if beside else {}),
        }

    def commands(mounted: Mapping[str, Path]) -> dict[str, tuple[str, ...]]:
        line = ("python3", "-m", "pytest", "-p", "outcomes", "-p", "no:cacheprovider", "-q", "--tb=short")
        return {name: (*line, "--continue-on-collection-errors", *ASYNCIO, *arguments)}

    return Suite(
        name,
        lambda: python_root(libraries),
        ("python3", "-c", f"import {module}"),
        mounts,
        commands,
        {
            "PYTHONPATH": "/suite/python:/suite/runner",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PATH": f"{PATH}:/suite/bin",
        },
        explained=explained or {},
    )


# Of Django's apps of tests those that look things up by computed names and read its data. Others of the kind fail in
# the fat root too, on what a later Python answers or how fast a machine is.
DJANGO = (
    *("i18n", "humanize_tests", "auth_tests", "forms_tests", "staticfiles_tests", "view_tests", "sitemaps_tests"),
    *("syndication_tests", "messages_tests", "sessions_tests", "mail", "validators", "test_utils", "admin_scripts"),
    *("postgres_tests", "cache", "file_storage"),
)


def _django() -> Suite:
    """Django's tests, an app of theirs a test."""

    def mounts(root: Path) -> dict[str, Path]:
        return {
            "source": parts(sdist("django", wheels("django")), "tests"),
            "python": HERE / "python",
            "stdlib": root / STDLIB,
        }

    def commands(mounted: Mapping[str, Path]) -> dict[str, tuple[str, ...]]:
        line = ("python3", "/suite/source/tests/runtests.py", "--parallel=1", "-v0")
        return {name: (*line, name) for name in DJANGO}

    return Suite(
        "django",
        lambda: grown(debian_root(*PYTHON), wheels("django"), "usr/local/lib/python3.11/dist-packages"),
        ("python3", "-c", "import django"),
        mounts,
        commands,
        {"PYTHONPATH": "/suite/python", "PYTHONDONTWRITEBYTECODE": "1"},
    )


# ------------------------------------------------------------------ Perl, Node.js

MIXED = (
    *("perl", "libjson-perl", "libdatetime-perl", "libtemplate-perl", "libwww-perl", "ruby", "ruby-kramdown"),
    *("ruby-liquid", "ruby-minitest", "php-cli", "php-mbstring", "nodejs", "node-express", "node-yargs"),
    *("node-commander", "node-handlebars", "node-semver", "mocha", "postgresql-15", "sqlite3"),
)
NODE = "usr/share/nodejs"


def mixed_root() -> Path:
    return debian_root(*MIXED)


def _perl(package: str, module: str, *names: str) -> Suite:
    """The t/ of a Perl distribution, a command each file."""

    def mounts(root: Path) -> dict[str, Path]:
        return {
            "source": parts(debian_source(package), *(names or ("t",))),
            "perl": HERE / "perl",
            "perl-lib": root / "usr/share/perl/5.36",
            "perl-arch": root / "usr/lib/x86_64-linux-gnu/perl/5.36",
            "perl-base": root / "usr/lib/x86_64-linux-gnu/perl-base",
        }

    places = "/suite/perl-lib:/suite/perl-arch:/suite/perl-base:/suite/source"
    return Suite(
        package,
        mixed_root,
        ("perl", "-e", f"use {module}"),
        mounts,
        lambda mounted: each_file(mounted, ("t/*.t", "t/*/*.t"), ("perl",)),
        {"PERL5OPT": "-I/suite/perl -MOutside", "SUITE_PERL": places},
    )


def _express() -> Suite:
    """Express' tests, which ask for the library beside them: links lead to the one in the root."""

    def mounts(root: Path) -> dict[str, Path]:
        source = debian_source("node-express")
        with made(named("express", str(source))) as (home, part):
            if part is not None:
                for name in ("test", "examples"):
                    shutil.copytree(source / name, part / name, symlinks=True)
                for name in ("index.js", "lib"):
                    (part / name).symlink_to(f"/{NODE}/express/{name}")
        return {
            "source": home,
            "runner": npm("mocha@10", "supertest@6", "after", "marked", "ejs", "hbs", "cookie-parser"),
        }

    def commands(mounted: Mapping[str, Path]) -> dict[str, tuple[str, ...]]:
        line = ("node", "/suite/runner/node_modules/mocha/bin/mocha.js", "--exit", "--require", "test/support/env")
        return each_file(mounted, ("test/*.js",), line)

    return Suite(
        "node-express",
        mixed_root,
        ("node", "-e", "require('express')"),
        mounts,
        commands,
        {"NODE_PATH": f"/{NODE}:/suite/runner/node_modules", "NODE_ENV": "test"},
        {"NODE_PATH": f"/{NODE}"},
    )


# Of CPython's own tests those of modules that look up codecs, readers, back ends and data by name. What needs a
# network, a compiler or minutes is not among them.
CPYTHON = (
    *("sqlite3", "json", "email", "zipfile", "tarfile", "csv", "configparser", "logging", "datetime", "zoneinfo"),
    *("decimal", "uuid", "ssl", "hashlib", "http.client", "http.server", "http.cookies", "urllib.request", "pickle"),
    *("xml.etree.ElementTree", "xml.dom.minidom", "xml.sax", "codecs", "gettext", "argparse", "mimetypes", "calendar"),
    *("concurrent.futures", "shelve", "dbm.dumb", "unicodedata", "encodings", "plistlib", "fractions"),
)
CPYTHON_TESTS = (
    *("test_sqlite3", "test_json", "test_email", "test_zipfile.py", "test_csv.py", "test_configparser.py"),
    *(
        "test_zoneinfo",
        "test_uuid.py",
        "test_hashlib.py",
        "test_http_cookies.py",
        "test_pickle.py",
        "test_xml_etree.py",
    ),
    *("test_minidom.py", "test_sax.py", "test_codecs.py", "test_codecencodings_jp.py", "test_gettext.py"),
    *("test_argparse.py", "test_mimetypes.py", "test_calendar.py", "test_shelve.py", "test_dbm_dumb.py"),
    *("test_ucn.py", "test_plistlib.py", "test_fractions.py", "test_httpservers.py", "test_urllib.py", "test_bz2.py"),
)


def _cpython() -> Suite:
    """Tests of the standard library, by pytest: `test` is a package that applications do without."""
    tests = tuple(f"test/{each}" for each in CPYTHON_TESTS)
    return _pytest(
        *("python3.11", ",".join(CPYTHON), "test"),
        arguments=("-p", "no:asyncio", *tests),
        libraries=(),
        source=lambda: debian_source("python3.11") / "Lib",
    )


# Modules of Perl's core that look up others by names of their own, each by the directory of its distribution.
PERL_CORE = {
    "JSON-PP": "JSON::PP",
    "Encode": "Encode",
    "HTTP-Tiny": "HTTP::Tiny",
    "Time-Local": "Time::Local",
    "Time-Piece": "Time::Piece",
    "Digest-SHA": "Digest::SHA",
    "Scalar-List-Utils": "List::Util",
    "Getopt-Long": "Getopt::Long",
    "Pod-Simple": "Pod::Simple",
    "IO-Compress": "IO::Compress::Gzip",
    "Text-Balanced": "Text::Balanced",
    "File-Temp": "File::Temp",
}


def _perl_core() -> Suite:
    """The t/ of distributions in Perl's core, a command each file."""
    directories = tuple(f"cpan/{each}/t" for each in PERL_CORE)

    def commands(mounted: Mapping[str, Path]) -> dict[str, tuple[str, ...]]:
        line = 'cd "cpan/$1"; exec perl "$2"'
        return {
            name: ("/suite/bin/busybox", "sh", "-c", line, "sh", name.split("/")[1], name.split("/", 2)[2])
            for name in each_file(mounted, [f"{each}/*.t" for each in directories], ())
        }

    base = _perl("perl", "", *directories)
    return replace(
        base,
        name="perl",
        root=lambda: debian_root("perl"),
        training=("perl", "-e", "".join(f"use {each};" for each in PERL_CORE.values())),
        commands=commands,
        mounts=lambda root: {**base.mounts(root), "bin": tools()},
        env={**base.env, "PATH": f"{PATH}:/suite/bin"},
        says=NUMBERED,
    )


LIBRARY_SUITES: tuple[Suite, ...] = (
    _pytest("jinja2", "jinja2", "tests", "pyproject.toml"),
    _pytest("markdown", "markdown", "tests", beside=("markdown/test_tools.py",)),
    _pytest(
        *("click", "click", "tests", "pyproject.toml"),
        explained={"test_pipepager_less_detection": "their pager is a shell script: no shell was asked for"},
    ),
    _django(),
    _pytest("PyYAML", "yaml", "tests"),
    _pytest("python-dateutil", "dateutil", "tests"),
    _pytest("babel", "babel", "tests", needs=("freezegun", "pytz", "jinja2")),
    _pytest("pygments", "pygments", "tests", "pyproject.toml"),
    _pytest("docutils", "docutils", "test"),
    _pytest(
        "requests",
        "requests",
        "tests",
        "pyproject.toml",
        needs=("pytest-httpbin", "pytest-mock", "httpbin", "trustme", "PySocks"),
    ),
    _pytest("httpx", "httpx", "tests", "pyproject.toml", needs=("trustme", "uvicorn", "chardet")),
    _pytest(
        "werkzeug",
        "werkzeug",
        "tests",
        "pyproject.toml",
        needs=("ephemeral-port-reserve", "watchdog", "cryptography"),
    ),
    _pytest("sqlalchemy", "sqlalchemy", "test", "setup.cfg"),
    _pytest(
        "lxml", "lxml.etree", "tests", libraries=("lxml",), source=lambda: sdist("lxml", wheels("lxml")) / "src/lxml"
    ),
    _pytest(
        *("pillow", "PIL.Image", "Tests", "pyproject.toml", "checks", "docs/handbook"),
        libraries=("pillow",),
    ),
    _cpython(),
    _perl("libjson-perl", "JSON"),
    _perl("libdatetime-perl", "DateTime"),
    _perl("libtemplate-perl", "Template"),
    _perl("libwww-perl", "LWP::UserAgent"),
    _express(),
    _perl_core(),
)
