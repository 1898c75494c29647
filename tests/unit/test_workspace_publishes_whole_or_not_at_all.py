"""The output directory appears in one step, never over something that is not ours."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from slimmer.errors import SlimmerError
from slimmer.workspace import MARK, workspace
from tests.support import plant


def test_an_output_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with workspace(target) as space:
        (space.path / MARK).write_text("x")
        assert not target.exists()
        space.publish()
    assert [entry.name for entry in target.iterdir()] == [MARK]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_an_error_leaves_nothing_and_the_previous_output_in_place(tmp_path: Path) -> None:
    plant(tmp_path, {f"out/{MARK}": "old"})
    with pytest.raises(RuntimeError), workspace(tmp_path / "out") as space:
        (space.path / MARK).write_text("new")
        raise RuntimeError
    assert (tmp_path / "out" / MARK).read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_a_previous_output_is_replaced(tmp_path: Path) -> None:
    plant(tmp_path, {f"out/{MARK}": "old", "out/more": "m"})
    with workspace(tmp_path / "out") as space:
        (space.path / MARK).write_text("new")
        space.publish()
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == [MARK]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("tree", [{"out": "a file"}, {"out/precious": "p"}, {"out": "-> elsewhere"}])
def test_what_is_not_ours_is_refused_and_left_alone(tmp_path: Path, tree: dict[str, str]) -> None:
    plant(tmp_path, tree)
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    with pytest.raises(SlimmerError, match="exists and is not"), workspace(tmp_path / "out"):
        pytest.fail("it was let in")
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_what_a_killed_run_left_is_removed_by_the_next_and_a_living_one_is_not(tmp_path: Path) -> None:
    target = tmp_path / "out"
    child = os.fork()
    if child == 0:
        with workspace(target) as space:
            (space.path / "half").write_text("h")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert len(list(tmp_path.iterdir())) == 1
    with workspace(target) as alive, workspace(target) as other:
        assert sorted(tmp_path.iterdir()) == sorted([alive.path, other.path])


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    plant(tmp_path, {"file": "f"})
    with pytest.raises(SlimmerError, match="cannot write the output beside"), workspace(tmp_path / "file" / "out"):
        pytest.fail("it was let in")
