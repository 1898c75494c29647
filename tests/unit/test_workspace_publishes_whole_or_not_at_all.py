"""The output directory appears in one step, never over something that is not ours."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slimmer.errors import SlimmerError
from slimmer.pipeline import workspace as subject
from slimmer.pipeline.target import MARKER, RECIPE, UNMARKED, mark, refuse_file
from slimmer.pipeline.workspace import beside, clean, place_all, workspace
from tests.support import plant


def publish(target: Path, tree: dict[str, str]) -> None:
    with workspace(target) as space:
        plant(space.path, dict(tree))
        assert not (target / "new").exists()
        space.publish()


def _names(place: Path) -> list[str]:
    return sorted(os.listdir(place)) if place.exists() else []


def everything(top: Path) -> dict[str, bytes]:
    return {str(each.relative_to(top)): each.read_bytes() if each.is_file() else b"" for each in top.rglob("*")}


def test_an_output_appears_whole_and_is_replaced_whole(tmp_path: Path) -> None:
    publish(tmp_path / "out", {RECIPE: "old", "image/blobs/sha256/a": "a", "more": "m"})
    assert _names(tmp_path / "out") == [MARKER, "image", "more", RECIPE]
    publish(tmp_path / "out", {RECIPE: "new"})
    assert everything(tmp_path / "out") == {MARKER: b"slimmer.output/1\nrecipe.toml\n", RECIPE: b"new"}
    assert _names(tmp_path) == ["out"]


def test_without_an_exchange_of_names_it_is_replaced_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "_exchange", lambda new, target: False)
    publish(tmp_path / "out", {RECIPE: "old"})
    publish(tmp_path / "out", {RECIPE: "new"})
    assert (tmp_path / "out" / RECIPE).read_text() == "new"
    assert _names(tmp_path) == ["out"]


@pytest.mark.parametrize("exchanges", [True, False])
def test_when_one_of_several_cannot_be_placed_none_is(
    tmp_path: Path, exchanges: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchanges:
        monkeypatch.setattr(subject, "_exchange", lambda new, target: False)
    plant(tmp_path, {"one/new/f": "1", "two/new": "2", "one-out/f": "before", "three/new": "3"})
    before = everything(tmp_path)
    moves = [(tmp_path / "one/new", tmp_path / "one-out"), (tmp_path / "two/new", tmp_path / "two-out")]
    with pytest.raises(OSError, match="No such file"):
        place_all([*moves, (tmp_path / "three/new", tmp_path / "nowhere/three")])
    assert everything(tmp_path) == before


def test_an_error_leaves_nothing_and_the_previous_output_in_place(tmp_path: Path) -> None:
    publish(tmp_path / "out", {RECIPE: "old"})
    with pytest.raises(RuntimeError), workspace(tmp_path / "out") as space:
        (space.path / RECIPE).write_text("new")
        raise RuntimeError
    assert (tmp_path / "out" / RECIPE).read_text() == "old"
    assert _names(tmp_path) == ["out"]


OURS = {RECIPE: "r", "image/index.json": "{}"}
FOREIGN: dict[str, dict[str, str | bytes | None]] = {
    "a file": {"out": "a file"},
    "a link": {"out": "-> elsewhere"},
    "somebody's directory": {"out/precious": "p"},
    "a project with a recipe": {"out/recipe.toml": "r", "out/src/main.py": "m", "out/.git/config": "c"},
    "a marker without content": {f"out/{MARKER}": "", "out/recipe.toml": "r"},
    "a marker of another kind": {f"out/{MARKER}": "something/1\nrecipe.toml\n", "out/recipe.toml": "r"},
    "an output and a file of one's own": {f"out/{MARKER}": "slimmer.output/1\nf\n", "out/f": "f", "out/notes": "n"},
    "an output and a directory of one's own": {f"out/{MARKER}": "slimmer.output/1\nf\n", "out/f": "", "out/mine": None},
    "one's own file deep in an output": {f"out/{MARKER}": "slimmer.output/1\nimage/a\n", "out/image/mine": "n"},
    "an output made a repository": {f"out/{MARKER}": "slimmer.output/1\n", "out/.git": None},
    "an old output and more": {**{f"out/{name}": "x" for name in UNMARKED}, "out/notes": "n"},
}


@pytest.mark.parametrize("tree", FOREIGN.values(), ids=list(FOREIGN))
def test_what_is_not_ours_is_refused_and_left_alone(tmp_path: Path, tree: dict[str, str]) -> None:
    plant(tmp_path, tree)
    before = everything(tmp_path)
    with pytest.raises(SlimmerError, match=r"out (exists and is not|is a repository)"), workspace(tmp_path / "out"):
        pytest.fail("it was let in")
    assert everything(tmp_path) == before


def test_what_came_into_the_old_output_meanwhile_is_not_deleted(tmp_path: Path) -> None:
    publish(tmp_path / "out", {RECIPE: "old"})
    with pytest.raises(SlimmerError, match="notes is not of it"), workspace(tmp_path / "out") as space:
        (tmp_path / "out/notes").write_text("n")
        space.publish()
    assert (tmp_path / "out/notes").read_text() == "n"


def test_an_output_of_the_time_before_markers_is_replaced(tmp_path: Path) -> None:
    plant(tmp_path / "out", {**dict.fromkeys(UNMARKED, "x"), "image/blobs/sha256/abc": "b"})
    publish(tmp_path / "out", OURS)
    assert (tmp_path / "out" / RECIPE).read_text() == "r"


@pytest.mark.parametrize(
    ("stand", "target"),
    [("out", "."), ("out", "../out"), ("out/image", ".."), ("out/image", "../../out"), ("empty", ".")],
)
def test_the_directory_one_stands_in_and_those_above_it_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand: str, target: str
) -> None:
    publish(tmp_path / "out", OURS)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / stand)
    with pytest.raises(SlimmerError, match="you stand in"), workspace(Path(target)):
        pytest.fail("it was let in")


def test_a_home_stays_even_when_it_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(SlimmerError, match="home directory"), workspace(tmp_path / "home"):
        pytest.fail("it was let in")
    with pytest.raises(SlimmerError, match="never replaced"), workspace(Path("/")):
        pytest.fail("it was let in")


def test_an_archive_replaces_archives_only(tmp_path: Path) -> None:
    plant(tmp_path, {"empty": "", "text": "words", "old.tar": b"\0" * 257 + b"ustar\0" + b"\0" * 249, "dir": None})
    os.mkfifo(tmp_path / "pipe")
    for name in ("new", "empty", "old.tar"):
        refuse_file(tmp_path / name)
    for place in (tmp_path / "text", tmp_path / "dir", tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(SlimmerError):
            refuse_file(place)


def die_in(work: Callable[[], None]) -> None:
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    os.waitpid(child, 0)


def killed_while_writing(target: Path) -> None:
    def work() -> None:
        with workspace(target) as space:
            (space.path / "half").write_text("h")
            os.kill(os.getpid(), signal.SIGKILL)

    die_in(work)


def test_what_a_killed_run_left_is_removed_by_the_next_and_a_living_one_is_not(tmp_path: Path) -> None:
    target = tmp_path / "out"
    killed_while_writing(target)
    assert len(_names(tmp_path)) == 1
    with workspace(target) as alive, workspace(target) as other:
        assert sorted(tmp_path.iterdir()) == sorted([alive.path.parent, other.path.parent])


def test_what_is_dead_for_an_hour_is_removed_by_an_output_of_any_name(tmp_path: Path) -> None:
    killed_while_writing(tmp_path / "first")
    killed_while_writing(tmp_path / "second")
    plant(tmp_path, {".mine.part-abcdefgh/lock": "my own", ".mine.part-abcdefgi/data": "d"})
    mine = [".mine.part-abcdefgh", ".mine.part-abcdefgi"]
    (stale,) = tmp_path.glob(".first.part-*")
    for place in [stale / "lock", *(tmp_path / each for each in mine), tmp_path / mine[0] / "lock"]:
        os.utime(place, (time.time() - 4000,) * 2)
    assert clean(tmp_path / "out") == (str(stale),)
    (young,) = tmp_path.glob(".second.part-*")
    assert _names(tmp_path) == [*mine, young.name]


def test_a_beginning_without_a_lock_is_removed_after_a_minute(tmp_path: Path) -> None:
    """Killed before it had its lock, or when that was the last of it to be removed."""
    for name in ("aaaaaaaa", "bbbbbbbb", "cccccccc"):
        (tmp_path / f".out.part-{name}").mkdir()
    (tmp_path / ".out.part-bbbbbbbb/making").write_text("")
    for name, age in (("aaaaaaaa", 70), ("bbbbbbbb", 70), ("cccccccc", 20)):
        os.utime(tmp_path / f".out.part-{name}", (time.time() - age,) * 2)
    clean(tmp_path / "out")
    assert _names(tmp_path) == [".out.part-cccccccc"], "its maker may be about to lock it"


def test_what_a_killed_run_had_moved_aside_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path / "out", {RECIPE: "old"})
    rename = Path.rename

    def deadly(self: Path, target: Path) -> Path:
        moved = rename(self, target)
        if target.name == "old":
            os.kill(os.getpid(), signal.SIGKILL)
        return moved

    def work() -> None:
        monkeypatch.setattr(subject, "_exchange", lambda new, target: False)
        monkeypatch.setattr(Path, "rename", deadly)
        publish(tmp_path / "out", {RECIPE: "new"})

    die_in(work)
    assert not (tmp_path / "out").exists()
    with beside(tmp_path / "out", "it", "-o"):
        assert (tmp_path / "out" / RECIPE).read_text() == "old"


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    plant(tmp_path, {"file": "f"})
    with pytest.raises(SlimmerError, match="cannot write the output beside"), workspace(tmp_path / "file" / "out"):
        pytest.fail("it was let in")


def test_a_mark_names_every_file(tmp_path: Path) -> None:
    plant(tmp_path, {"a": "1", "image/b": "2"})
    mark(tmp_path)
    assert (tmp_path / MARKER).read_text() == "slimmer.output/1\na\nimage/b\n"
