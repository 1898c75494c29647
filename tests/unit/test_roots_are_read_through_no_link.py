"""A directory or file that becomes a link while its root is read brings nothing from outside."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from slimmer.errors import SlimmerError
from slimmer.root.directory import DirectoryRoot
from tracer.kernel.beneath import open_beneath, step_by_step


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("the host's")
    (tmp_path / "root/data").mkdir(parents=True)
    (tmp_path / "root/data/file").write_text("the root's")
    return tmp_path


def swap_directory(place: Path) -> None:
    (place / "root/data").rename(place / "root/former")
    (place / "root/data").symlink_to(place / "outside")


def swap_file(place: Path) -> None:
    (place / "root/data/file").unlink()
    (place / "root/data/file").symlink_to(place / "outside/file")


def replace_file(place: Path) -> None:
    os.link(place / "outside/file", place / "root/data/new")
    (place / "root/data/new").rename(place / "root/data/file")


@pytest.mark.parametrize("change", [swap_directory, swap_file, replace_file])
def test_what_was_swapped_after_it_was_listed_is_not_read(place: Path, change: Callable[[Path], None]) -> None:
    root = DirectoryRoot(str(place / "root"))
    entry = root.entry("/data/file")
    assert entry is not None
    with root.open("/data/file") as stream:
        assert stream.read() == b"the root's"
    change(place)
    with pytest.raises(SlimmerError, match="cannot read"):
        root.open("/data/file")
    with pytest.raises(SlimmerError, match="cannot read"):
        root.beginning(entry, 100)
    if change is swap_directory:
        assert root.children("/data") == ()


@pytest.mark.parametrize("opening", [open_beneath, step_by_step])
@pytest.mark.parametrize("path", ["link/file", "data/link", "../outside/file", "data/../../outside/file", ".."])
def test_no_way_of_opening_leads_out(place: Path, opening: Callable[..., int], path: str) -> None:
    (place / "root/link").symlink_to("data")
    (place / "root/data/link").symlink_to("file")
    top = os.open(place / "root", os.O_PATH)
    try:
        with pytest.raises(OSError):
            opening(top, path, os.O_RDONLY)
        descriptor = opening(top, "data/file", os.O_RDONLY)
        assert os.read(descriptor, 99) == b"the root's"
        os.close(descriptor)
        os.close(opening(top, "", os.O_RDONLY | os.O_DIRECTORY))
    finally:
        os.close(top)


def test_neither_targets_nor_attributes_come_from_outside(place: Path) -> None:
    for top in ("outside", "root/data"):
        (place / top / "link").symlink_to(f"of {top}")
        try:
            os.setxattr(place / top / "file", "user.of", top.encode())
        except OSError:
            pytest.skip("this file system has no attributes for users")
    root = DirectoryRoot(str(place / "root"))
    link = root.entry("/data/link")
    assert link is not None
    assert link.target == "of root/data"
    assert root.xattrs("/data/file") == {"user.of": b"root/data"}
    assert root.xattrs("/data/link") == {}
    again = DirectoryRoot(str(place / "root"))
    assert again.entry("/data") is not None
    swap_directory(place)
    assert again.entry("/data/link") is None
    assert again.xattrs("/data/file") == {}
    assert os.listxattr(place / "root/data/file") == ["user.of"]  # by its name the host's is what one gets
