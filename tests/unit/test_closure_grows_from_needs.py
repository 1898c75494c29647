"""The worklist: links, directories, levels and reasons."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from slimmer.closure.model import Application, Level, Need, Reason, Rule, View
from slimmer.closure.recorded import IncludeRule, RecordedRule
from slimmer.closure.worklist import Closure, grow
from slimmer.root.directory import DirectoryRoot
from slimmer.root.model import Entry
from tests.support import plant
from tests.support_roots import Owned
from tracer.recording import Access, Kind, Recording


def recording(*paths: str, kind: Kind = Kind.READ) -> Recording:
    return Recording(tuple(Access(path, frozenset({kind}), frozenset({"/bin/x"})) for path in sorted(paths)))


def closure(top: Path, seen: Recording, *rules: Rule) -> Closure:
    return grow(DirectoryRoot(str(top)), seen, Owned(), Application(), [RecordedRule(), *rules])


def test_every_link_and_directory_on_the_way_stays(tmp_path: Path) -> None:
    plant(tmp_path, {"usr/lib/a": "a", "usr/lib/unused": "u", "lib": "-> usr/lib", "opt/hop": "-> ../lib/a"})
    assert list(closure(tmp_path, recording("/opt/hop")).paths) == [
        "/",
        "/lib",
        "/opt",
        "/opt/hop",
        "/usr",
        "/usr/lib",
        "/usr/lib/a",
    ]


def test_an_absolute_link_stays_inside_the_root(tmp_path: Path) -> None:
    plant(tmp_path, {"etc/shadow": "inside", "way": "-> /etc/shadow"})
    assert "/etc/shadow" in closure(tmp_path, recording("/way")).paths


def test_a_dangling_link_stays_and_a_missing_path_does_not(tmp_path: Path) -> None:
    plant(tmp_path, {"d/gone": "-> /nowhere"})
    assert list(closure(tmp_path, recording("/d/gone", "/d/missing", "/other")).paths) == ["/", "/d", "/d/gone"]


def test_a_link_that_was_only_read_does_not_bring_its_target(tmp_path: Path) -> None:
    plant(tmp_path, {"link": "-> target", "target": "t"})
    assert "/target" not in closure(tmp_path, recording("/link", kind=Kind.LINK)).paths


def test_what_stands_before_dot_dot_stays(tmp_path: Path) -> None:
    plant(tmp_path, {"a/b": None, "a/c": "c"})
    assert "/a/b" in closure(tmp_path, recording("/a/b/../c")).paths


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    plant(tmp_path, {"one": "-> two", "two": "-> one"})
    assert set(closure(tmp_path, recording("/one")).paths) == {"/", "/one"}


def test_the_directory_that_a_run_wrote_to_stays(tmp_path: Path) -> None:
    plant(tmp_path, {"var/log": None, "var/other": None})
    kept = closure(tmp_path, recording("/var/log/app/new.log", kind=Kind.WRITE)).paths
    assert list(kept) == ["/", "/var", "/var/log"]
    assert kept["/var/log"].reasons[0].text == "/bin/x creates files there"


def test_an_included_directory_stays_whole_and_a_glob_takes_what_it_matches(tmp_path: Path) -> None:
    plant(tmp_path, {"srv/a/b": "1", "srv/a/c/d": "2", "etc/x.conf": "3", "etc/y": "4"})
    kept = closure(tmp_path, recording(), IncludeRule(["/srv/a", "/etc/*.conf"])).paths
    assert list(kept) == ["/", "/etc", "/etc/x.conf", "/srv", "/srv/a", "/srv/a/b", "/srv/a/c", "/srv/a/c/d"]


class Pairs(Rule):
    """X brings X.pair, in a level of its own."""

    name = "pairs"
    level = Level.REACHABLE

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        yield Need(entry.path + ".pair", Reason("pairs", "its pair", entry.path))


def test_a_path_belongs_to_the_lowest_level_that_brings_it(tmp_path: Path) -> None:
    plant(tmp_path, {"x": "x", "x.pair": "p", "x.pair.pair": "pp"})
    grown = closure(tmp_path, recording("/x"), Pairs())
    assert set(grown.at(Level.RECORDED)) == {"/", "/x"}
    assert set(grown.at(Level.REACHABLE)) == {"/", "/x", "/x.pair", "/x.pair.pair"}
    assert grown.paths["/x.pair.pair"].reasons == (Reason("pairs", "its pair", "/x.pair"),)


class Again(Rule):
    """Says of everything that it is wanted once more, in a level of its own."""

    name = "again"
    level = Level.PACKAGES

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        yield Need(entry.path, Reason("again", "wanted again", "/x"))


def test_a_higher_level_gives_no_reason_to_a_path_of_a_lower_one(tmp_path: Path) -> None:
    plant(tmp_path, {"x": "x"})
    kept = closure(tmp_path, recording("/x"), Again()).paths["/x"]
    assert [reason.rule for reason in kept.at(Level.REACHABLE)] == ["recorded"]
    assert [reason.rule for reason in kept.at(Level.PACKAGES)] == ["recorded", "again"]


class Whole(Rule):
    """Speaks when the worklist is dry: as many extras as there are kept files."""

    name = "whole"

    def settle(self, view: View) -> Iterable[Need]:
        return [Need(f"/extra{len(view.kept)}", Reason("whole", "count"))]


def test_settling_goes_on_until_nothing_is_new(tmp_path: Path) -> None:
    plant(tmp_path, {"x": "", "extra2": "", "extra3": "", "extra9": ""})
    assert set(closure(tmp_path, recording("/x"), Whole()).paths) == {"/", "/x", "/extra2", "/extra3"}


def test_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    plant(tmp_path, {f"d/{name}": "x"})
    assert f"/d/{name}" in closure(tmp_path, recording(f"/d/{name}")).paths
