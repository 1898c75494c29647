"""A debug image holds the slim image's own blobs, and above them what was removed."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from slimmer.errors import SlimmerError
from slimmer.image.layout import read_layout
from slimmer.packages.index import index
from slimmer.pipeline.debug_image import Selection, selected, write_debug_image
from slimmer.pipeline.outputs import CheckMode, Outputs
from slimmer.pipeline.progress import Progress
from slimmer.pipeline.trace import build
from slimmer.recipe import ImageOptions, Recipe, Source
from slimmer.report.outdated import outdated
from slimmer.report.output import Output
from slimmer.root.directory import DirectoryRoot
from slimmer.root.fingerprint import fingerprint
from slimmer.root.source import open_image
from tests.support import plant
from tracer.recording import Access, Kind, Recording

STATUS = """Package: tool
Status: install ok installed
Architecture: amd64
Version: 1
Depends: needed

Package: needed
Status: install ok installed
Architecture: amd64
Version: 1

Package: other
Status: install ok installed
Architecture: amd64
Version: 1
"""
TREE = {
    "app/data": "kept",
    "app/other": "not kept",
    "usr/bin/tool": "#!/bin/sh\n",
    "usr/share/needed/file": "needed",
    "usr/share/other/file": "other",
    "var/lib/dpkg/status": STATUS,
    "var/lib/dpkg/info/tool.list": "/usr/bin/tool\n",
    "var/lib/dpkg/info/needed.list": "/usr/share/needed/file\n",
    "var/lib/dpkg/info/other.list": "/usr/share/other/file\n",
}


@pytest.fixture
def fat(tmp_path: Path) -> DirectoryRoot:
    return DirectoryRoot(str(plant(tmp_path / "fat", TREE)))


@pytest.fixture
def slim(tmp_path: Path, fat: DirectoryRoot) -> Output:
    recording = Recording((Access("/app/data", frozenset({Kind.READ}), frozenset()),), root=fingerprint(fat))
    recipe = Recipe(Source(root=fat.name, platform="linux/amd64"), image=ImageOptions(chmod={"/app": "0711"}))
    build([recording], recipe, Outputs(tmp_path / "out", check=CheckMode.OFF), Progress())
    return Output(tmp_path / "out")


def test_the_lower_layers_are_the_same_blobs_and_both_together_are_the_fat_root(
    tmp_path: Path, fat: DirectoryRoot, slim: Output
) -> None:
    place = tmp_path / "twin"
    archive = tmp_path / "twin.tar"
    write_debug_image(slim, fat, Selection(everything=True), place, "app:debug", archive=archive)
    before, after = read_layout(slim.directory / "image"), read_layout(place / "image")
    assert after.layers[:-1] == before.layers
    for layer in before.layers:
        assert after.blob(layer.digest).read_bytes() == before.blob(layer.digest).read_bytes()
    assert after.config.digest != before.config.digest
    whole = open_image(f"oci:{place / 'image'}", cache=tmp_path / "cache")
    assert {entry.path for entry in whole.walk()} == {entry.path for entry in fat.walk()}
    assert whole.read("/var/lib/dpkg/status") == STATUS.encode()
    both = whole.entry("/app")  # both layers have it, and the image's own mode stays
    assert both is not None
    assert both.mode == 0o711
    assert not list(outdated(slim.manifest(), fat, index(fat)))  # nor would a rebuild change it
    with tarfile.open(archive) as members:
        assert "index.json" in members.getnames()


def test_packages_come_back_with_what_they_depend_on(tmp_path: Path, fat: DirectoryRoot, slim: Output) -> None:
    from slimmer.packages.index import index

    chosen = Selection.parse(["packages=tool"])
    paths = list(selected(chosen, fat, index(fat), slim.manifest(), slim.removed()))
    assert "/usr/bin/tool" in paths
    assert "/usr/share/needed/file" in paths
    assert "/usr/share/other/file" not in paths


@pytest.mark.parametrize(("words", "message"), [(["sell"], "not known"), (["packages="], "not known")])
def test_what_comes_back_is_said_in_known_words(words: list[str], message: str) -> None:
    with pytest.raises(SlimmerError, match=message):
        Selection.parse(words)


def test_a_package_that_is_not_there_is_said_and_nothing_written(
    tmp_path: Path, fat: DirectoryRoot, slim: Output
) -> None:
    with pytest.raises(SlimmerError, match="no package tol") as caught:
        write_debug_image(slim, fat, Selection(packages=("tol",)), tmp_path / "twin", "app:debug")
    assert "did you mean tool" in caught.value.hint
    assert not (tmp_path / "twin").exists()
