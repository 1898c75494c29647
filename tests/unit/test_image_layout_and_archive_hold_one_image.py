"""Layouts, hybrid archives and indexes: what stands where, what is refused, and equal bytes for equal images."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from slimmer.errors import SlimmerError
from slimmer.image.archive import normalized, split_tag, write_archive
from slimmer.image.compress import Compression
from slimmer.image.config import ImageConfig
from slimmer.image.index import platform_name, write_index
from slimmer.image.layer import LayerOptions
from slimmer.image.layout import Image, build_image, layout_in, read_layout
from tests.image_trees import of_files

ROOT = of_files({"/bin/app": b"#!/bin/sh\n", "/etc/conf": b"x"})
CONFIG = ImageConfig(cmd=("/bin/app",), architecture="arm64", variant="v8")
# What an image of these bytes is today it is for ever.
GOLDEN_IMAGE_ID = "sha256:6cd607fd41b21d607cb765cf4e3fb79fd8155eeb0c716680b0098306c57d9a47"


def build(directory: Path, config: ImageConfig = CONFIG, **more: Any) -> Image:
    return build_image(ROOT, ["/bin/app", "/etc/conf"], config, directory, LayerOptions(Compression.NONE), **more)


def test_a_layout_holds_exactly_one_manifest_and_every_blob_is_its_digest(tmp_path: Path) -> None:
    image = build(tmp_path, ref="app:1.2")
    index = json.loads((tmp_path / "index.json").read_bytes())
    assert index == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": image.manifest_digest,
                "size": image.manifest_size,
                "platform": {"architecture": "arm64", "os": "linux", "variant": "v8"},
                "annotations": {"org.opencontainers.image.ref.name": "app:1.2"},
            }
        ],
    }
    assert (tmp_path / "oci-layout").read_bytes() == b'{"imageLayoutVersion":"1.0.0"}'
    blobs = {blob.name: blob.read_bytes() for blob in (tmp_path / "blobs/sha256").iterdir()}
    assert {name: hashlib.sha256(data).hexdigest() for name, data in blobs.items()} == {name: name for name in blobs}
    assert len(blobs) == 3
    manifest = json.loads(blobs[image.manifest_digest[7:]])
    assert manifest["config"] == {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": image.image_id,
        "size": len(blobs[image.image_id[7:]]),
    }
    assert sorted(os.listdir(tmp_path)) == ["blobs", "index.json", "oci-layout"]


def test_an_image_has_the_id_that_it_always_had(tmp_path: Path) -> None:
    assert build(tmp_path).image_id == GOLDEN_IMAGE_ID


def test_the_image_id_does_not_depend_on_compression_or_name(tmp_path: Path) -> None:
    images = [
        build_image(ROOT, ["/bin/app"], CONFIG, tmp_path / each, LayerOptions(each), f"name-{each}")
        for each in Compression
    ]
    assert len({image.image_id for image in images}) == 1
    assert len({image.manifest_digest for image in images}) == 3


def test_a_layout_is_read_back_and_damage_is_noticed(tmp_path: Path) -> None:
    image = build(tmp_path / "image")
    layout = read_layout(layout_in(tmp_path))
    assert (layout.manifest.digest, layout.config.digest, layout.ref) == (
        image.manifest_digest,
        image.image_id,
        "latest",
    )
    assert [blob.digest for blob in layout.layers] == [layer.digest for layer in image.layers]
    assert (layout.architecture, layout.variant, layout.os) == ("arm64", "v8", "linux")
    layout.blob(image.image_id).write_bytes(b"{}")
    with pytest.raises(SlimmerError, match="is damaged"):
        read_layout(tmp_path / "image")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"manifests": []}, "holds 0 manifests"),
        ({"manifests": [{}, {}]}, "holds 2 manifests"),
        ({"manifests": [{"mediaType": "text/plain"}]}, "is no manifest of an image"),
        (
            {
                "manifests": [
                    {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:../../x", "size": 1}
                ]
            },
            "is no sha256 digest",
        ),
        ([], "not an object"),
    ],
)
def test_what_is_no_layout_of_one_image_is_refused(index: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(SlimmerError, match=message):
        read_layout(tmp_path)


def test_places_and_names_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SlimmerError, match="holds no image"):
        layout_in(tmp_path)
    for ref in ("", "a b", "a\n", "-x", "a..", "ü"):
        with pytest.raises(SlimmerError, match="cannot name an image"):
            build(tmp_path / "out", ref=ref)


def archive(layout: Path, tag: str = "app:1") -> bytes:
    stream = io.BytesIO()
    write_archive(layout, stream, tag)
    return stream.getvalue()


def test_the_archive_is_a_layout_and_dockers_list_at_once(tmp_path: Path) -> None:
    image = build(tmp_path)
    with tarfile.open(fileobj=io.BytesIO(archive(tmp_path, "team/app:1"))) as opened:
        names = opened.getnames()
        files = {member.name: stream.read() for member in opened if (stream := opened.extractfile(member)) is not None}
    assert names == sorted(names, key=lambda name: (not name.startswith("blobs"), name))
    assert names[:2] == ["blobs", "blobs/sha256"]
    (listed,) = json.loads(files["manifest.json"])
    assert listed["RepoTags"] == ["team/app:1"]
    assert listed["Config"] == f"blobs/sha256/{image.image_id[7:]}"
    assert [f"blobs/sha256/{layer.digest[7:]}" for layer in image.layers] == listed["Layers"]
    assert {listed["Config"], *listed["Layers"]} < set(files)
    (entry,) = json.loads(files["index.json"])["manifests"]
    assert entry["annotations"] == {
        "io.containerd.image.name": "docker.io/team/app:1",
        "org.opencontainers.image.ref.name": "1",
    }
    assert files["oci-layout"] == (tmp_path / "oci-layout").read_bytes()


def test_the_archive_is_the_same_every_time_and_flows_without_seeking(tmp_path: Path) -> None:
    build(tmp_path / "a")
    build(tmp_path / "b", ref="another-name")

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.digest = hashlib.sha256()

        def writable(self) -> bool:
            return True

        def seek(self, *place: int) -> int:
            raise OSError("a pipe cannot seek")

        def write(self, data: Any) -> int:
            self.digest.update(data)
            return len(data)

    pipe = Pipe()
    write_archive(tmp_path / "a", pipe, "app:1")  # type: ignore[arg-type]
    assert pipe.digest.hexdigest() == hashlib.sha256(archive(tmp_path / "b")).hexdigest()


def test_a_layer_that_is_damaged_never_leaves_in_an_archive_unnoticed(tmp_path: Path) -> None:
    image = build(tmp_path)
    blob = read_layout(tmp_path).blob(image.layers[0].digest)
    for data in (blob.read_bytes()[:-1] + b"x", blob.read_bytes()[:-1], blob.read_bytes() + b"x"):
        blob.write_bytes(data)
        with pytest.raises(SlimmerError, match="is damaged"):
            archive(tmp_path)


@pytest.mark.parametrize(
    ("tag", "full"),
    [
        ("app", "docker.io/library/app:latest"),
        ("app:1.2_x", "docker.io/library/app:1.2_x"),
        ("team/app:1", "docker.io/team/app:1"),
        ("host.example/app", "host.example/app:latest"),
        ("localhost/app:1", "localhost/app:1"),
        ("localhost:5000/team/app:1", "localhost:5000/team/app:1"),
    ],
)
def test_names_are_filled_in_as_docker_does(tag: str, full: str) -> None:
    assert normalized(*split_tag(tag)) == full


@pytest.mark.parametrize(
    "tag", ["", "App", "app:", "app:-x", "app@sha256:0", "a b", "app:a:b", "/app", "app/", "app\n"]
)
def test_names_that_docker_would_refuse_are_refused_first(tag: str) -> None:
    with pytest.raises(SlimmerError, match="cannot name an image"):
        split_tag(tag)


def test_an_index_joins_platforms_in_whatever_order_they_come(tmp_path: Path) -> None:
    build(tmp_path / "arm", CONFIG)
    build(tmp_path / "amd", ImageConfig(cmd=("/bin/app",), architecture="amd64"))
    first = write_index([tmp_path / "arm", tmp_path / "amd"], tmp_path / "1", "app")
    second = write_index([tmp_path / "amd", tmp_path / "arm"], tmp_path / "2", "app")
    assert first.digest == second.digest
    assert [platform_name(image) for image in first.images] == ["linux/amd64", "linux/arm64/v8"]
    (entry,) = json.loads((tmp_path / "1/index.json").read_bytes())["manifests"]
    assert (entry["digest"], entry["mediaType"]) == (first.digest, "application/vnd.oci.image.index.v1+json")
    blobs = {blob.name: blob.read_bytes() for blob in (tmp_path / "1/blobs/sha256").iterdir()}
    assert all(hashlib.sha256(data).hexdigest() == name for name, data in blobs.items())
    joined = json.loads(blobs[first.digest[7:]])
    assert [each["platform"]["architecture"] for each in joined["manifests"]] == ["amd64", "arm64"]
    assert len(blobs) == 1 + 2 + 2 + 1  # the index, manifests, configs, and the layer that both share


def test_an_index_of_nothing_or_of_one_platform_twice_is_refused(tmp_path: Path) -> None:
    build(tmp_path / "a")
    build(tmp_path / "b")
    with pytest.raises(SlimmerError, match="are both for linux/arm64/v8"):
        write_index([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    with pytest.raises(SlimmerError, match="at least one"):
        write_index([], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(SlimmerError, match="is not empty"):
        write_index([tmp_path / "a"], tmp_path / "b")
