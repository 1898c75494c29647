from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slimmer.errors import SlimmerError
from slimmer.root.limits import Limits
from slimmer.root.model import FileType
from slimmer.root.source import open_image
from tests.unit.imagemaker import KINDS, Item, LayoutMaker, dump, layout, tar

PIECES = ["..", ".", "", "a", "b", "l", ".wh.a", ".wh.", ".wh..", ".wh..wh..opq", ".wh..wh.x", "n" * 300, "\udce9"]
NAMES = st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("/".join)
SANE = st.lists(st.sampled_from(["a", "b", "l"]), min_size=1, max_size=3).map("/".join)
ITEMS = st.builds(
    Item,
    st.one_of(SANE, SANE, SANE, NAMES),
    st.sampled_from(sorted(KINDS)),
    st.just(b""),
    st.one_of(SANE, NAMES, st.sampled_from(["/", "..", "../..", "l", "/a/b/../.."])),
    mode=st.integers(0, 0o7777),
    uid=st.sampled_from([0, 7]),
    device=st.sampled_from([(0, 0), (1, 3), (8, 0)]),
)
LIMITS = Limits(devices=True, total_bytes=1 << 20)
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def outside(top: Path) -> set[str]:
    """All there is but the image and the cache."""
    return {str(path) for path in top.rglob("*") if path.relative_to(top).parts[0] not in ("image", "cache")}


@settings(max_examples=150, deadline=None, suppress_health_check=QUIET)
@given(layers=st.lists(st.lists(ITEMS, max_size=6), min_size=1, max_size=3), absolute=st.booleans())
def test_any_entries_make_a_tree_or_a_message_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, layers: list[list[Item]], absolute: bool
) -> None:
    top = tmp_path_factory.mktemp("any")
    (top / "a").write_text("safe")
    before = outside(top)
    limits = Limits(devices=True, absolute=absolute)
    reference = layout(top / "image", *(tar(*layer) for layer in layers))
    try:
        root = open_image(reference, cache=top / "cache", limits=limits)
    except SlimmerError as error:
        problem = error.message
        assert problem
        assert not [path for path in (top / "cache").rglob("*") if path.parent.name in ("roots", "building")]
    else:
        on_disk = {os.fsencode(path.relative_to(root.directory)) for path in Path(root.directory).rglob("*")}
        entries = {
            os.fsencode(entry.path[1:])
            for entry in root.walk()
            if entry.path != "/" and entry.type not in (FileType.CHAR, FileType.BLOCK)
        }
        assert on_disk == entries
    assert outside(top) == before
    assert (top / "a").read_text() == "safe"


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2**70),
    st.text(max_size=5),
    st.just([]),
    st.just({}),
    st.just([{}]),
    st.just("sha256:" + "0" * 64),
)


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document."""
    yield path
    if isinstance(node, dict):
        for key, value in node.items():
            yield from places(value, (*path, key))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from places(value, (*path, number))


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return document


@settings(max_examples=150, deadline=None, suppress_health_check=QUIET)
@given(data=st.data(), which=st.sampled_from(["index", "manifest", "config"]), value=VALUES)
def test_any_document_is_an_image_or_a_message(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, which: str, value: Any
) -> None:
    top = tmp_path_factory.mktemp("any")
    maker = LayoutMaker(top / "image")
    entry = maker.image([tar(Item("a"))], tag="t", platform={"os": "linux", "architecture": "amd64"})
    manifest = json.loads((maker.top / "blobs/sha256" / entry["digest"][7:]).read_bytes())
    config = json.loads((maker.top / "blobs/sha256" / manifest["config"]["digest"][7:]).read_bytes())
    document = {"index": entry, "manifest": manifest, "config": config}[which]
    spoiled = changed(document, data.draw(st.sampled_from(list(places(document)))), value)
    if which == "config":
        manifest["config"] = maker.blob(dump(spoiled), manifest["config"]["mediaType"])
    if which == "manifest":
        manifest = spoiled
    if which == "index":
        maker.manifests = [spoiled]
    else:
        maker.manifests = [maker.blob(dump(manifest), entry["mediaType"])]
    maker.finish()
    try:
        root = open_image(f"oci:{maker.top}", cache=top / "cache", limits=LIMITS)
    except SlimmerError as error:
        told = error.message
    else:
        told = f"{maker.top}: {' '.join(root.children('/'))}"
    assert str(maker.top) in told
