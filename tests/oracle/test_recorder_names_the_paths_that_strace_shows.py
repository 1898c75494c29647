"""For real programs, the recorded paths are those of `strace -f`, for both complete recorders.

Notify records the very run that strace watches (a listener and a tracer go together), so the
two sets must be equal, random names included. Under the ptrace recorder nobody else can
trace, so that is a second run of the same program, compared where its names are not random
(`random` says which are, and becomes one name in both).

Paths are compared by the directory that they really lead to, so that neither side's way of
writing them matters. What differs, and is checked to be just that:

- what a link such as /proc/self/fd/3 or /dev/stdin leads to is recorded too, by its own name;
- process numbers below /proc, descriptor numbers below /dev/fd have a normal form.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.oracle import recorder_strace
from tests.oracle.recorder_harness import Done, record
from tests.support import needs_root, plant, requires, root_of
from tracer.recorder.paths import normal_form
from tracer.recorder.protocol import Choice

pytestmark = [requires("strace"), needs_root]

STRACE = shutil.which("strace") or "strace"
FIXTURE_ROOT = ("ruby", "php-cli", "nginx-light", "redis-server", "busybox-static")


@dataclass(frozen=True, slots=True)
class Case:
    """One program. `root`: run it in the fixture's root, by chroot. `random`: names that differ from run to run."""

    name: str
    command: str  # as a shell would split it
    root: bool = False
    random: str = ""
    code: int = 0
    open: bool = False  # run it in a directory that any user may enter
    needs: str = ""  # a program beside the first
    setup: str = ""  # a shell script, run in the working directory before each run


_PYTHON = shlex.quote(sys.executable)
_SUBPROCESS = "import subprocess; subprocess.run(['id']); subprocess.run(['nope'])"
_THREADS = """import concurrent.futures, os
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    list(pool.map(lambda i: os.path.exists(f"/no/{i}"), range(200)))
"""
_COMMIT = "git init -q . && echo x > f && git add f && git -c user.name=a -c user.email=b commit -qm m && git status"
_C = '#include <stdio.h>\nint main(void){puts("hello");return 0;}\n'
_MAKEFILE = f"printf '%s' '{_C}' > hello.c; printf 'hello: hello.c\\n\\tgcc -O2 -o hello hello.c\\n' > Makefile"
_SCRIPT = """set -e
cd "$(mktemp -d)"
for i in 1 2 3; do echo $i; done | sort -r | sed s/1/one/ | awk '{print $1}' > out
cat < out | gzip -c > out.gz
gzip -dc out.gz | grep -c one
( cd / && ls -d etc/../usr//./bin . .. )
ln -s out link; readlink link; cat link > /dev/null
mkdir -p a/b; mv out a/b/; rm -r a link
dir=$PWD; cd /; rm -r "$dir"
"""

CASES = (
    Case("ls", "ls -la /etc /proc/self/fd"),
    Case("python", f"{_PYTHON} -c 'import json, asyncio, email.mime.text, http.client, sqlite3, decimal'"),
    Case("python-subprocess", f'{_PYTHON} -c "{_SUBPROCESS}"', code=1),
    Case("threads", f"{_PYTHON} -c '{_THREADS}'"),
    Case("perl", "perl -MPOSIX -MFile::Find -MData::Dumper -e 'print Dumper([uname()])'"),
    Case("node", """node -e "require('http'); require('zlib'); require('fs').readdirSync('/etc')" """),
    Case(
        "git",
        f"sh -ec '{_COMMIT}'",
        random=r"\.git/t\w{6}$|tmp_(obj|idx|pack)_\w+|objects/[0-9a-f]{2}(/[0-9a-f]{38})?",
        setup="rm -rf .git f",
    ),
    Case("tar", "tar cf out.tar -C /usr/share doc/bash doc/base-files", setup="rm -f out.tar"),
    Case(
        "tar-extract",
        "tar xpf in.tar",
        setup="rm -rf x in.tar; tar cf in.tar --transform s,^,x/, -C /usr/share doc/base-files",
    ),
    Case("find", "find /usr/share/doc/base-files /etc/apt -newer /etc/passwd -ls"),
    Case("make-gcc", "make -B", random=r"/tmp/cc\w{6}(\.\w+)?", setup=_MAKEFILE),
    Case("sort", "sort -S16k --parallel=2 -T . words", random=r"sort\w{6}", setup="seq 9000 -1 1 > words"),
    Case("ssh-keygen", "ssh-keygen -q -t ed25519 -N '' -f key", setup="rm -f key key.pub"),
    Case("curl-file", "curl -s file:///etc/passwd"),
    Case("sqlite3", "sqlite3 a.db 'create table t(x); insert into t values(1); select * from t'", setup="rm -f a.db*"),
    Case(
        "postgres-initdb",
        "setpriv --reuid=65534 --regid=65534 --clear-groups /usr/lib/postgresql/15/bin/initdb -D data -A trust -N",
        random=r"xlogtemp\.\d+|PostgreSQL\.\d+|initdb\.\d+|pg_internal\.init\.\d+",
        setup="rm -rf data; chmod 777 .",
        needs="/usr/lib/postgresql/15/bin/initdb",
        open=True,
    ),
    Case("bash-script", "bash script", random=r"/tmp/tmp\.\w+", setup=f"cat > script <<'X'\n{_SCRIPT}X"),
    Case("vim", "vim -es -u NONE -c \"put ='x' | wq!\" text", setup="rm -f text .text.sw?"),
    Case(  # root's man keeps what it has formatted, where there is a directory for it
        "man",
        "man -P cat ls",
        random=r"/tmp/\w*man\w*|cat1/cat\w{6}",
        setup="rm -f /var/cache/man/cat1/ls.1*",
    ),
    Case("dpkg", "dpkg -l bash"),
    Case("apt-cache", "apt-cache policy bash", random=r"(pkgcache|srcpkgcache)\.bin\.\w{6}"),
    Case(
        "openssl",
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout k.pem -out c.pem",
        setup="rm -f k.pem c.pem",
    ),
    Case("java", "java -Xshare:auto -version", random=r"/tmp/(hsperfdata_\w+/|\.java_pid)\d+"),
    Case("psql", "psql --version"),
    Case(
        "gpg",
        "gpg --homedir . --batch --list-keys",
        random=r"\.#lk0x\w+\..*|/tmp/\S+",
        setup="rm -rf *.kbx* *.gpg* *.d .#*",
    ),
    Case("locale", "locale -a"),
    Case("static", "./static", setup=f"printf '%s' '{_C}' > s.c; gcc -static -o static s.c", needs="gcc"),
    Case("ruby", """/usr/bin/ruby -rjson -rset -ropen3 -e "puts JSON.generate(Open3.capture2('id'))" """, root=True),
    Case("php", """/usr/bin/php -r "echo json_encode(scandir('/etc'));" """, root=True),
    Case("nginx", "/usr/sbin/nginx -t", root=True),
    Case("redis", "/usr/bin/redis-server --version", root=True),
    Case("busybox", """/bin/busybox sh -c "busybox ls -l /usr; cd /etc; busybox find . -name 'p*'" """, root=True),
)


@pytest.fixture(scope="module")
def fixture_root() -> Path:
    return root_of(*FIXTURE_ROOT)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_recorded_paths_are_those_of_strace(case: Case, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    argv = shlex.split(case.command)
    if case.root:
        argv = ["/usr/sbin/chroot", str(request.getfixturevalue("fixture_root")), *argv]
    elif not argv[0].startswith("./"):
        program = shutil.which(argv[0])
        if program is None:
            pytest.skip(f"not installed: {argv[0]}")
        argv[0] = program
    if case.needs and shutil.which(case.needs) is None:
        pytest.skip(f"not installed: {case.needs}")
    if case.open:
        place = tempfile.mkdtemp(prefix="recorder-oracle-")
        os.chmod(place, 0o755)
        request.addfinalizer(lambda: shutil.rmtree(place))
        tmp_path = Path(place)
    watched = _prepare(case, tmp_path / "work")
    output = tmp_path / "strace"
    traced = [STRACE, *recorder_strace.command(output, argv)[1:]]
    both = record(traced, Choice.NOTIFY, cwd=watched, env=_environment(watched))
    shown = recorder_strace.touched(output, str(watched))
    assert both.code == case.code
    assert shown.calls > 2
    expected = {_canonical(path) for path in shown.paths}
    _explain(_of_the_program(both), expected, both)

    _prepare(case, watched)
    alone = record(argv, Choice.PTRACE, cwd=watched, env=_environment(watched))
    assert alone.code == case.code
    again = {_canonical(path) for path in alone.paths}
    _explain({_same(case, path) for path in again}, {_same(case, path) for path in expected}, alone)


@requires("strace")
def test_recorded_paths_of_an_i386_program_are_those_of_strace(tmp_path: Path) -> None:
    root = root_of("busybox-static", architecture="i386", variant="extract")
    busybox = str(root / "bin/busybox")
    script = f"cd /usr; {busybox} ls -l share/doc; {busybox} cat ../etc/passwd; {busybox} mkdir /nope/x"
    argv = [busybox, "sh", "-c", script]
    output = tmp_path / "strace"
    both = record([STRACE, *recorder_strace.command(output, argv)[1:]], Choice.NOTIFY, cwd=tmp_path)
    expected = {_canonical(path) for path in recorder_strace.touched(output, str(tmp_path)).paths}
    assert "/usr/share/doc" in expected
    _explain(_of_the_program(both), expected, both)
    alone = record(argv, Choice.PTRACE, cwd=tmp_path)
    _explain({_canonical(path) for path in alone.paths}, expected, alone)


def _prepare(case: Case, work: Path) -> Path:
    plant(work, {".keep": ""})
    if case.setup:
        assert os.system(f"cd {work} && {{ {case.setup}\n}} > /dev/null 2>&1") == 0
    return work


def _environment(work: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": str(work),
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
    }


def _of_the_program(done: Done) -> set[str]:
    """Without what strace did itself: all but the exec that it ended in."""
    strace = {os.path.realpath(STRACE), ""}
    mine = {_canonical(access.path) for access in done.recording.accesses if access.by - strace}
    started = {_canonical(execution.path) for execution in done.recording.executions}
    return (mine | started) - {_canonical(STRACE)}


def _canonical(path: str) -> str:
    """The same for all ways to write it: the parent as it really is, the last part as named."""
    if path.startswith(("/proc/", "/dev/")):
        return normal_form(os.path.normpath(path).encode()).decode()
    path = re.sub(r"(/+\.?)+$", "", path) or "/"  # "dir/" and "dir/." are recorded as "dir"
    parent, name = os.path.split(path)
    if name in ("", ".", ".."):
        return os.path.realpath(path)
    return os.path.join(os.path.realpath(parent), name)


def _same(case: Case, path: str) -> str:
    return re.sub(case.random, "RANDOM", path) if case.random else path


def _explain(recorded: set[str], expected: set[str], done: Done) -> None:
    """Equal, but for what links of /proc stand for: a file that was named otherwise, or a program's own."""
    missing, more = sorted(expected - recorded), sorted(recorded - expected)
    if any(path.startswith(("/proc/self/", "/dev/fd", "/dev/std")) for path in expected):
        stood_for = {os.path.realpath(path) for path in expected}
        stood_for |= {name for access in done.recording.accesses for name in access.by}
        more = [path for path in more if os.path.realpath(path) not in stood_for]
    assert (missing, more) == ([], []), f"{done.recording.recorder}: missing {missing}, more {more}"
