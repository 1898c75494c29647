"""`--layers split`: what is in which layer, and that a release of the application moves only its own."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from slimmer.errors import SlimmerError
from slimmer.image.config import ImageConfig
from slimmer.image.layout import Image, build_image
from slimmer.image.split import Group, split
from slimmer.root.directory import DirectoryRoot
from slimmer.root.model import Root
from tests.image_trees import MemoryRoot, of_files, regular
from tests.support import plant


def group_of(path: str) -> str:
    if path.startswith("/opt/app"):
        return "application"
    return "runtime" if "python" in path else "os"


def summary(groups: tuple[Group, ...]) -> dict[str, tuple[list[str], list[str]]]:
    return {group.name: (list(group.paths), sorted(group.carried)) for group in groups}


def test_each_path_is_in_its_own_group_lowest_first_and_empty_ones_are_left_out() -> None:
    root = of_files({"/bin/sh": b"", "/lib/python/os.py": b"", "/opt/app/main": b""})
    assert summary(split(root, ["/opt/app/main", "/lib/python/os.py", "/bin/sh"], group_of)) == {
        "os": (["/bin/sh"], ["/bin"]),
        "runtime": (["/lib/python/os.py"], ["/lib", "/lib/python"]),
        "application": (["/bin", "/lib", "/lib/python", "/opt/app/main"], []),
    }
    assert [group.name for group in split(root, ["/opt/app/main"], group_of)] == ["application"]
    assert split(root, [], group_of) == ()


def test_the_highest_layer_gives_the_times_of_all_directories() -> None:
    root = of_files({"/lib/libc": b"", "/lib/python/os.py": b"", "/opt/app/main": b"", "/opt/tool": b""})
    found = summary(split(root, [path for path in root.paths if path != "/"], group_of))
    assert found["os"] == (["/lib", "/lib/libc", "/opt", "/opt/tool"], ["/lib", "/opt"])
    assert found["runtime"] == (["/lib/python", "/lib/python/os.py"], ["/lib", "/lib/python"])
    assert found["application"] == (["/lib", "/lib/python", "/opt", "/opt/app", "/opt/app/main"], [])


def test_names_of_one_file_stay_together_below() -> None:
    root = MemoryRoot(
        [
            regular("/opt/app/x", inode=4, links=3),
            regular("/bin/x", inode=4, links=3),
            regular("/lib/python/x", inode=4, links=3),
        ]
    )
    assert summary(split(root, ["/opt/app/x", "/lib/python/x", "/bin/x"], group_of)) == {
        "os": (["/bin/x", "/lib/python/x", "/opt/app/x"], [])
    }


def test_a_group_that_is_none_is_refused() -> None:
    with pytest.raises(SlimmerError, match="none of os, runtime, application"):
        split(of_files({"/x": b""}), ["/x"], lambda path: "kernel")


def release(top: Path, version: str, when: int) -> Root:
    """A root in which two layers share directories, and the application of one version was installed at a time."""
    plant(
        top,
        {
            "/usr/bin/sh": "shell",
            "/usr/lib/python3/os.py": "import",
            "/usr/lib/libc.so": "c",
            "/opt/app/main.py": version,
            "/usr/bin/app": f"starts {version}",
        },
    )
    if version == "2":
        plant(top, {"/opt/app/new.py": "more", "/usr/lib/python3/plugin-of-app": "x"})
    for directory_, _, files in os.walk(top):
        for name in files:
            os.utime(os.path.join(directory_, name), (0, 1_000))
    for path in ("usr/bin", "usr/lib/python3", "opt/app", "opt"):  # an installation touches them
        os.utime(top / path, (0, when))
    for path in ("usr", "usr/lib"):
        os.utime(top / path, (0, 1_000))
    return DirectoryRoot(str(top))


def release_group(path: str) -> str:
    return "application" if "app" in path else group_of(path)


def build(root: Root, directory_: Path) -> Image:
    paths = [entry.path for entry in root.walk()]
    return build_image(root, split(root, paths, release_group), ImageConfig(architecture="amd64"), directory_)


def test_a_new_release_of_the_application_moves_only_its_own_layer(tmp_path: Path) -> None:
    old = build(release(tmp_path / "1", "1", 5_000), tmp_path / "out1")
    new = build(release(tmp_path / "2", "2", 9_000), tmp_path / "out2")
    assert len(old.layers) == len(new.layers) == 3
    assert [layer.digest for layer in old.layers[:2]] == [layer.digest for layer in new.layers[:2]]
    assert old.layers[2].digest != new.layers[2].digest
    assert old.image_id != new.image_id


def test_the_layers_together_give_every_directory_its_true_time(tmp_path: Path) -> None:
    root = release(tmp_path / "fat", "2", 9_000)
    image = build(root, tmp_path / "out")
    seen: dict[str, tuple[int, float]] = {}
    for layer in image.layers:
        with tarfile.open(tmp_path / "out/blobs/sha256" / layer.digest[7:]) as archive:
            seen.update({f"/{member.name}": (member.mode, member.mtime) for member in archive})
    expected = {entry.path: (entry.mode, entry.mtime_ns // 10**9) for entry in root.walk() if entry.path != "/"}
    assert seen == expected
