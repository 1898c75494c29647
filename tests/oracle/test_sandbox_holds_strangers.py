"""What a hostile root or program tries in order to get out of the sandbox, as root and as an ordinary user."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.running import NOBODY, as_user, own, readable_directory, run, shell, small_root
from tests.support import needs_root
from tracer.errors import TracerError
from tracer.session import Bind, Isolation, Session, SessionOptions

pytestmark = needs_root


@pytest.fixture
def place() -> Iterator[Path]:
    with readable_directory() as made:
        small_root(made / "root")
        yield made


@pytest.fixture(params=["root", "user"])
def anyone(request: pytest.FixtureRequest, place: Path) -> Callable[..., object]:
    """Calls a function as root, or as a user who owns the root directory."""
    if request.param == "root":
        return lambda work: work()

    def call(work: Callable[[], object]) -> object:
        own(place / "root", NOBODY)
        return as_user(NOBODY, work)

    return call


def start(place: Path, **options: object) -> Session:
    return Session.start(SessionOptions(root=str(place / "root"), **{"record": False, **options}))  # type: ignore[arg-type]


def replace(place: Path, name: str, target: str | None) -> None:
    """A link in the place of what is there, or a file."""
    there = place / "root" / name
    if there.is_dir() and not there.is_symlink():
        shutil.rmtree(there)
    else:
        there.unlink(missing_ok=True)
    if target is None:
        there.write_text("a file\n")
    else:
        there.symlink_to(target)


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
@pytest.mark.parametrize("target", ["/../{}", "{}", "../../../../../../..{}", "/elsewhere", None])
def test_a_root_does_not_choose_where_the_kernels_filesystems_go(
    anyone: Callable[..., object], place: Path, name: str, target: str | None
) -> None:
    outside = place / "outside"
    outside.mkdir(mode=0o777)
    outside.chmod(0o777)
    replace(place, name, None if target is None else target.format(outside))

    def work() -> str:
        try:
            with start(place) as session:
                return shell(session, "echo started")
        except TracerError as error:
            return error.message

    said = str(anyone(work))
    assert said.startswith(f"the root is odd: /{name} is {'a regular file' if target is None else 'a symbolic link'}")
    assert not list(outside.iterdir())


@pytest.mark.parametrize("target", ["/../{}", "{}", "../../../../../../..{}"])
def test_links_of_etc_and_of_mount_points_stay_in_the_root(
    anyone: Callable[..., object], place: Path, target: str
) -> None:
    outside = place / "outside"
    outside.mkdir(mode=0o777)
    outside.chmod(0o777)
    replace(place, "etc", target.format(outside))
    replace(place, "data", target.format(outside))
    given = place / "given"
    given.write_text("given\n")

    def work() -> str:
        with start(place, binds=(Bind(str(given), "/data/sub/file"),)) as session:
            return shell(session, "cat /etc/hosts /data/sub/file; ls -d /etc/.")

    said = str(anyone(work))
    assert "localhost slimmer" in said
    assert "given" in said
    assert not list(outside.iterdir())


@pytest.mark.parametrize(
    ("name", "made", "said"),
    [
        ("etc", "file", "the root is odd: /etc is a regular file, and must be a directory for /etc/"),
        ("etc/hosts", "directory", "the root is odd: /etc/hosts is a directory, and must be a file"),
    ],
)
def test_an_odd_root_is_told_by_its_oddity(place: Path, name: str, made: str, said: str) -> None:
    if made == "file":
        replace(place, name, None)
    else:
        (place / "root" / name).mkdir()
    with pytest.raises(TracerError) as caught:
        start(place)
    assert caught.value.message.startswith(said)


def test_what_runtimes_hide_is_hidden(anyone: Callable[..., object], place: Path) -> None:
    def work() -> str:
        with start(place) as session:
            return shell(
                session,
                "for f in kcore keys timer_list interrupts; do cat /proc/$f 2>&1; done; ls -A /sys/firmware 2>&1; "
                "echo c >/proc/sysrq-trigger; echo x >/proc/sys/kernel/core_pattern; echo end",
            )

    lines = str(anyone(work)).splitlines()
    assert lines[-1] == "end"
    left = [
        each
        for each in lines[:-1]
        if not any(word in each for word in ("denied", "Read-only", "No such", "nonexistent"))
    ]
    assert left == []


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_a_chroot_follows_no_link_of_the_root_when_it_is_prepared(place: Path, name: str) -> None:
    outside = place / "outside"
    outside.mkdir()
    replace(place, name, str(outside))
    with pytest.raises(TracerError, match=f"the root is odd: /{name} is a symbolic link"):
        start(place, isolation=Isolation.CHROOT)
    assert not list(outside.iterdir())


def test_a_chroot_cannot_be_left_nor_devices_made_in_it(place: Path) -> None:
    leave = (
        "mkdir('/x'); print chroot('/x') ? \"left\" : \"held: $!\", qq(\\n); "
        "system('mknod /block b 7 0 2>&1; mount -t tmpfs none /tmp 2>&1; unshare -U true 2>&1');"
    )
    with start(place, isolation=Isolation.CHROOT) as session:
        assert "NOT A SANDBOX" in session.explanation
        said = run(session, "perl", "-e", leave)[1]
    assert said.startswith("held: Operation not permitted")
    assert said.count("not permitted") >= 3 or said.count("denied") >= 2, said


def test_an_image_is_not_run_in_a_chroot_unless_it_is_trusted(place: Path) -> None:
    with pytest.raises(TracerError, match="a chroot does not hold") as caught:
        start(place, isolation=Isolation.CHROOT, trusted=False)
    assert "--trust-root" in caught.value.hint
