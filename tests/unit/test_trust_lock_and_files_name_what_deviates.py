"""The lock, and files against a manifest: a tree in, the deviations out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slimmer.errors import SlimmerError
from slimmer.report.model import KeptPath
from slimmer.report.output import Output
from slimmer.trust.files import Problem, compare_files
from slimmer.trust.lock import Lock, Origin, deviations, dump, lines, make_lock, parse, read_lock, write_lock
from tests.report_outputs import make_output
from tests.support import needs_root, plant

ORIGIN = Origin("sha256:aa", "sha256:bb", "sha256:cc", "0.1.0", "zlib 1.3 level 5", "sha256:dd")
TREE: dict[str, str | bytes | None] = {
    "/bin/app": "#755 echo\n",
    "/bin/sh": "-> app",
    "/etc/conf": "a",
    "/data": None,
    "/odd\udcffname": "x",
}


def rows(tmp_path: Path, tree: dict[str, str | bytes | None], name: str = "fat") -> list[KeptPath]:
    if not (tmp_path / name).exists():
        plant(tmp_path / name, tree)
    return list(Output(make_output(tmp_path / f"{name}-out", tmp_path / name, list(tree))).manifest())


def test_a_lock_reads_back_as_written_and_is_sorted(tmp_path: Path) -> None:
    lock = make_lock(rows(tmp_path, TREE), ORIGIN, ["/b*", "/a*"])
    text = dump(lock)
    assert parse(text, "x") == lock
    assert parse(dump(make_lock(reversed(rows(tmp_path, TREE)), ORIGIN, ["/a*", "/b*"])), "x") == lock
    write_lock(lock, tmp_path / "slim.lock")
    assert read_lock(tmp_path / "slim.lock") == lock
    assert not list(tmp_path.glob(".slim.lock*"))


def test_deviations_are_named_with_their_reason(tmp_path: Path) -> None:
    lock = make_lock(rows(tmp_path, TREE), ORIGIN)
    changed: dict[str, str | bytes | None] = {**TREE, "/etc/conf": "b", "/bin/app": "#700 echo\n", "/new": "n"}
    del changed["/data"]
    found = deviations(lock, rows(tmp_path, changed, "next"))
    assert {each.path: each.what for each in found} == {
        "/bin/app": "mode",
        "/data": "removed",
        "/etc/conf": "content",
        "/new": "added",
    }
    assert lines(found)[-1] == "+ /new  opened by /usr/bin/app"
    assert [each.path for each in deviations(lock, rows(tmp_path, changed, "next"), ["/etc/*", "/new", "/d*"])] == [
        "/bin/app"
    ]
    allowed = Lock(lock.origin, lock.paths, ("/bin/*", "/data", "/etc/*", "/new"))
    assert deviations(allowed, rows(tmp_path, changed, "next")) == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1"),
        ("{}\n", "format"),
        ('{"format": "slimmer.lock/9"}\n{}\n', "reads slimmer.lock/1"),
        ('{"format": "slimmer.lock/1"}\n{}\n', "line 2"),
        ('{"format": "slimmer.lock/1"}\nnot json\n', "line 2"),
    ],
)
def test_a_broken_lock_is_one_message_with_its_line(text: str, message: str) -> None:
    with pytest.raises(SlimmerError, match=message):
        parse(text, "slim.lock")


def test_a_broken_row_is_named_by_its_line(tmp_path: Path) -> None:
    text = dump(make_lock(rows(tmp_path, TREE), ORIGIN)).replace('"mode": "0755"', '"mode": "9"', 1)
    with pytest.raises(SlimmerError, match="line 3"):
        parse(text, "slim.lock")


def test_files_as_the_manifest_says_are_equal_and_writable_places_are_apart(tmp_path: Path) -> None:
    kept = rows(tmp_path, TREE)
    plant(tmp_path / "fat", {"/tmp/x": "scratch", "/data/new": "state", "/run/pid": "1"})
    found = compare_files(str(tmp_path / "fat"), kept, ["/data"])
    assert found.deviations == ()
    assert found.compared == len(kept) - 2  # all but / and /data


def test_every_kind_of_deviation_is_found(tmp_path: Path) -> None:
    kept = rows(tmp_path, {**TREE, "/etc/gone": "g", "/etc/mode": "m", "/etc/kind": "k"})
    fat = tmp_path / "fat"
    (fat / "etc/conf").write_text("b")
    (fat / "etc/gone").unlink()
    (fat / "etc/mode").chmod(0o600)
    (fat / "etc/kind").unlink()
    (fat / "etc/kind").symlink_to("/etc/passwd")
    (fat / "bin/sh").unlink()
    (fat / "bin/sh").symlink_to("other")
    (fat / "etc/extra").write_text("e")
    found = {each.path: (each.problem, each.what) for each in compare_files(str(fat), kept).deviations}
    assert found == {
        "/bin/sh": (Problem.DIFFERS, ("target",)),
        "/etc/conf": (Problem.DIFFERS, ("content",)),
        "/etc/extra": (Problem.EXTRA, ()),
        "/etc/gone": (Problem.MISSING, ()),
        "/etc/kind": (Problem.DIFFERS, ("type",)),
        "/etc/mode": (Problem.DIFFERS, ("mode",)),
    }


@needs_root
def test_owners_are_compared_as_root(tmp_path: Path) -> None:
    kept = rows(tmp_path, TREE)
    os.chown(tmp_path / "fat/etc/conf", 7, 7)
    (found,) = compare_files(str(tmp_path / "fat"), kept).deviations
    assert (found.path, found.what) == ("/etc/conf", ("owner",))


def test_a_link_in_the_place_of_a_directory_does_not_lead_out(tmp_path: Path) -> None:
    kept = rows(tmp_path, {"/etc/conf": "a"})
    (tmp_path / "fat/etc/conf").unlink()
    (tmp_path / "fat/etc").rmdir()
    (tmp_path / "host").mkdir()
    (tmp_path / "host/conf").write_text("a")
    (tmp_path / "fat/etc").symlink_to(tmp_path / "host")
    found = {each.path: each.what for each in compare_files(str(tmp_path / "fat"), kept).deviations}
    assert found == {"/etc": ("type",), "/etc/conf": ()}
