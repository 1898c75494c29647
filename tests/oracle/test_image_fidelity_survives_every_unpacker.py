"""What was in the fat root is what every unpacker writes: GNU tar, Python, umoci, podman, docker, and our own tree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from slimmer.errors import SlimmerError
from slimmer.image.archive import write_archive
from slimmer.image.config import ImageConfig
from slimmer.image.layer import LayerOptions, write_layer
from slimmer.image.layout import build_image
from slimmer.image.unpack import Feature, write_rootfs
from slimmer.root.directory import DirectoryRoot
from tests import daemons, fidelity
from tests.running import open_to_others
from tests.support import needs_root, requires


@dataclass(frozen=True)
class Packed:
    """The fixture, its image, and what must come out."""

    fat: Path
    layout: Path
    layer: Path
    archive: Path
    expected: dict[str, str]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Packed]:
    top = tmp_path_factory.mktemp("fidelity")
    fat = top / "fat"
    fat.mkdir()
    fidelity.make(fat)
    expected = fidelity.listing(fat)
    root = DirectoryRoot(str(fat))
    paths = [entry.path for entry in root.walk()]
    image = build_image(root, paths, ImageConfig(architecture="amd64"), top / "oci", LayerOptions())
    with open(top / "image.tar", "wb") as stream:
        write_archive(top / "oci", stream, "fidelity")
    yield Packed(fat, top / "oci", top / "oci/blobs/sha256" / image.layers[0].digest[7:], top / "image.tar", expected)
    assert fidelity.listing(fat) == expected  # the fat root is as it was


def test_python_reads_every_header_as_it_was_meant(packed: Packed) -> None:
    assert fidelity.listing_of_tar(packed.layer) == packed.expected


@needs_root
@requires("tar")
def test_gnu_tar_unpacks_the_same_tree(packed: Packed, tmp_path: Path) -> None:
    command: list[str | Path] = [
        "tar",
        "-xp",
        "--numeric-owner",
        "--xattrs",
        "--xattrs-include=*",
        "-C",
        tmp_path,
        "-f",
        packed.layer,
    ]
    subprocess.run(command, check=True, capture_output=True)
    assert fidelity.listing(tmp_path) == packed.expected


@needs_root
@requires("umoci")
def test_umoci_unpacks_the_same_tree(packed: Packed, tmp_path: Path) -> None:
    command: list[str | Path] = ["umoci", "raw", "unpack", "--image", f"{packed.layout}:latest", tmp_path / "rootfs"]
    subprocess.run(command, check=True, capture_output=True)
    assert fidelity.listing(tmp_path / "rootfs") == packed.expected


def old_times_as_zero(listing: dict[str, str]) -> dict[str, str]:
    """containers/storage and docker know no time before 1970 and write 0 instead (their helpers around chtimes)."""
    words = {path: line.split(" ") for path, line in listing.items()}
    return {path: " ".join([*w[:2], "0" if w[2].startswith("-") else w[2], *w[3:]]) for path, w in words.items()}


@needs_root
@requires("podman")
def test_podman_unpacks_the_same_tree(packed: Packed) -> None:
    with daemons.podman() as podman:
        subprocess.run([*podman, "load", "-q", "-i", packed.archive], check=True, capture_output=True)
        mount = subprocess.run([*podman, "image", "mount", "fidelity"], check=True, capture_output=True, text=True)
        assert fidelity.listing(Path(mount.stdout.strip())) == old_times_as_zero(packed.expected)
        subprocess.run([*podman, "image", "umount", "-a"], check=True, capture_output=True)


@needs_root
def test_our_own_tree_is_the_same_tree(packed: Packed, tmp_path: Path) -> None:
    root = DirectoryRoot(str(packed.fat))
    paths = [entry.path for entry in root.walk()]
    assert write_rootfs(root, paths, tmp_path / "tree") == ()
    assert fidelity.listing(tmp_path / "tree") == packed.expected
    assert (tmp_path / "tree/var/sparse").stat().st_blocks * 512 < fidelity.SPARSE / 4  # holes stay holes
    assert (tmp_path / "tree").stat().st_mode & 0o777 == 0o755


AS_NOBODY = """
import os, sys, json
from pathlib import Path
from slimmer.image.layer import write_layer
from slimmer.image.unpack import write_rootfs
from slimmer.root.directory import DirectoryRoot
os.setgroups([]); os.setgid(65534); os.setuid(65534)  # after the imports: the checkout may be closed to others
root = DirectoryRoot(sys.argv[1])
paths = [entry.path for entry in root.walk() if entry.type != "file" or os.access(root.location(entry.path), os.R_OK)]
unset = write_rootfs(root, paths, Path(sys.argv[2]) / "tree")
layer = write_layer(root, paths, Path(sys.argv[2]) / "blobs")
print(json.dumps([paths, layer.digest, sorted({each.feature for each in unset}), len(unset)]))
"""


@needs_root
def test_an_ordinary_user_gets_the_same_layer_and_is_told_what_the_tree_lacks(packed: Packed, tmp_path: Path) -> None:
    open_to_others(tmp_path, packed.fat.parent)
    mine = tmp_path / "nobody"
    mine.mkdir()
    os.chown(mine, 65534, 65534)
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, packed.fat, mine],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": "/"},
    )
    assert done.returncode == 0, done.stderr
    paths, digest, features, count = json.loads(done.stdout)
    assert len(paths) > 40
    assert digest == write_layer(DirectoryRoot(str(packed.fat)), paths, tmp_path / "blobs").digest
    assert features == sorted([Feature.OWNER, Feature.SET_ID, Feature.DEVICE, Feature.XATTR])
    listing = fidelity.listing(mine / "tree")
    assert set(listing) == set(paths) - {"/", "/var/char", "/var/block"}
    assert count > len(listing)
    content = {path: line.split(" ")[2:4] for path, line in listing.items() if line.startswith("100")}
    assert content == {path: packed.expected[path].split(" ")[2:4] for path in content}
    assert not any(int(line.split(" ")[0], 8) & 0o6000 for line in listing.values() if line.startswith("10"))


def test_a_tree_that_exists_is_never_written_into(packed: Packed, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").write_text("precious")
    root = DirectoryRoot(str(packed.fat))
    with pytest.raises(SlimmerError, match="exists and is not empty"):
        write_rootfs(root, ["/usr/bin/both"], tmp_path / "full")
    assert os.listdir(tmp_path / "full") == ["mine"]
    (tmp_path / "empty").mkdir()
    write_rootfs(root, ["/usr/bin/both"], tmp_path / "empty")
    assert (tmp_path / "empty/usr/bin/both").exists()
    with pytest.raises(SlimmerError, match="there is nothing at"):
        write_rootfs(root, ["/gone"], tmp_path / "new")
    assert sorted(os.listdir(tmp_path)) == ["empty", "full"]
