"""The list "where it may be wrong": what gets on it, what does not, and in which order."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from slimmer.checks.compare import complaints
from slimmer.closure.model import ClosureWarning
from slimmer.exercise.model import Executed, RunOutcome
from slimmer.image.config import Healthcheck, ImageConfig
from slimmer.report.remedies import actionable, with_remedy
from slimmer.report.warnings import Packed, warnings
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
    known: Sequence[ClosureWarning] = (),
    test: tuple[str, ...] = (),
    mounts: Sequence[str] = (),
) -> list[tuple[str, str]]:
    plant(top, TREE)
    config = ImageConfig(healthcheck=Healthcheck(test=test) if test else None)
    packed = Packed(DirectoryRoot(str(top)), frozenset(paths), config, mounts)
    return [(each.kind, each.path) for each in warnings(packed, Recording(tuple(accesses)), known)]


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


def test_a_listed_directory_is_a_warning_only_when_names_are_gone(tmp_path: Path) -> None:
    known = [
        ClosureWarning("listed-directory", path, "its names were listed; maybe", 30)
        for path in ("/etc/parts", "/etc/whole")
    ]
    plant(tmp_path, TREE)
    packed = Packed(DirectoryRoot(str(tmp_path)), {"/etc/parts/a", "/etc/whole/a"}, ImageConfig())
    (warning,) = warnings(packed, Recording(()), known)
    assert (warning.path, warning.text) == ("/etc/parts", "its names were listed; 1 of 2 not kept: b")
    # What a profile left out of what it keeps was decided, and is no news.
    assert warnings(replace(packed, left_out={"/etc/parts/b"}), Recording(()), known) == ()


def test_services_outside_the_image_are_named(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "etc" / "server"))
        accesses = [
            access("/etc/server"),
            access("/run/db/socket"),
            access("/var/run/nscd/socket"),  # every libc asks
            access("/run/own.sock", Kind.WRITE, Kind.STAT),  # the run's own
            access("/mnt/data/x"),
            access("/mnt/data/y"),
            access("/etc/parts/a", Kind.READ),
        ]
        assert found(tmp_path, accesses=accesses, mounts=["/mnt/data", "/mnt/unused"]) == [
            ("mounted", "/mnt/data"),
            ("outside-socket", "/etc/server"),
            ("outside-socket", "/run/db/socket"),
        ]


def test_what_is_not_in_the_image_misses_nothing(tmp_path: Path) -> None:
    known = [ClosureWarning("siblings", path, "2 siblings not kept", 30) for path in ("/lib/x/a.so", "/lib/x/b.so")]
    known.append(ClosureWarning("heavy-plugin", "/lib/x/c.so", "stays out", 45))  # it speaks of what is absent
    assert found(tmp_path, paths=["/lib/x/a.so"], known=known) == [
        ("heavy-plugin", "/lib/x/c.so"),
        ("siblings", "/lib/x/a.so"),
    ]


def test_a_library_that_was_loaded_by_its_path_is_missed_by_none(tmp_path: Path) -> None:
    jvm = "/usr/lib/jvm/lib/server/libjvm.so"
    plant(tmp_path, {jvm: "", "/usr/lib/jvm/lib/libnet.so": "", "/app/libone.so": "", "/app/libother.so": ""})
    texts = [f"/usr/lib/jvm/lib/libnet.so needs {name}, which its loader cannot load: not found"
             for name in ("libjvm.so", "libone.so", "libother.so")]  # fmt: skip
    known = [ClosureWarning("missing-library", "/usr/lib/jvm/lib/libnet.so", text, 50) for text in texts]
    packed = Packed(DirectoryRoot(str(tmp_path)), {jvm, "/usr/lib/jvm/lib/libnet.so", "/app/libone.so"}, ImageConfig())
    # One was read and is kept, one is kept and nobody has loaded it, one was read and is not in the image.
    recording = Recording((access(jvm, Kind.READ), access("/app/libother.so", Kind.READ)))
    assert [each.text for each in warnings(packed, recording, known)] == texts[1:]


def test_directories_that_are_searched_for_names_weigh_little(tmp_path: Path) -> None:
    tree = {f"/opt/app/{name}": "x" for name in ("parts/a", "parts/b", "lib/python3.12/os.py", "lib/python3.12/sys.py")}
    tree |= {f"/usr/lib/ruby/3.1.0/{name}": "x" for name in ("irb/cmd/help.rb", "rdoc/images/add.png")}
    plant(tmp_path, {**tree, "/usr/bin/cat": "x", "/opt/app/code/one.py": "", "/opt/app/code/two.py": ""})
    ruby = ("/usr/lib/ruby/3.1.0", "/usr/lib/ruby/3.1.0/irb/cmd", "/usr/lib/ruby/3.1.0/rdoc/images")
    listed = ("/opt/app/parts", "/opt/app/lib/python3.12", "/usr/bin", "/opt/app/code", *ruby)
    known = [ClosureWarning("listed-directory", path, "its names were listed; maybe", 30) for path in listed]
    packed = Packed(DirectoryRoot(str(tmp_path)), {"/opt/app/parts/a"}, ImageConfig())
    told = warnings(packed, Recording(()), known)
    assert len(told) == len(listed)
    assert [(each.path, each.remedy) for each in actionable(told)] == [("/opt/app/parts", "--include /opt/app/parts")]


def test_modules_that_are_asked_for_by_name_have_no_siblings_to_miss(tmp_path: Path) -> None:
    named = ("/usr/lib/gconv/BIG5.so", "/usr/lib/python3.11/lib-dynload/_ssl.so", "/usr/lib/security/pam_unix.so")
    places = (*named, "/usr/lib/apache2/modules/mod_x.so")
    known = [ClosureWarning("siblings", path, "9 siblings not kept", 30) for path in places]
    told = warnings(Packed(DirectoryRoot(str(tmp_path)), set(places), ImageConfig()), Recording(()), known)
    assert len(told) == 4
    assert [each.path for each in actionable(told)] == ["/usr/lib/apache2/modules/mod_x.so"]


def test_what_is_shown_has_a_line_to_paste_or_was_seen() -> None:
    given = [
        ClosureWarning("error-output", "app", "says: no zone", 60),
        ClosureWarning("command", "/app/run", "line 3 may start /usr/bin/a b, which would bring 9 bytes", 35),
        ClosureWarning("dlopen-string", "/a.so", "might load libx.so.1 (/lib/libx.so.1), which was not recorded", 35),
        ClosureWarning("unread", "/app/x", "nested too deeply", 45),
        ClosureWarning("gconv", "/usr/lib/gconv", "character sets", 20),
        ClosureWarning("siblings", "/lib/it's/a.so", "3 siblings", 30),
        ClosureWarning("siblings", "/lib/it's/b.so", "3 siblings", 30),
    ]
    assert [(each.kind, each.remedy) for each in actionable([with_remedy(each) for each in given])] == [
        ("error-output", ""),
        ("dlopen-string", "--include /lib/libx.so.1"),
        ("siblings", """--include '/lib/it'"'"'s'"""),
    ]


def test_the_heaviest_comes_first(tmp_path: Path) -> None:
    known = [ClosureWarning("large-package", "/x", "light", 1), ClosureWarning("excluded", "/y", "heavy", 99)]
    kinds = [kind for kind, _ in found(tmp_path, known=known, test=("CMD", "curl"))]
    assert kinds == ["excluded", "healthcheck", "large-package"]


def outcome(errors: bytes, inside: bytes = b"") -> RunOutcome:
    return RunOutcome(("app", "-v"), 0, True, b"", errors, executed=(Executed("ping x", 0, b"", inside),))


def test_other_errors_in_slim_are_a_warning_and_other_numbers_are_not() -> None:
    fat = outcome(b"12:01 [17] ready\n", b"")
    assert complaints([fat], [outcome(b"13:55 [4] ready\n")]) == ()
    app, ping = complaints([fat], [outcome(b"1:2 [3] ready\nno locale\nno zone\n", b"slow 0x7f")])
    assert (app.path, app.text) == ("app", "app -v says in the slim image only: no locale, and 1 more lines")
    assert ping.path == "ping"


def test_a_log_line_of_another_id_is_the_same_line() -> None:
    def line(job: bytes, commit: bytes) -> RunOutcome:
        return outcome(b"Task add[" + job + b"] received at " + commit)

    fat = line(b"5a5f687c-a5cd-4799-8887-82469bbfc2d3", b"cafe0123babe")
    assert complaints([fat], [line(b"0b9e61aa-ffcd-4a01-9bcd-deadbeefcafe", b"00ff00ff00ff7")]) == ()
    assert complaints([fat], [line(b"5a5f687c-a5cd-4799-8887-82469bbfc2d3", b"deadbeef")])
