"""Upstream test-suites inside slim trees: what passes in the fat root must pass in the slim one.

The image is trained by one import or request. Test files and runner are mounted from outside, below
/suite, when the suite runs; they are no part of the training. Where a runner needs modules of the
standard library that nothing else uses, they are mounted too, and answer the runner and the tests only.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fixtures.roots import debian_root
from slimmer.pipeline.outputs import Outputs
from slimmer.pipeline.progress import Progress
from slimmer.pipeline.trace import Result, trace
from slimmer.recipe import Recipe, Run, Source
from tests.suite_parts import debian_source, grown, made, named, npm, parts, sdist, tools, wheels
from tracer.errors import TracerError
from tracer.session import Bind, Command, Identity, Session, SessionOptions

HERE = Path(__file__).resolve().parents[1] / "fixtures" / "suites"
PATIENCE = 900.0  # seconds for a whole suite
OUTCOME = re.compile(rb"\x01([^\t\n]+)\t(passed|failed)\n")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Suite:
    """`root` makes the fat root; `mounts` gives what is seen below /suite; `commands` what is run, by name.

    A command prints lines of outcomes, or is one test of its own: passed when it exits with 0 and, where `compared`,
    prints what it prints in the fat root.
    """

    name: str
    root: Callable[[], Path]
    training: tuple[str, ...]
    mounts: Callable[[Path], Mapping[str, Path]]  # of the fat root
    commands: Callable[[Mapping[str, Path]], Mapping[str, tuple[str, ...]]]
    env: Mapping[str, str] = field(default_factory=dict)  # of the suite
    own: Mapping[str, str] = field(default_factory=dict)  # of the training and the suite
    compared: bool = False
    asks: tuple[str, ...] = ()  # of the training, where it starts a server
    ready: str = ""
    user: str = ""
    explained: Mapping[str, str] = field(default_factory=dict)  # a pattern of tests that may fail in slim → why


@dataclass(frozen=True)
class Score:
    """What came of a suite: names of tests that passed, and what was said where one failed."""

    result: Result
    fat: frozenset[str]
    slim: frozenset[str]
    said: str

    def explained(self, suite: Suite) -> dict[str, int]:
        """How many tests pass in the fat root alone, by why that may be."""
        gone = self.fat - self.slim
        return {why: sum(bool(re.search(each, test)) for test in gone) for each, why in suite.explained.items()}

    def lost(self, suite: Suite) -> tuple[str, ...]:
        """Tests that pass in the fat root alone, without an explanation."""
        return tuple(
            each for each in sorted(self.fat - self.slim) if not any(re.search(why, each) for why in suite.explained)
        )


def measure(suite: Suite, folder: Path) -> Score:
    """Train, then run the suite in both trees. Raises SlimmerError, RootUnavailable."""
    root = suite.root()
    asks = (suite.asks,) if suite.asks else ()
    run = Run(suite.training, exec=asks, ready=suite.ready, user=suite.user or None, env=suite.own)
    recipe = Recipe(Source(root=str(root)), (run,))
    result = trace(recipe, Outputs(folder / "out", rootfs=str(folder / "rootfs")), Progress())
    mounts = suite.mounts(root)
    commands = suite.commands(mounts)
    fat, _, outputs = passed(suite, root, mounts, commands, {})
    if suite.compared:  # what two runs of the fat root do not say alike says nothing
        fat, _, _ = passed(suite, root, mounts, commands, outputs)
    slim, said, _ = passed(suite, folder / "rootfs", mounts, commands, outputs)
    return Score(result, fat, slim, said)


def passed(
    suite: Suite,
    root: Path,
    mounts: Mapping[str, Path],
    commands: Mapping[str, tuple[str, ...]],
    expected: Mapping[str, bytes],
) -> tuple[frozenset[str], str, dict[str, bytes]]:
    """The names of tests that pass in a tree, what was said by those that do not, and all outputs."""
    binds = tuple(Bind(str(source), f"/suite/{name}") for name, source in sorted(mounts.items()))
    found: set[str] = set()
    said: list[str] = []
    outputs: dict[str, bytes] = {}
    environment = {"PATH": PATH, "HOME": "/tmp", "LANG": "C.UTF-8", **suite.own, **suite.env}
    who = identity(suite.user, root)
    options = SessionOptions(str(root), record=False, binds=binds, identity=who)
    with Session.start(options) as session, open(os.devnull, "wb") as null:
        if suite.asks:
            _serve(session, suite, Command(suite.training, environment, identity=who), null.fileno())
        for name, argv in commands.items():
            workdir = "/suite/source" if "source" in mounts else "/"
            with tempfile.TemporaryFile() as out:
                command = Command(argv, environment, workdir, who)
                process = session.spawn(command, stdout=out.fileno(), stderr=out.fileno())
                code = process.wait(PATIENCE)
                if code is None:
                    process.signal(9)
                    process.wait(5)
                out.seek(0)
                output = out.read()
            outputs[name] = output
            rows = {each[1].decode(): each[2] for each in OUTCOME.finditer(output)}
            if rows:
                found |= {each for each, outcome in rows.items() if outcome == b"passed"}
                good = b"failed" not in rows.values()
            else:
                good = code == 0 and (not suite.compared or output == expected.get(name, output))
                if good:
                    found.add(name)
            if not good:
                said.append(f"-- {name}: {code}\n" + OUTCOME.sub(b"", output).decode(errors="replace")[-20000:])
    return frozenset(found), "\n".join(said), outputs


def identity(user: str, root: Path) -> Identity:
    """A user of a root by name."""
    for line in (root / "etc" / "passwd").read_text().splitlines():
        name, _, uid, gid, *_ = line.split(":")
        if name == user:
            return Identity(int(uid), int(gid))
    return Identity()


def _serve(session: Session, suite: Suite, command: Command, null: int) -> None:
    """Start the server and wait until it answers what it was trained with."""
    server = session.spawn(command, stdout=null, stderr=null)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        ask = session.spawn(replace(command, argv=suite.asks), stdout=null, stderr=null)
        if ask.wait(30.0) == 0:
            return
        time.sleep(0.2)
    raise TracerError(f"the server of {suite.name} did not answer")


# ------------------------------------------------------------------ Python

PYTHON = ("python3", "tzdata", "ca-certificates")
LIBRARIES = (
    *("jinja2", "markdown", "PyYAML", "click", "python-dateutil", "babel", "pygments", "docutils", "requests"),
    *("httpx", "werkzeug", "sqlalchemy"),
)
RUNNER = ("pytest", "pytest-asyncio", "trio")
ASYNCIO = ("-o", "asyncio_default_fixture_loop_scope=function")
STDLIB = "usr/lib/python3.11"


def python_root() -> Path:
    """Debian's Python with all the libraries: each suite trains one of them."""
    return grown(debian_root(*PYTHON), wheels(*LIBRARIES), "usr/local/lib/python3.11/dist-packages")


def _pytest(
    name: str,
    module: str,
    *names: str,
    needs: tuple[str, ...] = (),
    arguments: tuple[str, ...] = (),
    explained: Mapping[str, str] | None = None,
) -> Suite:
    """A suite of pytest: `names` of the source distribution are mounted, `needs` are what the tests alone use."""

    def mounts(root: Path) -> dict[str, Path]:
        return {
            "source": parts(sdist(name, wheels(*LIBRARIES)), *names),
            "runner": wheels(*RUNNER, *needs),
            "python": HERE / "python",
            "bin": tools(),
            "stdlib": root / STDLIB,
        }

    def commands(mounted: Mapping[str, Path]) -> dict[str, tuple[str, ...]]:
        line = ("python3", "-m", "pytest", "-p", "outcomes", "-p", "no:cacheprovider", "-q", "--tb=short")
        return {name: (*line, "--continue-on-collection-errors", *ASYNCIO, *arguments)}

    return Suite(
        name,
        python_root,
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


# ------------------------------------------------------------------ one command a test


def _files(mounted: Mapping[str, Path], patterns: Sequence[str], argv: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    source = mounted["source"]
    found = [each for pattern in patterns for each in sorted(source.glob(pattern))]
    return {(name := str(each.relative_to(source))): (*argv, name) for each in found}


# ------------------------------------------------------------------ Perl, Node.js, shell, PostgreSQL

MIXED = (
    *("perl", "libjson-perl", "libdatetime-perl", "libtemplate-perl", "libwww-perl", "ruby", "ruby-kramdown"),
    *("ruby-liquid", "ruby-minitest", "php-cli", "php-mbstring", "nodejs", "node-express", "node-yargs"),
    *("node-commander", "node-handlebars", "node-semver", "mocha", "postgresql-15", "sqlite3"),
)
NODE = "usr/share/nodejs"
PG = "/usr/lib/postgresql/15/bin"


def mixed_root() -> Path:
    return debian_root(*MIXED)


def _perl(package: str, module: str, *names: str) -> Suite:
    """The t/ of a Perl distribution, a command each file."""

    def mounts(root: Path) -> dict[str, Path]:
        return {
            "source": parts(debian_source(package), "t", *names),
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
        lambda mounted: _files(mounted, ("t/*.t", "t/*/*.t"), ("perl",)),
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
        return _files(mounted, ("test/*.js",), line)

    return Suite(
        "node-express",
        mixed_root,
        ("node", "-e", "require('express')"),
        mounts,
        commands,
        {"NODE_PATH": f"/{NODE}:/suite/runner/node_modules", "NODE_ENV": "test"},
        {"NODE_PATH": f"/{NODE}"},
    )


def _bash() -> Suite:
    """bash's own tests; the tools that they start come from outside, in both trees the same."""

    def mounts(root: Path) -> dict[str, Path]:
        return {"source": parts(debian_source("bash"), "tests"), "bin": tools()}

    def commands(mounted: Mapping[str, Path]) -> dict[str, tuple[str, ...]]:
        found = sorted(each.name for each in (mounted["source"] / "tests").glob("*.tests"))
        line = "cd /suite/source/tests; exec bash ./{} 2>&1 </dev/null"
        return {name: ("bash", "-c", line.format(name)) for name in found if name not in BASH_NOT}

    env = {"PATH": f"/suite/bin:{PATH}", "THIS_SH": "/bin/bash", "TMPDIR": "/tmp", "BASH_TSTOUT": "/tmp/out"}
    return Suite("bash", mixed_root, ("/bin/bash", "-c", "echo hello"), mounts, commands, env, compared=True)


BASH_NOT = ("jobs.tests", "trap.tests", "read.tests", "exec.tests")  # they wait for seconds, or for a terminal


def _postgres() -> Suite:
    """PostgreSQL's regression suite: each file by psql over TCP, and what it prints compared."""

    def mounts(root: Path) -> dict[str, Path]:
        source = debian_source("postgresql-15") / "src/test/regress"
        return {"source": parts(source, "sql", "data", "parallel_schedule")}

    def commands(mounted: Mapping[str, Path]) -> dict[str, tuple[str, ...]]:
        schedule = (mounted["source"] / "parallel_schedule").read_text()
        found = [name for line in re.findall(r"(?m)^test: (.*)", schedule) for name in line.split()]
        psql = ("psql", "-h", "127.0.0.1", "-U", "postgres", "-X", "-a", "-q", "-d", "regression")
        made = {"createdb": ("createdb", "-h", "127.0.0.1", "-U", "postgres", "regression")}
        return made | {name: (*psql, "-f", f"/suite/source/sql/{name}.sql") for name in found if name not in PG_NOT}

    env = {"PG_ABS_SRCDIR": "/suite/source", "PG_LIBDIR": "/tmp", "PG_DLSUFFIX": ".so", "PGTZ": "PST8PDT"}
    return Suite(
        "postgresql",
        lambda: debian_root(
            "postgresql-15", setup="echo 'host all all 127.0.0.1/32 trust' > /etc/postgresql/15/main/pg_hba.conf"
        ),
        (
            *(f"{PG}/postgres", "-D", "/var/lib/postgresql/15/main"),
            *("-c", "config_file=/etc/postgresql/15/main/postgresql.conf", "-c", "unix_socket_directories=/tmp"),
        ),
        mounts,
        commands,
        env | {"PGDATESTYLE": "Postgres, MDY"},
        compared=True,
        asks=("psql", "-h", "127.0.0.1", "-U", "postgres", "-At", "-c", "select 1"),
        ready="5432",
        user="postgres",
    )


# Long, or about the whole server (its statistics, its other sessions).
PG_NOT = ("stats", "tablespace", "vacuum_parallel", "infinite_recurse", "sanity_check", "largeobject", "psql")

SUITES: tuple[Suite, ...] = (
    _pytest("jinja2", "jinja2", "tests", "pyproject.toml"),
    _pytest("markdown", "markdown", "tests"),
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
    _perl("libjson-perl", "JSON"),
    _perl("libdatetime-perl", "DateTime"),
    _perl("libtemplate-perl", "Template"),
    _perl("libwww-perl", "LWP::UserAgent"),
    _express(),
    _bash(),
    _postgres(),
)
