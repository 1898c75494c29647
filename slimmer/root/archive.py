"""What `docker save` writes, in all its ages, as a plan to unpack.

    manifest.json   [{"Config": NAME, "RepoTags": [...], "Layers": [NAME, ...]}]

Old: `HEX.json`, `HEX/layer.tar`, layers that occur twice as links. New (Docker 25 and
later): the same list over `blobs/sha256/HEX`, with an OCI layout beside it.
Older than `manifest.json` (before Docker 1.10): `ancient`.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import Any

from slimmer.errors import SlimmerError
from slimmer.root.archive_index import Bundle, same_name
from slimmer.root.docker_v1 import ancient_plan
from slimmer.root.limits import Limits
from slimmer.root.manifest import Plan, PlannedLayer, Platform, diff_ids_of, load_json

_DAMAGED = "the archive is damaged or incomplete"
_HEX = re.compile(r"(?:.*/)?([0-9a-f]{64})(?:\.json)?")


@dataclass(frozen=True, slots=True)
class _Image:
    config: str
    tags: tuple[str, ...]
    layers: tuple[str, ...]


def docker_archive_plan(bundle: Bundle, name: str, wanted: Platform | None, limits: Limits) -> Plan:
    """The plan for the image called `name` ("" when there is only one, "@N" for the N-th). Raises SlimmerError."""
    if bundle.has("repositories") and not bundle.has("manifest.json"):
        return ancient_plan(bundle, name, wanted, limits)
    chosen = _choose(_images(bundle, limits), name, bundle.where)
    match = _HEX.fullmatch(chosen.config)
    # The config's name is its digest; every writer since Docker 1.10 does so, and it is the image's id.
    digest = f"sha256:{match[1]}" if match else ""
    config = bundle.blob(chosen.config, "config", digest).bytes(limits.json_bytes)
    diff_ids = diff_ids_of(config, f"{bundle.where}: config {chosen.config[:26]}", wanted, limits)
    if len(diff_ids) != len(chosen.layers):
        raise SlimmerError(
            f"{bundle.where}: {len(chosen.layers)} layers, the config has {len(diff_ids)} diff ids", _DAMAGED
        )
    layers = tuple(
        PlannedLayer(diff_id, bundle.blob(member, f"layer {number}"))
        for number, (diff_id, member) in enumerate(zip(diff_ids, chosen.layers, strict=True), 1)
    )
    return Plan("", config, layers)


def _images(bundle: Bundle, limits: Limits) -> list[_Image]:
    if not bundle.has("manifest.json"):
        raise SlimmerError(
            f"{bundle.where}: no manifest.json in it, so not what docker save writes",
            "for an OCI layout in a tar use oci-archive:FILE; a plain root filesystem is unpacked and given as --root",
        )
    found = load_json(
        bundle.blob("manifest.json", "manifest.json").bytes(limits.json_bytes), f"{bundle.where}: manifest.json", limits
    )
    if not isinstance(found, list) or not found:
        raise SlimmerError(f"{bundle.where}: manifest.json names no image", _DAMAGED)
    return [_image(item, bundle.where) for item in found]


def _image(item: Any, where: str) -> _Image:
    if not isinstance(item, dict):
        raise SlimmerError(f"{where}: manifest.json is not a list of images", _DAMAGED)
    config, tags, layers = item.get("Config"), item.get("RepoTags") or [], item.get("Layers") or []
    if not isinstance(config, str) or not isinstance(tags, list) or not isinstance(layers, list):
        raise SlimmerError(f"{where}: manifest.json lacks Config or Layers", _DAMAGED)
    if not all(isinstance(text, str) and text for text in [*tags, *layers]):
        raise SlimmerError(f"{where}: manifest.json has names that are no text", _DAMAGED)
    return _Image(posixpath.normpath(config), tuple(tags), tuple(layers))


def _choose(images: list[_Image], name: str, where: str) -> _Image:
    if name.startswith("@") and name[1:].isdigit():
        if int(name[1:]) < len(images):
            return images[int(name[1:])]
    elif name:
        for image in images:
            if any(same_name(tag, name) for tag in image.tags):
                return image
    elif len(images) == 1:
        return images[0]
    there = ", ".join(" ".join(image.tags) or f"@{place}" for place, image in enumerate(images))
    problem = f"no image called {name!r}" if name else f"{len(images)} images, and none is named"
    raise SlimmerError(f"{where}: {problem}", f"name one as in docker-archive:FILE:NAME; there are: {there}")
