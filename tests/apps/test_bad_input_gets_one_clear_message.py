"""Whatever is wrong: one message, the right exit code, nothing half-written, nothing left running or lying about."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.apps.conftest import HOUSE, unchallenged
from tests.running import NOBODY, own, readable_directory, small_root
from tests.support import needs_root, plant, requires

pytestmark = [needs_root, requires("mmdebstrap")]
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, linux/prctl.h
COMMAND = (sys.executable, "-m", "slimmer.cli.main")
SERVER = """#!/usr/bin/perl
use IO::Socket::INET;
my $listener = IO::Socket::INET->new(LocalPort => $ARGV[0], Listen => 5, ReuseAddr => 1) or die "no port: $!";
while (my $client = $listener->accept) {
    while (my $line = <$client>) { last if $line =~ /^\\r?$/ }
    print $client "HTTP/1.0 500 Broken\\r\\n\\r\\nthe first line\\nthe second line\\n";
    close $client;
}
"""


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """About 10 MB of Debian, readable for everybody."""
    with readable_directory() as directory:
        made = small_root(directory / "root")
        plant(made, {"app/broken": f"#755 {SERVER}", "app/text": "no program\n"})
        yield made


@pytest.fixture(autouse=True)
def reaper() -> Iterator[None]:
    """What a run leaves running becomes a child of this process, so that none can hide."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(SUBREAPER, ctypes.c_ulong(1), 0, 0, 0)
    yield
    libc.prctl(SUBREAPER, ctypes.c_ulong(0), 0, 0, 0)


@dataclass(frozen=True)
class Here:
    """Where a run works, and what must be as before when it is over."""

    place: Path  # the output goes here
    scratch: Path  # its TMPDIR

    def start(self, *words: str | Path, before: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*before, *COMMAND, *unchallenged(words)],
            env={
                **os.environ,
                "PYTHONPATH": str(HOUSE),
                "TMPDIR": str(self.scratch),
                "HOME": str(self.scratch),
                "XDG_STATE_HOME": str(self.place.parent / "state"),  # the recipes that this user knows
                "XDG_CACHE_HOME": str(self.place.parent / "cache"),  # what is known of content
            },
            cwd=self.place,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, *words: str | Path, code: int, before: Sequence[str] = ()) -> str:
        """What it says on stderr; nothing may be different afterwards."""
        here = listing(self.place)
        process = self.start(*words, before=before)
        out, raw = process.communicate(timeout=60)
        error = raw.decode(errors="surrogateescape")
        assert process.returncode == code, f"exit {process.returncode}, not {code}: {error}"
        assert out == b""
        assert "Traceback" not in error
        assert listing(self.place) == here
        self.nothing_left()
        return error

    def nothing_left(self) -> None:
        assert children() == []
        assert mounts() == []
        assert list(self.scratch.iterdir()) == []


@pytest.fixture
def here() -> Iterator[Here]:
    with readable_directory() as directory:
        for name in ("place", "scratch"):
            (directory / name).mkdir(mode=0o777)
            (directory / name).chmod(0o777)
        yield Here(directory / "place", directory / "scratch")


def listing(top: Path) -> dict[str, int]:
    found = {str(path.relative_to(top)): path for path in sorted(top.rglob("*"))}
    return {name: 0 if path.is_dir() else path.lstat().st_mtime_ns for name, path in found.items()}


def mounts() -> list[str]:
    """What a session has mounted and could have left."""
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "slimmer-session" in line]


def children(patience: float = 5.0) -> list[str]:
    """Command lines of this process's children that do not end by themselves."""
    deadline = time.monotonic() + patience
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return []
        if time.monotonic() > deadline:
            own_children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
            return [Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace") for pid in own_children]
        time.sleep(0.02)


def one_message(error: str, *parts: str) -> None:
    """Said once, at the beginning of the line, with all these words; the rest is indented advice."""
    first, *rest = error.rstrip("\n").split("\n")
    assert first.startswith("slim: "), error
    assert all(line.startswith("  ") for line in rest), error
    for part in parts:
        assert part in error, f"{part!r} is not in {error!r}"


@dataclass(frozen=True)
class Case:
    """Options beside --root and -o, and what comes of them."""

    name: str
    options: tuple[str, ...]
    code: int
    says: tuple[str, ...]


UP = ("--run", "sh -c 'echo up; sleep 60'", "--ready", "/up/")
NEVER = ("--ready", "80", "--ready-timeout", "0.5")
CASES = (
    Case("not found", ("--run", "nothing-here"), 1, ("command not found in the root: nothing-here", "PATH /usr/local")),
    Case("no program", ("--run", "/app/text"), 1, ("permission denied in the root: /app/text has mode 0644",)),
    Case("a directory", ("--run", "/app"), 1, ("/app", "is a directory")),
    Case(
        "crashes at start",
        ("--run", "sh -c 'echo no config >&2; exit 3'", "--ready", "80"),
        1,
        ("exited with 3 before port 80 was open", "its last lines:", "no config"),
    ),
    Case(
        "killed at start",
        ("--run", "sh -c 'kill -SEGV $$'", "--probe", "http://127.0.0.1:80/"),
        1,
        ("was killed by SIGSEGV before http://127.0.0.1:80/ answered", "it printed nothing"),
    ),
    Case(
        "exits non-zero",
        ("--run", "sh -c 'echo bad luck; exit 7'"),
        1,
        ("sh -c 'echo bad luck; exit 7' exited with 7, not 0", "bad luck", "--expect-exit 7"),
    ),
    Case("exits with another", ("--run", "true", "--expect-exit", "4"), 1, ("exited with 0, not 4",)),
    Case(
        "never ready",
        (*("--run", "sh -c 'echo still loading; echo and loading >&2; sleep 60'"), *NEVER),
        1,
        ("was not ready: waited 0.5 s for port 80 to open", "its last lines:", "still loading", "and loading"),
    ),
    Case(
        "never says so",
        ("--run", "sleep 60", "--ready", "/up and running/", "--ready-timeout", "0.3"),
        1,
        ("waited 0.3 s for /up and running/ to be printed", "it printed nothing"),
    ),
    Case(
        "a probe fails",
        ("--run", "/app/broken 8123", "--ready", "8123", "--probe", "http://127.0.0.1:8123/x"),
        1,
        ("GET http://127.0.0.1:8123/x: status 500: the first line / the second line",),
    ),
    Case(
        "a probe wants another status",
        ("--run", "/app/broken 8123", "--ready", "8123", "--probe", "http://127.0.0.1:8123/=404"),
        1,
        ("status 500, not 404: the first line",),
    ),
    Case(
        "an exec fails",
        ("--run", "sh -c 'echo up; sleep 60'", "--ready", "/up/", "--exec", "ls /nowhere"),
        1,
        ("ls /nowhere: exited with 2 after ", "its last lines:", "No such file"),
    ),
    Case(
        "an exec takes too long",
        (*UP, "--exec", "sh -c 'echo at http://me:word@host/; sleep 60'", "--exec-timeout", "0.5"),
        1,
        ("did not end within 0.5 s (--exec-timeout gives it longer)", "at http://me:***@host/"),
    ),
    Case(
        "a client fails",
        (*UP, "--client", "sh -c 'echo one; echo two >&2; exit 5'"),
        1,
        ("exited with 5 after ", "its last lines:", "one", "two"),
    ),
    Case(
        "a client takes too long",
        (*UP, "--client", "sh -c 'echo one; exec sleep 60'", "--exec-timeout", "0.5"),
        1,
        ("did not end within 0.5 s", "one"),
    ),
    Case(
        "an exec is not there",
        ("--run", "sh -c 'echo up; sleep 60'", "--ready", "/up/", "--exec", "missing-client"),
        1,
        ("command not found in the root: missing-client",),
    ),
    Case(
        "a client is not there",
        ("--run", "sh -c 'echo up; sleep 60'", "--ready", "/up/", "--client", "missing-client"),
        1,
        ("--client missing-client", "a client is a program of the host"),
    ),
    Case("nothing to run", (), 2, ("nothing to run", "--run")),
    Case("an empty command", ("--run", ""), 2, ("the command is empty",)),
    Case("odd quotes", ("--run", "sh -c 'oops"), 2, ("No closing quotation", "check its quotes")),
    Case("no url", ("--run", "true", "--probe", "localhost"), 2, ("--probe localhost: not a URL", "http://")),
    Case("no port", ("--run", "true", "--probe", "http://127.0.0.1:99999/"), 2, ("Port out of range",)),
    Case("no pattern", ("--run", "sleep 9", "--ready", "/[/"), 2, ("--ready /[/", "regular expression")),
    Case("no signal", ("--run", "true", "--stop-signal", "HELLO"), 2, ("--stop-signal HELLO: no such signal",)),
    Case("no user", ("--run", "true", "--user", "nobody-here"), 2, ("no user 'nobody-here'", "/etc/passwd")),
    Case("no group", ("--run", "true", "--user", "www:nogroup"), 2, ("no group 'nogroup'", "/etc/group")),
    Case("no workdir", ("--run", "true", "--workdir", "/etc/passwd"), 2, ("the working directory /etc/passwd",)),
    Case("no pair", ("--run", "true", "--env", "PATH"), 2, ("--env PATH: write NAME=VALUE",)),
    Case("no mount", ("--run", "true", "--mount", "/nowhere:/x"), 1, ("/nowhere does not exist",)),
    Case("no target", ("--run", "true", "--secret", "/etc/passwd:x"), 2, ("is not SOURCE:TARGET",)),
    Case("no profile", ("--run", "true", "--profile", "/nowhere.toml"), 1, ("cannot read the profile /nowhere.toml",)),
    Case("no recipe", ("--recipe", "/nowhere.toml"), 2, ("cannot read the recipe /nowhere.toml",)),
    # Said before the run, which would fail otherwise.
    Case("no tag", ("--run", "sh -c 'exit 9'", "--tag", "Not A Tag"), 1, ("'Not A Tag' cannot name an image",)),
    Case(
        "no name of an archive",
        ("--run", "sh -c 'exit 9'", "--tag", "App", "--archive", "image.tar"),
        1,
        ("'App' cannot name an image", "small letters"),
    ),
    Case("no push", ("--run", "true", "--push", "UPPER CASE"), 1, ("UPPER CASE",)),
    Case(
        "an archive nowhere",
        ("--run", "sh -c 'echo never run; exit 9'", "--archive", "/proc/nowhere/image.tar"),
        1,
        ("cannot write the archive beside /proc/nowhere/image.tar", "--archive"),
    ),
    Case(
        "a tree nowhere",
        ("--run", "sh -c 'echo never run; exit 9'", "--rootfs", "/proc/nowhere/tree"),
        1,
        ("cannot write the tree beside /proc/nowhere/tree", "--rootfs"),
    ),
    Case("a tree over another", ("--run", "true", "--rootfs", "/etc"), 2, ("--rootfs /etc exists and is not empty",)),
    Case("both roots", ("--run", "true", "--image", "oci:x"), 2, ("--root and --image both",)),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_message_and_nothing_left(case: Case, root: Path, here: Here) -> None:
    error = here.run("trace", "-q", "--root", root, *case.options, "-o", "out", code=case.code)
    one_message(error, *case.says)
    assert error.count(case.says[0]) == 1


def test_an_exit_code_that_is_expected_is_right(root: Path, here: Here) -> None:
    process = here.start(
        "trace", "-q", "--root", root, "--run", "sh -c 'exit 7'", "--expect-exit", "7", "-o", "out", "--no-check"
    )
    assert (*process.communicate(timeout=60), process.returncode) == (b"", b"", 0)
    assert (here.place / "out/image/index.json").is_file()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--bogus",), "No such option"),
        (("--keep", "everything"), "'everything' is not one of"),
        (("--for", "soon"), "'soon' is no time"),
        (("--rounds", "0"), "is not in the range"),
        (("surplus",), "unexpected extra argument"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_wrong_flag_is_named_with_the_way_to_help(words: tuple[str, ...], says: str, root: Path, here: Here) -> None:
    error = here.run("trace", "--root", root, "--run", "true", *words, code=2)
    assert error.startswith("Usage: slim trace")
    assert error.count("Error: ") == 1
    assert says in error.splitlines()[-1]
    assert "slim trace --help" in error


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "does not exist"),
        ("file", "is not a directory"),
        ("empty", "is empty"),
    ],
)
def test_a_root_that_is_none(kind: str, says: str, here: Here) -> None:
    place = plant(here.place, {"file": "text", "empty": None}) / kind
    one_message(here.run("trace", "-q", "--root", place, "--run", "true", "-o", "out", code=1), f"{place} {says}")


def as_nobody() -> tuple[str, ...]:
    return ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


def test_a_root_that_is_closed(root: Path, here: Here) -> None:
    closed = here.place / "closed"
    closed.mkdir(mode=0o700)
    error = here.run("trace", "-q", "--root", closed, "--run", "true", "-o", "out", code=1, before=as_nobody())
    one_message(error, f"--root {closed} cannot be read: Permission denied", "run as root")


def test_a_root_that_is_unreadable_in_part_names_what_is_needed_and_reports_the_rest(root: Path, here: Here) -> None:
    partly = here.place / "root"
    subprocess.run(["cp", "-a", "--reflink=auto", root, partly], check=True)
    own(partly, NOBODY)
    plant(partly, {"srv/secret": "for root only\n", "srv/closed/inside": "x"})
    for name, mode in (("srv/secret", 0o600), ("srv/closed", 0o700)):
        (partly / name).chmod(mode)
        os.chown(partly / name, 0, 0)
    words = ("trace", "-q", "--root", partly, "--run", "sh -c 'ls -l /srv/secret; ls /srv'", "-o", "out", "--no-check")
    error = here.run(*words, code=1, before=as_nobody())
    one_message(error, f"cannot read {partly}/srv/secret: Permission denied", "--exclude")

    process = here.start(*words, "--exclude", "/srv/secret", before=as_nobody())
    assert (*process.communicate(timeout=60), process.returncode) == (b"", b"", 0)
    report = (here.place / "out/report.json").read_text()
    assert "1 directories could not be read and are not in the lists, e.g. /srv/closed" in report


@pytest.mark.parametrize("tree", [{"out/mine": "precious"}, {"out": "a file"}, {"out": "-> /etc"}], ids=str)
def test_an_output_that_is_not_ours_is_left_alone(tree: dict[str, str], root: Path, here: Here) -> None:
    plant(here.place, tree)
    error = here.run("trace", "-q", "--root", root, "--run", "true", "-o", "out", code=1)
    one_message(error, "out exists and is not", "move it away, or name another place with -o DIR")


BROKEN: dict[str, str | bytes | None] = {
    "nothing.json": "",
    "half.json": '{"format": "slimmer.recording/1", "accesses": [',
    "other.json": '{"format": "slimmer.manifest/1", "paths": []}',
    "types.json": '{"format": "slimmer.recording/1", "accesses": [{"path": 3}]}',
    "list.json": "[]",
    "binary.json": b"\xff\xfe\0\1",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_recording(name: str, root: Path, here: Here) -> None:
    plant(here.place, BROKEN)
    error = here.run("build", "-q", name, "--root", root, "-o", "out", code=1)
    one_message(error, name, "slim record")


RECIPES: dict[str, str | bytes | None] = {
    "syntax.toml": "runs = 3 [",
    "unknown.toml": "nonsense = 3",
    "type.toml": "[[run]]\ncommand = 7",
    "probe.toml": '[[run]]\ncommand = "true"\nprobes = ["nonsense"]',
    "binary.toml": b"\xff\xfe",
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_broken_recipe(name: str, root: Path, here: Here) -> None:
    plant(here.place, RECIPES)
    one_message(here.run("trace", "-q", "--recipe", name, "--root", root, "-o", "out", code=2), name)


@pytest.mark.parametrize("verb", ["report", "check", "why"])
def test_an_output_that_is_none(verb: str, here: Here) -> None:
    words = ("/etc/passwd",) if verb == "why" else ()
    one_message(here.run(verb, "nowhere", *words, code=1), "nowhere", "slim trace -o")


@pytest.fixture
def small_disk(here: Here) -> Iterator[Path]:
    disk = here.place / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=777", "tmpfs", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("what", ["-o", "--archive", "--rootfs", "TMPDIR"])
def test_a_full_disk(what: str, root: Path, here: Here, small_disk: Path) -> None:
    words = ("trace", "-q", "--root", root, "--run", "perl -e 1", "--include", "/usr/bin/*", "-o", "out")
    if what == "TMPDIR":
        error = Here(here.place, small_disk).run(*words, code=1)
    else:
        error = here.run(*words, "--no-check", what, small_disk / "target", code=1)
    one_message(error, "No space left on device" if "disk is full" not in error else "the disk is full")
    assert list(small_disk.iterdir()) == []


def test_a_run_that_is_killed_at_any_moment_leaves_no_process_and_the_next_run_cleans_up(
    root: Path, here: Here
) -> None:
    application = ("--root", root, "--run", "sh -c 'ls /etc; sleep 0.3'")
    words = ("trace", "-q", *application, "-o", "out", "--archive", "a.tar", "--rootfs", "tree")
    begin = time.monotonic()
    here.start(*words).communicate(timeout=60)
    whole = time.monotonic() - begin
    for name in ("out", "tree"):
        shutil.rmtree(here.place / name)
    (here.place / "a.tar").unlink()
    moments = [whole * part / 12 for part in range(2, 12)]
    for moment in moments:
        process = here.start(*words)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert children() == []
        assert mounts() == []
        if (here.place / "out").exists():  # done before the signal came
            assert (here.place / "out/recipe.toml").is_file()
        for name in ("out", "tree"):
            shutil.rmtree(here.place / name, ignore_errors=True)
        (here.place / "a.tar").unlink(missing_ok=True)
    process = here.start(*words)
    assert process.communicate(timeout=60)[1] == b""
    assert process.returncode == 0
    assert sorted(each.name for each in here.place.iterdir()) == ["a.tar", "out", "tree"]
    here.nothing_left()


def test_without_user_namespaces_the_switch_and_what_works_are_named(root: Path, here: Here) -> None:
    """In a user namespace of its own, where the limit can be set without touching the machine's."""
    forbid = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'
    inside = ("unshare", "--user", "--map-current-user", "--keep-caps", "--mount", "sh", "-c")
    drop = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs")
    before = (*as_nobody(), *inside, f"{forbid}", "sh", *drop)
    error = here.run("trace", "-q", "--root", root, "--run", "true", "-o", "out", code=1, before=before)
    one_message(error, "max_user_namespaces", "in place")
