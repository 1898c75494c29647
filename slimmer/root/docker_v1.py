"""Archives of a Docker older than 1.10: no manifest, a chain of layers that name their parents.

    repositories   {NAME: {TAG: ID}}
    ID/json        {"id", "parent", "config", "architecture", "os", "created"}
    ID/layer.tar

Source: image-spec v1 (moby, image/spec/v1.md). Such an image has no diff ids, so they are
found by reading its layers once; its config is put together as Docker 1.10 did when it migrated images.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from slimmer.errors import SlimmerError
from slimmer.root.archive_index import Bundle, same_name
from slimmer.root.codec import decompressed
from slimmer.root.limits import Limits, too_much
from slimmer.root.manifest import Plan, PlannedLayer, Platform, diff_ids_of, load_object

_DAMAGED = "the archive is damaged or incomplete"
_ID = re.compile(r"[0-9a-f]{64}")
_CARRIED = ("architecture", "os", "variant", "created", "author", "config")


def ancient_plan(bundle: Bundle, name: str, wanted: Platform | None, limits: Limits) -> Plan:
    """The plan for the image called `name`, or for the only one. Raises SlimmerError."""
    top = _choose(_tags(bundle, limits), name, bundle.where)
    chain, newest = _chain(bundle, top, limits)
    diff_ids = [_diff_id(bundle, one, limits) for one in chain]
    config: dict[str, Any] = {key: newest[key] for key in _CARRIED if newest.get(key)}
    config["os"] = config.get("os", "linux")
    config["rootfs"] = {"type": "layers", "diff_ids": diff_ids}
    data = json.dumps(config, sort_keys=True, separators=(",", ":")).encode()
    diff_ids_of(data, f"{bundle.where}: {top[:12]}/json", wanted, limits)
    layers = tuple(
        PlannedLayer(diff_id, bundle.blob(f"{one}/layer.tar", f"layer {number}"))
        for number, (diff_id, one) in enumerate(zip(diff_ids, chain, strict=True), 1)
    )
    return Plan("", data, layers, ("the image is in the format of a Docker older than 1.10: its config was rebuilt",))


def _tags(bundle: Bundle, limits: Limits) -> dict[str, str]:
    """Image ids by "name:tag"."""
    where = f"{bundle.where}: repositories"
    found = load_object(bundle.blob("repositories", "repositories").bytes(limits.json_bytes), where, limits)
    tags: dict[str, str] = {}
    for name, versions in found.items():
        if not isinstance(versions, dict):
            raise SlimmerError(f"{where}: {name!r} has no tags", _DAMAGED)
        for tag, identity in versions.items():
            if not isinstance(identity, str) or _ID.fullmatch(identity) is None:
                raise SlimmerError(f"{where}: {name}:{tag} is no image id", _DAMAGED)
            tags[f"{name}:{tag}"] = identity
    return tags


def _choose(tags: dict[str, str], name: str, where: str) -> str:
    matching = {identity for tag, identity in tags.items() if not name or same_name(tag, name)}
    if len(matching) == 1:
        return matching.pop()
    problem = f"no image called {name!r}" if name else f"{len(matching)} images, and none is named"
    raise SlimmerError(f"{where}: {problem}", f"name one as in docker-archive:FILE:NAME; there are: {', '.join(tags)}")


def _chain(bundle: Bundle, top: str, limits: Limits) -> tuple[list[str], dict[str, Any]]:
    """The ids from the lowest layer up, and what the highest says."""
    chain: list[str] = []
    newest: dict[str, Any] = {}
    identity: object = top
    while identity:
        if not isinstance(identity, str) or _ID.fullmatch(identity) is None or identity in chain:
            raise SlimmerError(f"{bundle.where}: the layers' parents lead nowhere ({str(identity)[:80]})", _DAMAGED)
        if len(chain) >= limits.layers:
            raise too_much(bundle.where, f"more than {limits.layers:,} layers", "layers")
        chain.append(identity)
        where = f"{identity[:12]}/json"
        data = bundle.blob(f"{identity}/json", where).bytes(limits.json_bytes)
        found = load_object(data, f"{bundle.where}: {where}", limits)
        newest = newest or found
        identity = found.get("parent")
    return chain[::-1], newest


def _diff_id(bundle: Bundle, identity: str, limits: Limits) -> str:
    blob = bundle.blob(f"{identity}/layer.tar", f"layer {identity[:12]}")
    digest = hashlib.sha256()
    total = 0
    for chunk in decompressed(blob.chunks(), blob.where):
        total += len(chunk)
        if total > 2 * limits.total_bytes:
            raise too_much(blob.where, "does not end", "total_bytes")
        digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"
