"""The live root: as it was before the run, in one walk; filesystems of the kernel are not looked into."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from slimmer.packages.index import index
from slimmer.root.directory import DirectoryRoot
from slimmer.root.live import LiveRoot, SavedRoot
from slimmer.root.model import Entry, FileType, Root, sort_key
from tests.support import plant
from tracer.runner import before_image

TREE: dict[str, str | bytes | None] = {
    "d/a": "one\n",
    "d/sub/b": "two\n",
    "d/sub-ling": "three\n",
    "d/gone/c": "four\n",
    "d/link": "-> sub/b",
    "e/empty": None,
}


def step_by_step(root: Root, top: str = "/") -> Iterator[Entry]:
    for name in root.children(top):
        entry = root.entry(f"{top.rstrip('/')}/{name}")
        assert entry is not None
        yield entry
        if entry.type is FileType.DIRECTORY:
            yield from step_by_step(root, entry.path)


def test_the_walk_tells_the_state_before_the_run(tmp_path: Path) -> None:
    top = plant(tmp_path / "root", TREE)
    store = before_image.Store(tmp_path / "saved")
    for name in ("d/a", "d/sub/b", "d/gone/c", "d/gone", "d/new", "d/new/x", "d/new/deep", "d/new/deep/y", "e/empty/z"):
        store.before_change(f"{top}/{name}")
    (top / "d/a").write_text("changed, and longer\n")
    (top / "d/gone/c").unlink()
    (top / "d/gone").rmdir()
    (top / "d/new/deep").mkdir(parents=True)
    (top / "d/new/deep/y").write_text("y")
    (top / "e/empty/z").write_text("z")
    prefix = len(str(top))
    saved = {path[prefix:]: state for path, state in before_image.load(tmp_path / "saved").items()}
    root = SavedRoot(DirectoryRoot(str(top)), saved)
    walked = [each.path for each in root.walk()]
    assert walked == ["/", *sorted((each.path for each in step_by_step(root)), key=sort_key)]
    assert "/d/gone/c" in walked
    assert "/d/new/deep/y" not in walked
    assert next(each.size for each in root.walk() if each.path == "/d/a") == 4
    assert [each.path for each in root.walk("/d/sub")] == ["/d/sub", "/d/sub/b"]


def test_who_asks_on_a_walk_reads_no_directory_again(tmp_path: Path) -> None:
    plant(tmp_path, TREE)
    root = DirectoryRoot(str(tmp_path))
    packages = index(root)
    for each in root.walk():
        packages.owners(each.path)
        if each.path == "/d":
            os.rename(tmp_path / "d", tmp_path / "moved")  # what is not read again is not missed
            assert list(root.children("/d")) == ["a", "gone", "link", "sub", "sub-ling"]
        if each.path == "/d/link":
            assert list(root.children("/d")) == ["a", "gone", "link", "sub", "sub-ling"]
    assert root.children("/d") == ()


def test_filesystems_of_the_kernel_are_not_looked_into() -> None:
    root = LiveRoot("/")
    found = {path: entry for path in ("/proc", "/usr") if (entry := root.entry(path)) is not None}
    assert [root._pseudo(found[path].identity[0]) for path in ("/proc", "/usr")] == [True, False]
