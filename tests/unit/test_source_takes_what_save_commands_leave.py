"""Archives as `docker save` and web servers leave them: several names, a foreign platform, odd types."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slimmer.errors import SlimmerError
from slimmer.root.source import open_image
from tests.unit.imagemaker import Item, layout, tar

NAME, CONTAINERD = "org.opencontainers.image.ref.name", "io.containerd.image.name"


def image(place: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A layout of one image whose index is changed."""
    layout(place, tar(Item("a", content=b"1")), tag="t")
    index = json.loads((place / "index.json").read_text())
    change(index)
    (place / "index.json").write_text(json.dumps(index))
    return place


def stream(place: Path) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.add(place, arcname=".")
    out.seek(0)
    return out


def _tags(index: dict[str, Any]) -> None:
    (row,) = index["manifests"]
    index["manifests"] = [
        {**row, "annotations": {NAME: tag, CONTAINERD: f"host.example/app:{tag}"}} for tag in ("1.4", "latest")
    ]


@pytest.mark.parametrize("name", ["-", "-:1.4", "-:app:1.4", "-:host.example/app:latest"])
def test_all_tags_of_one_image_are_that_image(name: str, tmp_path: Path) -> None:
    place = image(tmp_path / "image", _tags)
    assert open_image(name, cache=tmp_path / "cache", stdin=stream(place)).read("/a") == b"1"


def test_a_name_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    place = image(tmp_path / "image", _tags)
    with pytest.raises(SlimmerError, match=r"no image is called 'app:2'\n.*1\.4, latest"):
        open_image("-:app:2", cache=tmp_path / "cache", stdin=stream(place))


def test_an_attestation_without_its_annotations_is_no_platform(tmp_path: Path) -> None:
    def change(index: dict[str, Any]) -> None:
        (row,) = index["manifests"]
        bare = {key: value for key, value in row.items() if key != "annotations"}
        stripped = {**bare, "digest": f"sha256:{'0' * 64}", "platform": {"os": "unknown", "architecture": "unknown"}}
        index["manifests"] = [{**bare, "platform": {"os": "linux", "architecture": "amd64"}}, stripped]

    place = image(tmp_path / "image", change)
    assert open_image(f"oci:{place}", cache=tmp_path / "cache").read("/a") == b"1"
    with pytest.raises(SlimmerError, match=r"there are: linux/amd64$"):
        open_image(f"oci:{place}", cache=tmp_path / "cache", platform="linux/s390x")


def test_a_save_that_holds_another_platform_only_says_so(tmp_path: Path) -> None:
    def change(index: dict[str, Any]) -> None:
        (row,) = index["manifests"]
        there = {**row, "platform": {"os": "linux", "architecture": "s390x"}}
        named = {**row, "digest": f"sha256:{'0' * 64}", "platform": {"os": "linux", "architecture": "amd64"}}
        index["manifests"] = [named, there]

    place = image(tmp_path / "image", change)
    with pytest.raises(SlimmerError, match=r"does not hold it, only linux/s390x\n.*--platform linux/s390x"):
        open_image(f"oci:{place}", cache=tmp_path / "cache", platform="linux/amd64")


@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_a_manifest_of_an_untold_type_is_taken_by_its_content(kind: str, tmp_path: Path) -> None:
    place = image(tmp_path / "image", lambda index: index["manifests"][0].update(mediaType=kind))
    root = open_image(f"oci:{place}", cache=tmp_path / "cache")
    assert root.read("/a") == b"1"
    assert any("taken by its content" in note for note in root.notes)


def test_a_foreign_layer_that_did_not_come_gets_a_clear_answer(tmp_path: Path) -> None:
    place = tmp_path / "image"
    layout(place, tar(Item("a", content=b"1")), tag="t")
    index = json.loads((place / "index.json").read_text())
    blobs = place / "blobs/sha256"
    manifest = json.loads((blobs / index["manifests"][0]["digest"][7:]).read_text())
    layer = manifest["layers"][0]
    (blobs / layer["digest"][7:]).unlink()
    layer["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar"
    text = json.dumps(manifest).encode()
    digest = hashlib.sha256(text).hexdigest()
    (blobs / digest).write_bytes(text)
    index["manifests"][0].update(digest=f"sha256:{digest}", size=len(text))
    (place / "index.json").write_text(json.dumps(index))
    with pytest.raises(SlimmerError, match="layer 1 is foreign"):
        open_image(f"oci:{place}", cache=tmp_path / "cache")
