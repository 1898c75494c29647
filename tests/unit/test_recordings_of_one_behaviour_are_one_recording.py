"""Names that a program makes up are not in a recording: two runs of one behaviour are recorded alike."""

from __future__ import annotations

from pathlib import Path

from slimmer.exercise.scratch import without_random_names
from slimmer.root.directory import DirectoryRoot
from tests.support import plant
from tracer.recording import Access, Kind, Recording

R, W, S = Kind.READ, Kind.WRITE, Kind.STAT


def recorded(*rows: tuple[str, set[Kind], str]) -> Recording:
    accesses = tuple(Access(path, frozenset(kinds), frozenset({by})) for path, kinds, by in rows)
    return Recording(accesses=accesses, executions=(), architecture="x86_64", recorder=("notify",))


def test_what_a_run_makes_in_a_scratch_directory_has_no_name(tmp_path: Path) -> None:
    root = DirectoryRoot(str(plant(tmp_path, {"/tmp/kept/file": "x", "/var/tmp": None, "/srv": None})))
    found = without_random_names(
        recorded(
            ("/srv/out-1", {W}, "/bin/a"),
            ("/tmp/.s.PGSQL.5432", {S}, "/bin/a"),
            ("/tmp/gone", {S}, "/bin/a"),
            ("/tmp/kept/file", {R}, "/bin/a"),
            ("/tmp/kept/new", {W}, "/bin/b"),
            ("/tmp/x7dj", {W}, "/bin/a"),
            ("/tmp/x7dj/deep/er", {S}, "/bin/b"),
            ("/tmp/z1", {R, W}, "/bin/c"),
            ("/var/tmp/q", {W}, "/bin/a"),
        ),
        root,
    )
    assert {each.path: ({*each.kinds}, {*each.by}) for each in found.accesses} == {
        "/srv/out-1": ({W}, {"/bin/a"}),  # a directory of the application: its own affair
        "/tmp/*": ({R, W, S}, {"/bin/a", "/bin/b", "/bin/c"}),
        "/tmp/.s.PGSQL.5432": ({S}, {"/bin/a"}),  # looked for and not made: the program's own name
        "/tmp/gone": ({S}, {"/bin/a"}),
        "/tmp/kept/*": ({W}, {"/bin/b"}),
        "/tmp/kept/file": ({R}, {"/bin/a"}),
        "/var/tmp/*": ({W}, {"/bin/a"}),
    }
    assert [each.path for each in found.accesses] == sorted(each.path for each in found.accesses)
    assert without_random_names(found, root) == found
