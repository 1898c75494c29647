"""The list "where I am unsure": what gets on it, what does not, and in which order."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from slimmer.check import complaints
from slimmer.closure.model import Unsure
from slimmer.doubts import Packed, doubts
from slimmer.exercise.model import Executed, RunOutcome
from slimmer.image.config import Healthcheck, ImageConfig
from slimmer.root.directory import DirectoryRoot
from tests.support import plant
from tracer.recording import Access, Kind, Recording

TREE: dict[str, str | bytes | None] = {
    "/usr/bin/curl": "#755 \x7fELF",
    "/usr/bin/grep": "#755 \x7fELF",
    "/usr/bin/dash": "#755 \x7fELF",
    "/usr/bin/sh": "-> dash",
    "/bin": "-> usr/bin",
    "/opt/check.sh": "#755 #!/bin/sh\n",
    "/etc/parts/a": "a",
    "/etc/parts/b": "b",
    "/etc/whole/a": "a",
}


def found(
    top: Path,
    paths: Sequence[str] = (),
    accesses: Sequence[Access] = (),
    known: Sequence[Unsure] = (),
    test: tuple[str, ...] = (),
    mounts: Sequence[str] = (),
) -> list[tuple[str, str]]:
    plant(top, TREE)
    config = ImageConfig(healthcheck=Healthcheck(test=test) if test else None)
    packed = Packed(DirectoryRoot(str(top)), frozenset(paths), config, mounts)
    return [(each.kind, each.path) for each in doubts(packed, Recording(tuple(accesses)), known)]


def access(path: str, *kinds: Kind) -> Access:
    return Access(path, frozenset(kinds or {Kind.STAT}), frozenset({"/usr/bin/app"}))


def test_what_a_health_check_runs_must_be_kept(tmp_path: Path) -> None:
    shell = ("CMD-SHELL", "curl -f http://127.0.0.1/ | grep -q ok || exit 1")
    assert found(tmp_path / "1", ["/usr/bin/dash", "/usr/bin/grep"], test=shell) == [("healthcheck", "/usr/bin/curl")]
    assert found(tmp_path / "2", test=("CMD", "curl", "-f", "http://127.0.0.1/")) == [("healthcheck", "/usr/bin/curl")]
    assert found(tmp_path / "3", ["/usr/bin/curl"], test=("CMD", "/bin/curl", "http://127.0.0.1/")) == []
    assert found(tmp_path / "4", ["/usr/bin/dash"], test=("CMD", "sh", "/opt/check.sh")) == [
        ("healthcheck", "/opt/check.sh")
    ]
    assert found(tmp_path / "5", test=("NONE",)) == []
    assert found(tmp_path / "6", test=("CMD", "wget")) == [("healthcheck", "/")]  # missing in the fat root as well


def test_a_listed_directory_is_a_doubt_only_when_names_are_gone(tmp_path: Path) -> None:
    known = [
        Unsure("listed-directory", path, "its names were listed; maybe", 30) for path in ("/etc/parts", "/etc/whole")
    ]
    plant(tmp_path, TREE)
    packed = Packed(DirectoryRoot(str(tmp_path)), {"/etc/parts/a", "/etc/whole/a"}, ImageConfig())
    (doubt,) = doubts(packed, Recording(()), known)
    assert (doubt.path, doubt.text) == ("/etc/parts", "its names were listed; 1 of 2 not kept: b")


def test_services_outside_the_image_are_named(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "etc" / "server"))
        accesses = [
            access("/etc/server"),
            access("/var/run/nscd/socket"),
            access("/run/own.sock", Kind.WRITE, Kind.STAT),  # the run's own
            access("/mnt/data/x"),
            access("/mnt/data/y"),
            access("/etc/parts/a", Kind.READ),
        ]
        assert found(tmp_path, accesses=accesses, mounts=["/mnt/data", "/mnt/unused"]) == [
            ("mounted", "/mnt/data"),
            ("outside-socket", "/etc/server"),
            ("outside-socket", "/var/run/nscd/socket"),
        ]


def test_the_heaviest_comes_first(tmp_path: Path) -> None:
    known = [Unsure("siblings", "/x", "light", 1), Unsure("excluded", "/y", "heavy", 99)]
    kinds = [kind for kind, _ in found(tmp_path, known=known, test=("CMD", "curl"))]
    assert kinds == ["excluded", "healthcheck", "siblings"]


def outcome(errors: bytes, inside: bytes = b"") -> RunOutcome:
    return RunOutcome(("app", "-v"), 0, True, b"", errors, executed=(Executed("ping x", 0, b"", inside),))


def test_other_errors_in_slim_are_a_doubt_and_other_numbers_are_not() -> None:
    fat = outcome(b"12:01 [17] ready\n", b"")
    assert complaints([fat], [outcome(b"13:55 [4] ready\n")]) == ()
    app, ping = complaints([fat], [outcome(b"1:2 [3] ready\nno locale\nno zone\n", b"slow 0x7f")])
    assert (app.path, app.text) == ("app", "app -v says in the slim image only: no locale, and 1 more lines")
    assert ping.path == "ping"
