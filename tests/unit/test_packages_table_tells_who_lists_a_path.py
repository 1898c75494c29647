"""Who lists which path is held by directory, and told as a dictionary of all paths would tell it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimmer.packages import places as places_module
from slimmer.packages import table
from slimmer.packages.places import Places
from slimmer.packages.table import PathTable
from slimmer.root.directory import DirectoryRoot
from tests.support import plant

NAMES = st.text("ab1\n\udc80é-", min_size=1, max_size=3)
PATHS = st.lists(NAMES, max_size=4).map(lambda parts: "/" + "/".join(parts))
LISTS = st.lists(st.lists(PATHS, max_size=12), max_size=6)


def by_directory(paths: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        found.setdefault(folder, []).append(name)
    return found


@given(LISTS)
def test_it_tells_what_was_put_in(lists: list[list[str]]) -> None:
    found = PathTable()
    for number, paths in enumerate(lists):
        assert found.add(by_directory(paths)) == number
        assert set(found.of(number)) == set(paths)
    assert len(found) == sum(map(len, lists))
    for path in {path for paths in lists for path in paths} | {"/", "/none/at/all"}:
        assert found.at(path) == tuple(number for number, paths in enumerate(lists) if path in paths)
        below = any(each.startswith(path.rstrip("/") + "/") and each != "/" for paths in lists for each in paths)
        if path != "/":
            assert (path in found) is below


def test_directories_are_read_again_after_many_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "READ", 3)
    found = PathTable()
    found.add({f"/d{number}": ["a", "b"] for number in range(9)})
    found.add({"/d3": ["b"]})
    for _ in range(2):
        assert [dict(found.within(f"/d{number}")) for number in (2, 3)] == [
            {"a": (0,), "b": (0,)},
            {"a": (0,), "b": (0, 1)},
        ]


def test_places_forget_directories_that_are_where_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places_module, "REMEMBERED", 3)
    tree = {f"/usr/d{number}/x": "" for number in range(5)} | {"/lib": "-> usr/d1"}
    places = Places(DirectoryRoot(str(plant(tmp_path, tree))))
    paths = ["/.", "/lib", "/lib/x", *(f"/usr/d{number}/x" for number in range(5)), "/lib/./y", "/usr/../lib/z"]
    assert places.folders(paths) == {
        "": ["", "lib"],
        "/usr/d1": ["x", "x", "y", "z"],
        **{f"/usr/d{number}": ["x"] for number in (0, 2, 3, 4)},
    }
    assert [path for path in ("/lib", "/usr", "/usr/d1") if places.is_moved(path)] == ["/lib"]
