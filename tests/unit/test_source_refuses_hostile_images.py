from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from slimmer.errors import SlimmerError
from slimmer.root.limits import Limits
from slimmer.root.source import open_image
from tests.unit.imagemaker import (
    END,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Item,
    LayoutMaker,
    digest,
    dump,
    header,
    layout,
    tar,
)

DEEP = "a/" * 600 + "x"
LOOP = [Item("a", "symlink", target="b"), Item("b", "symlink", target="a")]

ENTRIES: dict[str, tuple[list[Item], str]] = {
    "dot dot": ([Item("../evil")], "leaves the root"),
    "dot dot inside": ([Item("a/../../evil")], "leaves the root"),
    "dot dot that stays inside": ([Item("a/../evil")], "leaves the root"),
    "absolute and out": ([Item("/../evil")], "leaves the root"),
    "relative link above the root": ([Item("l", "symlink", target="../evil")], "leaves the root"),
    "deep link above the root": ([Item("a/l", "symlink", target="../b/../../../evil")], "leaves the root"),
    "hard link above the root": ([Item("l", "link", target="../../etc/passwd")], "leaves the root"),
    "absolute hard link": ([Item("l", "link", target="/etc/passwd")], "not there"),
    "hard link to nothing": ([Item("l", "link", target="etc/passwd")], "not there"),
    "hard link through a link": (
        [Item("d", "symlink", target="/"), Item("l", "link", target="d/etc/passwd")],
        "not there",
    ),
    "hard link to a directory": ([Item("d", "dir"), Item("l", "link", target="d")], "to the directory"),
    "hard link to itself": ([Item("l", "link", target="l")], "to itself"),
    "link replaced by a directory": (
        [Item("d", "symlink", target="/tmp"), Item("d", "dir"), Item("d/x")],
        "first a link",
    ),
    "directory replaced by a link": (
        [Item("d", "dir"), Item("d", "symlink", target="/tmp"), Item("d/x")],
        "first a dir",
    ),
    "below a file": ([Item("f"), Item("f/x")], "not a directory"),
    "below links in a circle": ([*LOOP, Item("a/x")], "in a circle"),
    "block device": ([Item("dev/sda", "block", device=(8, 0))], "device node"),
    "memory device": ([Item("dev/mem", "char", device=(1, 1))], "device node"),
    "another device called null": ([Item("dev/null", "char", device=(1, 1))], "device node"),
    "null elsewhere": ([Item("null", "char", device=(1, 3))], "device node"),
    "whiteout of nothing": ([Item("d/.wh.")], "whiteout of nothing"),
    "whiteout of itself": ([Item("d/.wh..")], "whiteout of nothing"),
    "whiteout of its parent": ([Item("d/.wh...")], "whiteout of nothing"),
    "below a whiteout": ([Item(".wh.a/b")], "below a whiteout"),
    "whiteout directory": ([Item(".wh.a", "dir")], "not an empty file"),
    "whiteout with content": ([Item(".wh.a", content=b"x")], "not an empty file"),
    "whiteout link": ([Item(".wh.a", "symlink", target="/etc")], "not an empty file"),
    "opaque with content": ([Item("d/.wh..wh..opq", content=b"x")], "not an empty file"),
    "hard link to a whiteout": ([Item(".wh.a"), Item("b", "link", target=".wh.a")], "to a whiteout"),
    "root as a link": ([Item("./", "symlink", target="/etc")], "root directory is given"),
    "link to nowhere": ([Item("l", "symlink", target="")], "link to nothing"),
    "too deep": ([Item(DEEP)], "directories deep"),
    "long component": ([Item("n" * 256)], "longer than a file name"),
    "long name": ([Item("/".join(["n" * 200] * 30))], "a name of"),
    "long target": ([Item("l", "symlink", target="n/" * 3000)], "link target of"),
    "no name": ([Item("")], "without a name"),
}


def refused(place: Path, reference: str, words: str, **options: Any) -> None:
    """The image is refused with these words, the cache stays empty, and nothing else came to be."""
    with pytest.raises(SlimmerError, match=words):
        open_image(reference, cache=place / "cache", **options)
    left = [path for path in (place / "cache").rglob("*") if path.parent.name in ("roots", "building")]
    assert left == []


@pytest.mark.parametrize("name", ENTRIES)
def test_a_hostile_layer_is_refused_and_touches_nothing(name: str, tmp_path: Path) -> None:
    items, words = ENTRIES[name]
    outside = tmp_path / "outside"
    outside.mkdir()
    before = sorted(os.listdir("/tmp"))
    refused(tmp_path, layout(tmp_path / "image", tar(*items)), words)
    assert list(outside.iterdir()) == []
    assert not (tmp_path / "evil").exists()
    assert "x" not in set(os.listdir("/tmp")) - set(before)


def test_links_to_the_outside_are_followed_inside_only(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    data = tar(Item("l", "symlink", target=str(outside)), Item("l/evil", content=b"x"))
    root = open_image(layout(tmp_path / "image", data), cache=tmp_path / "cache")
    assert list(outside.iterdir()) == []
    with root.open(f"{outside}/evil") as stream:
        assert stream.read() == b"x"


def test_a_link_made_by_a_lower_layer_does_not_lead_a_later_one_out(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("safe")
    lower = tar(Item("l", "symlink", target=str(outside)))
    upper = tar(Item("l/.wh.victim"), Item("l/evil"))
    open_image(layout(tmp_path / "image", lower, upper), cache=tmp_path / "cache")
    assert [path.name for path in outside.iterdir()] == ["victim"]


def test_the_usual_devices_are_in_the_index_but_not_made(tmp_path: Path) -> None:
    data = tar(Item("dev/null", "char", device=(1, 3), mode=0o666), Item("dev/x"))
    root = open_image(layout(tmp_path / "image", data), cache=tmp_path / "cache")
    entry = root.entry("/dev/null")
    assert entry is not None
    assert (entry.device, entry.mode) == (os.makedev(1, 3), 0o666)
    assert os.listdir(root.location("/dev")) == ["x"]


def test_other_devices_are_taken_when_asked_for_and_only_then(tmp_path: Path) -> None:
    reference = layout(tmp_path / "image", tar(Item("dev/sda", "block", device=(8, 0))))
    root = open_image(reference, cache=tmp_path / "cache", limits=Limits(devices=True))
    assert root.entry("/dev/sda") is not None
    assert "device" in root.notes[0]
    with pytest.raises(SlimmerError, match="--limit devices=yes"):
        open_image(reference, cache=tmp_path / "cache")


LIMITS: dict[str, tuple[list[Item], Limits]] = {
    "total_bytes": ([Item("a", content=b"12345"), Item("b", content=b"12345")], Limits(total_bytes=9)),
    "file_bytes": ([Item("a", content=b"12345")], Limits(file_bytes=4)),
    "entries": ([Item("a"), Item("b"), Item("c")], Limits(entries=2)),
    "path_bytes": ([Item("abcdef")], Limits(path_bytes=5)),
    "depth": ([Item("a/b/c")], Limits(depth=2)),
    "header_bytes": ([Item("a" * 50, pax={"comment": "c" * 900})], Limits(header_bytes=500)),
    "json_bytes": ([Item("a")], Limits(json_bytes=100)),
    "json_depth": ([Item("a")], Limits(json_depth=1)),
    "layers": ([Item("a")], Limits(layers=0)),
}


@pytest.mark.parametrize("name", LIMITS)
def test_every_limit_holds_and_says_how_to_raise_it(name: str, tmp_path: Path) -> None:
    items, limits = LIMITS[name]
    refused(tmp_path, layout(tmp_path / "image", tar(*items)), f"--limit {name}=", limits=limits)


def test_a_layer_named_very_often_counts_every_time(tmp_path: Path) -> None:
    data = tar(*(Item(f"f{place}") for place in range(10)))
    refused(tmp_path, layout(tmp_path / "image", *[data] * 20), "--limit entries=", limits=Limits(entries=150))


@pytest.mark.parametrize("name", ["total_bytes", "entries"])
def test_limits_hold_for_what_is_in_the_cache_already(name: str, tmp_path: Path) -> None:
    items, limits = LIMITS[name]
    reference = layout(tmp_path / "image", tar(*items))
    open_image(reference, cache=tmp_path / "cache").close()
    with pytest.raises(SlimmerError, match=f"--limit {name}="):
        open_image(reference, cache=tmp_path / "cache", limits=limits)


@pytest.mark.parametrize("pack", [lambda data: gzip.compress(data, 9), zstandard.ZstdCompressor(3).compress])
def test_a_bomb_after_the_end_of_the_archive_is_noticed(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    data = tar(Item("a")) + bytes(30_000_000)
    maker = LayoutMaker(tmp_path / "image")
    packed = pack(data)
    assert len(packed) < 100_000
    layer = maker.blob(packed, OCI_LAYER + "+gzip")
    config = maker.blob(
        dump({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [digest(data)]}}),
        OCI_CONFIG,
    )
    maker.manifests = [
        maker.blob(dump({"schemaVersion": 2, "config": config, "layers": [layer]}), OCI_MANIFEST),
    ]
    maker.finish()
    refused(tmp_path, f"oci:{maker.top}", "total_bytes", limits=Limits(total_bytes=10_000_000))


def test_ten_terabytes_in_one_header_are_refused_at_once(tmp_path: Path) -> None:
    bomb = header(b"a", size=b"\x80" + (10 * 1000**4).to_bytes(11, "big")) + END
    refused(tmp_path, layout(tmp_path / "image", bomb), "file_bytes")


# What is wrong with the documents around the layers. Each takes the maker of a good image and spoils it.


def _rewrite(maker: LayoutMaker, change: Callable[[dict[str, Any]], None]) -> None:
    """The image's manifest, changed; everything that points to it follows."""
    [entry] = maker.manifests
    manifest = json.loads((maker.top / "blobs/sha256" / entry["digest"][7:]).read_bytes())
    change(manifest)
    maker.manifests = [maker.blob(dump(manifest), entry["mediaType"])]
    maker.finish()


def _blob_of(maker: LayoutMaker, media_type: str) -> Path:
    [entry] = maker.manifests
    manifest = json.loads((maker.top / "blobs/sha256" / entry["digest"][7:]).read_bytes())
    for one in [entry, manifest["config"], *manifest["layers"]]:
        if one["mediaType"] == media_type:
            return maker.top / "blobs/sha256" / str(one["digest"][7:])
    raise AssertionError(media_type)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _overwrite(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _layer_as_pipe(maker: LayoutMaker) -> None:
    layer = _blob_of(maker, OCI_LAYER)
    layer.unlink()
    os.mkfifo(layer)


def _without_images(maker: LayoutMaker) -> None:
    maker.manifests.clear()
    maker.finish()


def _self_reference(maker: LayoutMaker) -> None:
    inner = maker.manifests[0]
    for _ in range(6):
        inner = maker.blob(dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [inner]}), OCI_INDEX)
    maker.manifests = [inner]
    maker.finish()


def _config(maker: LayoutMaker, data: bytes) -> None:
    _rewrite(maker, lambda manifest: manifest.update(config=maker.blob(data, OCI_CONFIG)))


SPOILED: dict[str, tuple[Callable[[LayoutMaker], None], str]] = {
    "layer with another digest": (lambda maker: _flip(_blob_of(maker, OCI_LAYER)), "content is sha256:"),
    "config with another digest": (lambda maker: _flip(_blob_of(maker, OCI_CONFIG)), "content is sha256:"),
    "manifest with another digest": (lambda maker: _flip(_blob_of(maker, OCI_MANIFEST)), "content is sha256:"),
    "layer cut short": (lambda maker: os.truncate(_blob_of(maker, OCI_LAYER), 700), "its descriptor says"),
    "layer grown": (lambda maker: os.truncate(_blob_of(maker, OCI_LAYER), 70_000), "longer than its descriptor"),
    "layer missing": (lambda maker: _blob_of(maker, OCI_LAYER).unlink(), "is missing"),
    "layer a pipe": (
        _layer_as_pipe,
        "is missing or no file",
    ),
    "config of another layer": (
        lambda maker: _config(maker, dump({"os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest(b"")]}})),
        "unpacked: content is",
    ),
    "too few diff ids": (
        lambda maker: _config(maker, dump({"os": "linux", "rootfs": {"type": "layers", "diff_ids": []}})),
        "1 layers, its config has 0",
    ),
    "no rootfs": (lambda maker: _config(maker, dump({"os": "linux"})), "no usable rootfs"),
    "config no object": (lambda maker: _config(maker, b"[]"), "not a JSON object"),
    "config no JSON": (lambda maker: _config(maker, b"\xff{"), "not JSON"),
    "another system": (
        lambda maker: _config(maker, dump({"os": "windows", "rootfs": {"type": "layers", "diff_ids": []}})),
        "only linux",
    ),
    "JSON a mile deep": (lambda maker: _config(maker, b"[" * 100_000), "json_depth"),
    "JSON a mile deep and closed": (lambda maker: _config(maker, b"[" * 9999 + b"]" * 9999), "json_depth"),
    "a number a mile long": (lambda maker: _config(maker, b'{"a":' + b"9" * 100_000 + b"}"), "not JSON"),
    "schema 1": (lambda maker: _rewrite(maker, lambda found: found.update(schemaVersion=1)), "schema 1"),
    "no schema": (lambda maker: _rewrite(maker, lambda found: found.pop("schemaVersion")), "no schemaVersion"),
    "an index inside a manifest": (lambda maker: _rewrite(maker, lambda found: found.update(manifests=[])), "at once"),
    "another type inside": (
        lambda maker: _rewrite(maker, lambda found: found.update(mediaType="application/x")),
        "was announced as",
    ),
    "an artifact": (
        lambda maker: _rewrite(maker, lambda found: found["config"].update(mediaType="application/vnd.x.y+json")),
        "an artifact",
    ),
    "a layer that is no tar": (
        lambda maker: _rewrite(maker, lambda found: found["layers"][0].update(mediaType="application/wasm")),
        "a layer of type",
    ),
    "an encrypted layer": (
        lambda maker: _rewrite(maker, lambda found: found["layers"][0].update(mediaType=OCI_LAYER + "+encrypted")),
        "a layer of type",
    ),
    "layers no list": (lambda maker: _rewrite(maker, lambda found: found.update(layers={})), "no list of layers"),
    "a path for a digest": (
        lambda maker: _rewrite(maker, lambda found: found["layers"][0].update(digest="sha256:../../../etc/passwd")),
        "without a usable digest",
    ),
    "a negative size": (
        lambda maker: _rewrite(maker, lambda found: found["layers"][0].update(size=-1)),
        "no usable size",
    ),
    "a size that is no number": (
        lambda maker: _rewrite(maker, lambda found: found["layers"][0].update(size="5")),
        "no usable size",
    ),
    "indexes within indexes": (_self_reference, "lead nowhere"),
    "no marker": (lambda maker: (maker.top / "oci-layout").unlink(), "no oci-layout"),
    "another marker": (lambda maker: _overwrite(maker.top / "oci-layout", b"{}"), "layout version"),
    "an empty index": (_without_images, "no image in it"),
    "an index that is no object": (lambda maker: _overwrite(maker.top / "index.json", b"3"), "not a JSON"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_image_is_refused(name: str, tmp_path: Path) -> None:
    spoil, words = SPOILED[name]
    maker = LayoutMaker(tmp_path / "image")
    maker.image([tar(Item("etc/motd", content=b"hello" * 500))])
    spoil(maker)
    refused(tmp_path, f"oci:{maker.top}", words)
    layers = [path for path in (tmp_path / "cache").rglob("*") if path.parent.name == "layers"]
    assert layers == []
