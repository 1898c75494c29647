"""What a sandbox shows to commands, as root and as an ordinary user, with and without a recorder."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.running import (
    NOBODY,
    as_user,
    as_user_with_ranges,
    own,
    photograph,
    readable_directory,
    run,
    session_directories,
    shell,
    small_root,
)
from tests.support import needs_root, plant
from tracer.errors import TracerError
from tracer.runner import sandbox
from tracer.session import Bind, Command, Identity, Network, Session, SessionOptions

pytestmark = needs_root


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    with readable_directory() as place:
        yield small_root(place / "root: a,b\\c d")


@pytest.fixture(params=["root", "user"])
def anyone(request: pytest.FixtureRequest, root: Path) -> Iterator[Callable[..., object]]:
    """Calls a function as root, or as a user who owns the root directory."""
    if request.param == "root":
        yield lambda work: work()
    else:
        own(root, NOBODY)
        try:
            yield lambda work: as_user(NOBODY, work)
        finally:
            own(root, 0)


def start(root: Path, **options: object) -> Session:
    return Session.start(SessionOptions(root=str(root), **{"record": False, **options}))  # type: ignore[arg-type]


def test_a_sandbox_can_be_made_here() -> None:
    assert sandbox.available() == ""
    assert as_user(NOBODY, sandbox.available) == ""


def test_the_root_directory_is_the_same_before_and_after_times_included(anyone: Callable[..., Any], root: Path) -> None:
    before = photograph(root)

    def work() -> tuple[str, ...]:
        with start(root, record=True) as session:
            shell(
                session,
                "cd /; cat etc/passwd >/dev/null; ls -lR / >/dev/null; readlink bin; echo x >/new; rm etc/group; "
                "mv var/lib/app var/lib/gone; mkdir -p /etc/made; chmod 700 home; echo after >/usr/bin/true; "
                "mkdir /opt",
            )
            session.stop(15, 1)
            outcome = session.finish()
            assert outcome.recording is not None
            assert "/etc/passwd" in {each.path for each in outcome.recording.accesses}
            return outcome.writes

    writes: tuple[str, ...] = anyone(work)
    assert photograph(root) == before
    assert set(writes) >= {"/new", "/etc/group", "/etc/made", "/home", "/usr/bin/true", "/opt", "/var/lib/app"}
    assert not {"/dev", "/sys", "/proc", "/etc/hosts", "/etc", "/usr/bin"} & set(writes)  # not the run's doing


def test_it_has_what_a_container_runtime_provides_and_no_more(anyone: Callable[..., object], root: Path) -> None:
    def work() -> str:
        with start(root) as session:
            return shell(
                session,
                "printf '%s ' /*; echo; ls /dev; hostname; cat /etc/hosts /etc/hostname; "
                "stat -c %a:%F /tmp /dev/shm /dev/null; echo hello >/dev/null && echo null works; ls /proc/1/status; "
                "readlink /dev/fd; : >>/dev/stderr && echo through stderr; echo x >/proc/sys/kernel/domainname; "
                "ls -A /tmp; pwd; umask",
            )

    seen = str(anyone(work))
    for line in ("slimmer", "127.0.0.1\tlocalhost slimmer", "1777:directory", "null works", "/proc/self/fd", "0022"):
        assert line in seen
    assert "through stderr" in seen
    assert "Read-only file system" in seen or "ermission denied" in seen
    assert not os.path.exists(root / "dev")
    assert not os.path.exists(root / "sys")


def test_a_private_network_has_loopback_any_port_and_nothing_else(anyone: Callable[..., object], root: Path) -> None:
    listen = (
        "use Socket; socket(S, PF_INET, SOCK_STREAM, 0) or die; setsockopt(S, SOL_SOCKET, SO_REUSEADDR, 1);"
        'bind(S, sockaddr_in(80, INADDR_ANY)) or die "bind $!"; listen(S, 5); print STDOUT "up\\n"; close STDOUT;'
        'accept(C, S); print C "hello from inside";'
    )

    def work() -> bytes:
        with start(root, identity=Identity(33, 33)) as session:
            reader, writer = os.pipe()
            session.spawn(
                Command(("perl", "-e", listen), {"PATH": "/usr/bin"}, "/", Identity(33, 33)), stdout=writer, stderr=2
            )
            os.close(writer)
            with open(reader, "rb") as lines:
                assert lines.readline() == b"up\n"
            with session.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.settimeout(5)
                probe.connect(("127.0.0.1", 80))
                said = probe.recv(100)
            with session.socket(socket.AF_INET, socket.SOCK_STREAM) as probe, pytest.raises(OSError):
                probe.connect(("192.0.2.1", 80))
            outside = session.run_outside(["cat", "/proc/net/dev"], timeout=10)
            assert outside.returncode == 0
            assert [line.split(b":")[0].strip() for line in outside.stdout.splitlines()[2:]] == [b"lo"]
            return said

    assert anyone(work) == b"hello from inside"


def test_the_hosts_network_can_be_shared(anyone: Callable[..., object], root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            with server.accept()[0] as connection:
                connection.sendall(b"from the host")

        thread = threading.Thread(daemon=True, target=serve)
        thread.start()

        def work() -> str:
            with start(root, network=Network.HOST) as session:
                return run(
                    session,
                    "perl",
                    "-e",
                    "use Socket; socket(S, PF_INET, SOCK_STREAM, 0);"
                    f"connect(S, sockaddr_in({port}, inet_aton('127.0.0.1'))) or die $!; print <S>;",
                )[1]

        assert anyone(work) == "from the host"
        thread.join(5)


def test_commands_become_the_identity_they_ask_for(root: Path) -> None:
    with start(root) as session:
        assert (
            run(session, "id", identity=Identity(33, 33, (7, 8)))[1] == "uid=33(www) gid=33(www) groups=33(www),7,8\n"
        )
        assert run(session, "id", "-u")[1] == "0\n"


def test_one_mapped_id_shows_the_identity_that_the_run_asks_for_and_pretends_others(root: Path) -> None:
    own(root, NOBODY)
    try:

        def work() -> list[str]:
            said = []
            with start(root, identity=Identity(33, 33), record=True) as session:
                said.append(run(session, "id", "-u", identity=Identity(33, 33))[1])
            with start(root, record=True) as session:
                said.append(run(session, "id", "-u")[1])
                script = (
                    "$) = '33 33'; $( = 33; $< = 33; $> = 33; print $! ? qq(failed $!) : 'ok', qq(\\n);"
                    "chown(33, 33, '/tmp') or print qq(chown $!);"
                )
                said.append(run(session, "perl", "-e", script)[1])
                said.append(
                    shell(session, "chown www:www /var/lib/app/data && echo chowned; mknod /tmp/pipe p && ls /tmp")
                )
            return said

        as_33, as_0, changed, owned = as_user(NOBODY, work)
    finally:
        own(root, 0)
    assert (as_33, as_0, changed) == ("33\n", "0\n", "ok\n")
    assert owned == "chowned\npipe\n"


def test_host_files_can_be_mounted_read_only_and_writable(
    anyone: Callable[..., object],
    root: Path,
) -> None:
    with readable_directory() as place:
        (place / "secret").write_text("token\n")
        (place / "data").mkdir()
        (place / "data").chmod(0o777)
        binds = (Bind(f"{place}/secret", "/run/secrets/token"), Bind(f"{place}/data", "/data", writable=True))

        def work() -> str:
            with start(root, binds=binds) as session:
                return shell(session, "cat /run/secrets/token; echo no >/run/secrets/token; echo yes >/data/out")

        said = str(anyone(work))
        assert said.startswith("token\n")
        assert "Read-only" in said
        assert (place / "data/out").read_text() == "yes\n"
        assert (place / "secret").read_text() == "token\n"

        def missing() -> str:
            with pytest.raises(TracerError) as caught:
                start(root, binds=(Bind(f"{place}/nothing", "/x"),))
            return str(caught.value)

        assert f"cannot mount {place}/nothing on /x" in str(anyone(missing))


def test_a_root_of_another_user_can_be_worked_in_and_stays_as_it_is(root: Path) -> None:
    """An ordinary user on what root unpacked: nothing in it belongs to an id of the namespace."""
    (root / "etc/hosts").unlink(missing_ok=True)
    plant(root, {"var/log/app.log": "#640 ", "var/lib/app/state": "#644 old\n", "var/lib/private/key": "#600 secret"})
    (root / "var/lib/private").chmod(0o700)
    before = photograph(root)
    script = (
        "cd /var/lib; cat app/data /etc/hosts; echo new >app/new; cat app/new; ls -R /usr >/dev/null; rm /etc/group; "
        "mkdir /opt; echo line >>/var/log/app.log && cat /var/log/app.log; echo more >>app/state; cat app/state; "
        "ls -A private; touch private/made && echo made"
    )

    def work() -> tuple[str, tuple[str, ...]]:
        with start(root, record=True) as session:
            said = shell(session, script)
            session.stop(15, 1)
            return said, session.finish().writes

    said, writes = as_user(NOBODY, work)
    assert said.startswith("before\n127.0.0.1\tlocalhost")
    assert said.endswith("new\nline\nold\nmore\nmade\n")
    expected = ("/etc/group", "/opt", "/var/lib/app/new", "/var/lib/app/state", "/var/lib/private/made")
    assert writes == (*expected, "/var/log/app.log")
    assert photograph(root) == before


def test_ranges_of_ids_are_real_ids(root: Path) -> None:
    own(root, NOBODY)
    try:

        def inside() -> tuple[list[str], str]:
            with start(root, record=True) as session:
                said = [
                    run(session, "id", identity=Identity(33, 33, (7, 8)))[1],
                    run(session, "id", "-u")[1],
                    shell(
                        session,
                        "chown www:www /var/lib/app/data && stat -c %U /var/lib/app/data; "
                        "mkdir -m 700 /private; chown 33 /private",
                    ),
                ]
                session.stop(15, 1)
                outcome = session.finish()
            assert outcome.recording is not None
            assert {"/usr/bin/id", "/etc/passwd"} <= {each.path for each in outcome.recording.accesses}
            assert "/var/lib/app/data" in outcome.writes
            return said, session.explanation

        before = session_directories()
        said, explanation = as_user_with_ranges(NOBODY, inside)
        assert session_directories() == before
    finally:
        own(root, 0)
    assert said == ["uid=33(www) gid=33(www) groups=33(www),7,8\n", "0\n", "www\n"]
    assert "ranges of /etc/subuid" in explanation


def test_a_root_of_one_static_program_is_enough(tmp_path: Path) -> None:
    """No shell, no passwd, no directory at all; the mount points are made on the overlay, as runtimes make them."""
    busybox = next((each for each in ("/bin/busybox", "/usr/bin/qemu-aarch64-static") if os.path.exists(each)), None)
    if busybox is None:
        pytest.skip("no static program here")
    slim = tmp_path / "slim"
    slim.mkdir()
    (slim / "only").write_bytes(Path(busybox).read_bytes())
    (slim / "only").chmod(0o755)
    before = photograph(slim)
    with start(slim, record=True) as session:
        status, said = run(session, "/only", "--help")
        session.stop(15, 1)
        outcome = session.finish()
    assert said
    assert status is not None
    assert outcome.writes == ()
    assert photograph(slim) == before


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            Command(("nothing", "x"), {"PATH": "/usr/bin:/opt"}),
            "command not found in the root: nothing\n  looked in PATH /usr/bin:/opt",
        ),
        (Command(("/usr/bin/nothing",)), "command not found in the root: /usr/bin/nothing"),
        (Command(("/usr",)), "it is a directory"),
        (Command(("/plain",)), "permission denied in the root: /plain has mode 0644"),
        (Command(("/script",)), "its interpreter /opt/python is not in the root"),
        (Command(("/text",)), "not a program (neither ELF nor a #! line)"),
        (Command(("/foreign",)), "it is for s390x, this machine is"),
        (Command(()), "the command is empty"),
        (Command(("",)), "the command is empty"),
    ],
)
@pytest.mark.parametrize("record", [False, True])
def test_what_cannot_be_executed_is_said_before_anything_runs(
    root: Path, command: Command, message: str, record: bool
) -> None:
    (root / "plain").write_text("x")
    (root / "script").write_text("#!/opt/python -x\n")
    (root / "text").write_text("echo hello\n")
    (root / "foreign").write_bytes(b"\x7fELF\x02\x02\x01" + bytes(9) + b"\0\x02\0\x16" + bytes(100))
    for name in ("script", "text", "foreign"):
        (root / name).chmod(0o755)
    with start(root, record=record) as session:
        with pytest.raises(TracerError) as caught:
            session.spawn(command, stdout=1, stderr=2)
        assert message in str(caught.value)
        assert run(session, "true")[0] == 0  # and the session still works


def test_a_root_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for name in ("file", "missing"):
        with pytest.raises(TracerError, match="the root is not a directory"):
            start(tmp_path / name)


def test_a_failed_start_leaves_nothing(tmp_path: Path) -> None:
    before = session_directories()
    for _ in range(2):
        with pytest.raises(TracerError):
            start(tmp_path, binds=(Bind("/nothing/here", "/x"),), record=True)
    assert session_directories() == before


def test_starting_and_stopping_takes_little_time(root: Path) -> None:
    """Not a limit on a loaded machine, only that nothing sleeps: the best of five."""
    times = []
    for _ in range(5):
        begin = time.monotonic()
        with start(root) as session:
            run(session, "true")
            session.stop(15, 1)
        times.append(time.monotonic() - begin)
    assert min(times) < 0.5
