"""The store of a run in the live root: whatever the run does, `load` tells what was there before it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import plant
from tracer.runner import before_image

TREE: dict[str, str | bytes | None] = {
    "d/a": "one\n",
    "d/sub/b": "two\n",
    "d/sub/deep/c": "three\n",
    "d/link": "-> sub/b",
    "e/f": "four\n",
    "e/empty": None,
    "top": "five\n",
}


class Run:
    """Changes a tree the way the recorder sees it: the store is told before every change."""

    def __init__(self, tmp: Path) -> None:
        self.root = plant(tmp / "root", TREE)
        self.store = before_image.Store(tmp / "saved")
        self._saved = tmp / "saved"
        self.before = state(self.root)

    def tell(self, *names: str) -> None:
        for name in names:
            self.store.before_change(f"{self.root}/{name}")

    def write(self, name: str, text: str) -> None:
        self.tell(name)
        self.store.before_change(os.path.realpath(self.root / name))  # through a link it is the target that changes
        (self.root / name).write_text(text)

    def remove(self, name: str) -> None:
        self.tell(name)
        path = self.root / name
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()

    def remove_all(self, name: str) -> None:
        path = self.root / name
        if path.is_dir() and not path.is_symlink():
            for each in sorted(os.listdir(path)):
                self.remove_all(f"{name}/{each}")
        self.remove(name)

    def rename(self, old: str, new: str) -> None:
        self.tell(old, new)
        os.rename(self.root / old, self.root / new)

    def mkdir(self, name: str) -> None:
        self.tell(name)
        (self.root / name).mkdir()

    def restored(self) -> dict[str, tuple[object, ...]]:
        """The present state with what `load` says put over it."""
        now = state(self.root)
        for path, saved in before_image.load(self._saved).items():
            name = os.path.relpath(path, self.root)
            if name.startswith(".."):
                continue
            if saved is None:
                now.pop(name, None)
            else:
                text = saved.content.read_bytes() if saved.content else b""
                now[name] = (saved.type, saved.mode, saved.size, saved.mtime_ns, saved.target, text)
        return now


def state(root: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in [root, *root.rglob("*")]:
        status = path.lstat()
        kind = "symlink" if path.is_symlink() else "directory" if path.is_dir() else "file"
        content = path.read_bytes() if kind == "file" else b""
        target = os.readlink(path) if kind == "symlink" else ""
        size = status.st_size if kind == "file" else 0
        found[str(path.relative_to(root))] = (kind, status.st_mode & 0o7777, size, status.st_mtime_ns, target, content)
    return found


def test_a_written_a_removed_and_a_new_file_are_as_before(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write("d/a", "changed")
    run.write("d/a", "changed again")
    run.remove("top")
    run.write("new", "x")
    run.remove("d/link")
    run.write("d/link", "now a file")
    assert run.restored() == run.before
    saved = before_image.load(tmp_path / "saved")
    assert saved[f"{run.root}/new"] is None
    kept = saved[f"{run.root}/d/a"]
    assert kept is not None
    assert kept.content is not None
    assert kept.content.read_text() == "one\n"


def test_what_was_opened_for_writing_and_never_written_is_not_mentioned(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.tell("d/a")
    assert before_image.load(tmp_path / "saved") == {}


def test_a_renamed_directory_is_known_with_all_that_came_along(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.rename("d", "moved")
    run.write("moved/sub/b", "changed under its new name")
    run.remove("moved/sub/deep/c")
    run.write("moved/new", "not from before")
    assert run.restored() == run.before


def test_another_directory_in_a_renamed_ones_place_is_not_mistaken_for_it(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.rename("d", "old")
    run.mkdir("d")
    run.write("d/a", "new content of a new file")
    run.write("d/a", "and again")
    run.write("old/a", "then the old one")
    assert run.restored() == run.before


def test_a_directory_moved_twice_and_removed_is_restored(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.rename("d", "e/once")
    run.rename("e/once", "twice")
    run.rename("e", "twice/e")
    run.remove_all("twice")
    assert run.restored() == run.before


OPERATIONS: dict[str, Callable[[Run, list[str], list[str]], None]] = {
    "write": lambda run, files, directories: run.write(files[0], "changed"),
    "remove": lambda run, files, directories: run.remove(files[-1]),
    "remove all": lambda run, files, directories: run.remove_all(directories[-1]),
    "rename": lambda run, files, directories: run.rename(files[0], directories[0] + "/renamed"),
    "move": lambda run, files, directories: run.rename(directories[-1], "elsewhere"),
    "new": lambda run, files, directories: run.write(directories[-1] + "/made", "made"),
    "mkdir": lambda run, files, directories: run.mkdir(directories[0] + "/fresh"),
}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(st.tuples(st.sampled_from(sorted(OPERATIONS)), st.integers(0, 7)), min_size=1, max_size=12))
def test_any_sequence_of_changes_is_undone(
    steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    tmp = tmp_path_factory.mktemp("run")
    run = Run(tmp)
    for name, turn in steps:
        now = state(run.root)
        files = sorted(each for each, what in now.items() if what[0] != "directory")
        directories = sorted(each for each, what in now.items() if what[0] == "directory" and each != ".")
        if not files or not directories:
            break
        files = files[turn % len(files) :] + files[: turn % len(files)]
        directories = directories[turn % len(directories) :] + directories[: turn % len(directories)]
        try:
            OPERATIONS[name](run, files, directories)
        except OSError:
            continue  # the run's own failure: into itself, not empty, there already
    assert run.restored() == run.before
    shutil.rmtree(tmp)


def test_limits_are_kept_and_told(tmp_path: Path) -> None:
    root = plant(tmp_path / "root", {"large": "x" * 5000, "small": "y", "second": "z" * 3000})
    store = before_image.Store(tmp_path / "saved", file_limit=4096, total_limit=3000)
    for name in ("large", "second", "small"):
        store.before_change(f"{root}/{name}")
        (root / name).write_text("changed")
    saved = before_image.load(tmp_path / "saved")
    large = saved[f"{root}/large"]
    assert large is not None
    assert large.content is None
    assert large.size == 5000
    assert "too large" in large.problem
    assert len(before_image.problems(tmp_path / "saved")) == 2  # no room is left for the third


def test_sparse_files_stay_sparse_and_xattrs_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as stream:
        stream.truncate(1 << 30)
        stream.seek(1 << 29)
        stream.write(b"middle")
    try:
        os.setxattr(path, "user.kept", b"\0value")
    except OSError:
        pytest.skip("no user xattrs in the temporary directory")
    store = before_image.Store(tmp_path / "saved")
    store.before_change(str(path))
    path.unlink()
    saved = before_image.load(tmp_path / "saved")[str(path)]
    assert saved is not None
    assert saved.content is not None
    assert saved.xattrs == {"user.kept": b"\0value"}
    assert saved.content.stat().st_size == saved.size == 1 << 30
    assert saved.content.stat().st_blocks * 512 < 1 << 20
    with saved.content.open("rb") as stream:
        stream.seek(1 << 29)
        assert stream.read(6) == b"middle"


def test_devices_and_proc_are_no_files_of_an_image(tmp_path: Path) -> None:
    store = before_image.Store(tmp_path / "saved")
    for path in ("/dev/null", "/proc/self/oom_score_adj", "/sys/x", "/"):
        store.before_change(path)
    assert before_image.load(tmp_path / "saved") == {}
