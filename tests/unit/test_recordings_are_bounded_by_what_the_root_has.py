"""Failed lookups are bounded, the same way each time; nothing that exists, was written or executed is dropped."""

from __future__ import annotations

from pathlib import Path

from slimmer.exercise.lookups import Limits, bounded
from slimmer.root.directory import DirectoryRoot
from tests.support import plant
from tracer.recording import Access, Kind, Recording

FEW = Limits(names=3, bytes=40, total=60)


def recorded(*paths: str, kind: Kind = Kind.STAT) -> Recording:
    rows = tuple(Access(path, frozenset({kind}), frozenset({"/bin/a"})) for path in sorted(paths))
    return Recording(accesses=rows, executions=(), architecture="x86_64", recorder=("notify",), notes=("before",))


def paths(recording: Recording) -> list[str]:
    return [access.path for access in recording.accesses]


def test_so_many_names_are_kept_below_each_directory_that_is_there(tmp_path: Path) -> None:
    root = DirectoryRoot(str(plant(tmp_path, {"/a/there": "x", "/a/b/there": "x", "/l": "-> /a"})))
    looked = [f"/{top}/no{each}" for top in ("a", "a/b", "l") for each in range(5)]
    found = bounded(recorded(*looked, "/a/no/deeper/0"), root, FEW)
    assert paths(found) == ["/a/b/no0", "/a/b/no1", "/a/b/no2", "/a/no/deeper/0", "/a/no0", "/a/no1", "/l/no0"]
    assert found.notes == (
        "2 more names that nothing has were looked for below /a/b: they are left out of the recording",
        "3 more names that nothing has were looked for below /a: they are left out of the recording",
        "4 more names that nothing has were looked for below /a: they are left out of the recording",
        "before",
    )


def test_what_exists_or_was_written_stays_however_much_it_is(tmp_path: Path) -> None:
    there = {f"/etc/file-with-a-long-name-{each}": "x" for each in range(20)} | {"/etc/dangling": "-> nowhere"}
    root = DirectoryRoot(str(plant(tmp_path, there)))
    for recording in (recorded(*there), recorded(*(f"/etc/made{each}" for each in range(20)), kind=Kind.WRITE)):
        assert bounded(recording, root, FEW) == recording


def test_few_lookups_are_all_kept(tmp_path: Path) -> None:
    recording = recorded("/no/1", "/no/2", "/no/3")
    assert bounded(recording, DirectoryRoot(str(tmp_path)), FEW) == recording


def test_names_of_any_length_are_bounded_by_their_bytes(tmp_path: Path) -> None:
    recording = recorded(*(f"/{each}{'x' * 200}/{'y' * 100}" for each in range(10_000)))
    found = bounded(recording, DirectoryRoot(str(tmp_path)))
    assert sum(map(len, paths(found))) <= Limits().bytes
    assert len(found.accesses) > 3_000
