"""What a round of repair adds, in which order, and what a listing did not show."""

from __future__ import annotations

from pathlib import Path

from slimmer.checks.compare import Comparison, Verdict, listed, misses
from slimmer.recipe import Miss
from slimmer.root.directory import DirectoryRoot
from tests.support import plant
from tracer.recording import Access, Kind, Recording

A, B, C = (Miss(f"/{name}", ("/bin/app",), ("read",)) for name in "abc")
BAD = Comparison("GET /", "status 200", "status 500", "another status")
AGAIN = Miss("/a", ("/bin/other",), ("stat",))


def paths(found: tuple[Miss, ...]) -> list[str]:
    return [each.path for each in found]


def test_misses_come_first_then_what_the_fat_run_used_then_listed_names() -> None:
    verdict = Verdict((BAD,), misses=(A,), touched=(AGAIN, B), listed=(C,))
    assert paths(verdict.repairs(())) == ["/a"]
    assert paths(verdict.repairs([A])) == ["/b"]
    assert paths(verdict.repairs([A, B])) == ["/c"]
    assert paths(verdict.repairs([A, B, C])) == []


def test_the_last_round_adds_all_of_it_once() -> None:
    verdict = Verdict((BAD,), misses=(A,), touched=(AGAIN, B), listed=(C,))
    assert paths(verdict.repairs((), last=True)) == ["/a", "/b", "/c"]


def test_a_miss_is_harmless_only_when_everything_went_well() -> None:
    good, bad = Comparison("GET /", "200", "200"), Comparison("GET /x", "200", "500", "another status")
    assert Verdict((good,), (A,)).followed(A).startswith("harmless")
    assert Verdict((good, bad), (A,)).followed(A) == "then GET /x: another status"


def test_names_that_a_listing_lacks_are_named_once_and_not_below(tmp_path: Path) -> None:
    fat = plant(tmp_path / "fat", {"/d/a": "", "/d/b": "", "/d/sub/c": "", "/link": "-> d", "/dev/null": ""})
    slim = plant(tmp_path / "slim", {"/d/a": "", "/link": "-> d", "/dev": None})
    roots = DirectoryRoot(str(fat)), DirectoryRoot(str(slim))
    looked = [Access(path, frozenset({Kind.LIST}), frozenset({"/bin/ls"})) for path in ("/d", "/link", "/gone")]
    assert paths(listed(Recording(tuple(looked)), *roots)) == ["/d/b", "/d/sub"]
    device = Access("/dev/null", frozenset({Kind.READ}), frozenset())
    assert misses(Recording((device,)), *roots) == ()  # every runtime makes it
