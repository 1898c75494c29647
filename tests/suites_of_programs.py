"""Suites of programs: a shell, servers, command lines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from fixtures.roots import debian_root
from tests.suite_parts import compiled, debian_source, git_tests, lent, made, named, parts, parts_by_path, tools
from tests.suite_run import JQ, PATH, PHPT, REDIS, TAP, Suite

PG = "/usr/lib/postgresql/15/bin"
SHELL = ("/suite/bin/busybox", "sh", "-c")


def _bash() -> Suite:
    """bash's own tests; the tools that they start come from outside, in both trees the same."""

    def mounts(root: Path) -> dict[str, Path]:
        source = debian_source("bash")
        return {
            "source": parts_by_path(source, "tests"),
            "support": compiled(
                *(source / "support" / f"{each}.c" for each in ("recho", "zecho", "printenv", "xcase"))
            ),
            "libc-bin": lent(**LIBC_BIN),
            "bin": tools(),
        }

    def commands(mounted: Mapping[str, Path]) -> dict[str, tuple[str, ...]]:
        found = sorted(each.name for each in (mounted["source"] / "tests").glob("*.tests"))
        line = "cd /suite/source/tests; exec bash ./{} 2>&1 </dev/null"
        return {name: ("bash", "-c", line.format(name)) for name in found if name not in BASH_NOT}

    env = {
        "PATH": f"/suite/bin:/suite/support:/suite/libc-bin/lent:{PATH}",
        "THIS_SH": "/bin/bash",
        "TMPDIR": "/tmp",
        "BASH_TSTOUT": "/tmp/out",
    }
    return Suite(
        "bash",
        lambda: debian_root("bash"),
        ("/bin/bash", "-c", "echo hello"),
        mounts,
        commands,
        env,
        compared=True,
        shell=True,
    )


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


LIBC_BIN = {"package": "libc-bin", "iconv": "usr/bin/iconv", "getconf": "usr/bin/getconf", "locale": "usr/bin/locale"}

# Scripts that start helpers, hooks, other commands of git and what a repository's settings name.
GIT_SCRIPTS = (
    *("t0001", "t0003", "t0012", "t0021", "t0300", "t0302", "t1020", "t1300", "t1450", "t1800", "t2020", "t2400"),
    *("t3200", "t3301", "t3400", "t3404", "t3501", "t3701", "t3900", "t3903", "t4014", "t4017", "t4018", "t4034"),
    *("t4150", "t4201", "t4203", "t5000", "t5001", "t5100", "t5300", "t5401", "t5407", "t5510", "t5512", "t5601"),
    *("t5603", "t5605", "t5607", "t5801", "t6030", "t6300", "t7003", "t7004", "t7005", "t7006", "t7201", "t7400"),
    *("t7405", "t7501", "t7502", "t7504", "t7508", "t7600", "t7606", "t7610", "t7800", "t7810", "t9300", "t9400"),
)


def _git() -> Suite:
    """git's t/ against the git that is installed: sh, its helpers and templates are the tree's."""

    def mounts(root: Path) -> dict[str, Path]:
        return {
            "source": git_tests(),
            "bin": tools(),
            "perl": lent("perl", perl="usr/bin/perl"),
            "libc-bin": lent(**LIBC_BIN),
        }

    def commands(mounted: Mapping[str, Path]) -> dict[str, tuple[str, ...]]:
        found = sorted(each.name for each in (mounted["source"] / "t").glob("t[0-9]*.sh"))
        line = 'cd /suite/source/t; exec sh "$@" --root=/tmp/trash'
        return {each: (*SHELL, line, "sh", each) for each in found if each.startswith(GIT_SCRIPTS)}

    env = {
        "GIT_TEST_INSTALLED": "/usr/bin",
        "GIT_TEST_CHAIN_LINT": "0",
        "TEST_NO_MALLOC_CHECK": "1",
        "TEST_OUTPUT_DIRECTORY": "/tmp",
    }
    return Suite(
        "git",
        lambda: debian_root("git"),
        ("git", "--version"),
        mounts,
        commands,
        {**env, "PATH": f"/suite/bin:/suite/libc-bin/lent:{PATH}"},
        says=TAP,
    )


REDIS_UNITS = (
    *("unit/printver", "unit/dump", "unit/auth", "unit/protocol", "unit/keyspace", "unit/scan", "unit/info"),
    *("unit/type/string", "unit/type/incr", "unit/type/hash", "unit/sort", "unit/multi", "unit/acl", "unit/acl-v2"),
    *("unit/pubsub", "unit/slowlog", "unit/scripting", "unit/functions", "unit/introspection", "unit/introspection-2"),
    *("unit/bitops", "unit/geo", "unit/tracking", "unit/aofrw", "integration/rdb", "integration/aof"),
    *("integration/redis-cli", "integration/logging", "integration/convert-zipmap-hash-on-load"),
)


def _redis() -> Suite:
    """Redis' Tcl suite, which starts the tree's server with settings of its own; Tcl comes from outside."""

    def mounts(root: Path) -> dict[str, Path]:
        source = debian_source("redis")
        with made(named("redis-links", str(source))) as (home, part):
            if part is not None:
                (part / "src").mkdir()
                (part / "bin").mkdir()
                (part / "bin" / "sh").symlink_to("/suite/bin/busybox")
                for name in ("server", "cli", "benchmark", "check-aof", "check-rdb"):
                    (part / "src" / f"redis-{name}").symlink_to(f"/usr/bin/redis-{name}")
        return {
            "source": parts_by_path(source, "tests"),
            "links": home,
            "libc-bin": lent(**LIBC_BIN),
            "bin": tools(),
            "tcl": lent("tcl", tclsh="usr/bin/tclsh8.6"),
        }

    def commands(mounted: Mapping[str, Path]) -> dict[str, tuple[str, ...]]:
        line = (
            "rm -rf /tmp/redis; mkdir /tmp/redis; cp -r /suite/source/tests /suite/links/src /tmp/redis; cd /tmp/redis;"
            ' exec /suite/tcl/lent/tclsh tests/test_helper.tcl --clients 1 --single "$1"'
        )
        return {each: (*SHELL, line, "sh", each) for each in REDIS_UNITS}

    return Suite(
        "redis",
        lambda: debian_root("redis"),
        ("redis-server", "--port", "6379"),
        mounts,
        commands,
        {"PATH": f"{PATH}:/suite/bin:/suite/libc-bin/lent:/suite/links/bin"},
        asks=("redis-cli", "ping"),
        ready="6379",
        says=REDIS,
        explained={
            "generate a stack trace on selected systems": "the test is there where ldd is, which only it starts"
        },
    )


def _jq() -> Suite:
    """jq's tests of its language, which it runs itself."""

    def commands(mounted: Mapping[str, Path]) -> dict[str, tuple[str, ...]]:
        return {
            each: ("jq", "-L", "tests/modules", "--run-tests", f"tests/{each}.test")
            for each in ("jq", "onig", "base64", "optional")
        }

    return Suite(
        "jq",
        lambda: debian_root("jq"),
        ("jq", "--version"),
        lambda root: {"source": parts(debian_source("jq"), "tests")},
        commands,
        says=JQ,
    )


GAWK = r"""
cd /suite/source/test
for ok in *.ok; do
    name=${ok%.ok}
    [ -f "$name.awk" ] || continue
    in=/dev/null
    [ -f "$name.in" ] && in=$name.in
    timeout 20 gawk -f "$name.awk" <"$in" >/tmp/said 2>&1 || echo "EXIT CODE: $?" >>/tmp/said
    if cmp -s /tmp/said "$ok"; then came=passed; else came=failed; fi
    printf '\001%s\t%s\n' "$name" "$came"
done
"""


def _gawk() -> Suite:
    """gawk's programs that take no option: each with its input, and what it prints as the suite expects it."""
    return Suite(
        "gawk",
        lambda: debian_root("gawk"),
        ("gawk", "--version"),
        lambda root: {"source": parts(debian_source("gawk"), "test"), "bin": tools()},
        lambda mounted: {"gawk": (*SHELL, GAWK)},
        {"PATH": f"{PATH}:/suite/bin", "AWKPATH": "."},
        shell=True,
    )


PHP_TESTS = (*("ext/json/tests", "ext/ctype/tests", "ext/iconv/tests", "ext/tokenizer/tests"),)


def _php() -> Suite:
    """PHP's tests of its language and of some extensions, by its own runner."""

    def mounts(root: Path) -> dict[str, Path]:
        return {"source": parts(debian_source("php8.2"), "run-tests.php", *PHP_TESTS), "bin": tools()}

    def commands(mounted: Mapping[str, Path]) -> dict[str, tuple[str, ...]]:
        line = (
            "rm -rf /tmp/php; mkdir /tmp/php; cp -r /suite/source/. /tmp/php; cd /tmp/php;"
            ' exec php run-tests.php -p /usr/bin/php -q --offline --no-color "$1"'
        )
        return {each: (*SHELL, line, "sh", each) for each in PHP_TESTS}

    return Suite(
        "php",
        lambda: debian_root("php-cli", "php-mbstring"),
        ("php", "-r", "echo 1;"),
        mounts,
        commands,
        {"PATH": f"{PATH}:/suite/bin", "NO_INTERACTION": "1"},
        says=PHPT,
        shell=True,
    )


PROGRAM_SUITES: tuple[Suite, ...] = (_bash(), _postgres(), _git(), _redis(), _jq(), _gawk(), _php())
