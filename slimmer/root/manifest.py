"""Indexes, manifests and configs: JSON that is not trusted → what to unpack.

Sources: OCI image-spec (image-index.md, manifest.md, config.md, descriptor.md),
Docker's image manifest version 2, schema 2. A document that is both an index
and a manifest is refused (the ambiguity of CVE-2021-41190).
"""

from __future__ import annotations

import json
import platform as host
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from slimmer.errors import SlimmerError, UsageProblem
from slimmer.root.codec import Blob, is_digest
from slimmer.root.limits import Limits, too_much

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_CONFIG_TYPES = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
_LAYER = re.compile(
    r"application/vnd\.oci\.image\.layer\.(?:nondistributable\.)?v1\.tar(?:\+gzip|\+zstd)?"
    r"|application/vnd\.docker\.image\.rootfs\.(?:foreign\.)?diff\.tar(?:\.gzip|\.zstd|\+zstd)?"
)
_ELSEWHERE = re.compile(r"\.(?:nondistributable|foreign)\.")
_REF_NAME = "org.opencontainers.image.ref.name"
_CONTAINERD_NAME = "io.containerd.image.name"
_DAMAGED = "the image is damaged or hostile"
_UNTYPED = ("application/json", "text/plain", "application/octet-stream")  # a web server's guess: the content tells
_NESTING = 4  # indexes in indexes
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_MACHINES = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", ""),
    "i386": ("386", ""),
    "ppc64le": ("ppc64le", ""),
    "s390x": ("s390x", ""),
    "riscv64": ("riscv64", ""),
    "loongarch64": ("loong64", ""),
    "mips64": ("mips64le", ""),
}


@dataclass(frozen=True, slots=True)
class Platform:
    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A pointer to a blob (descriptor.md). `name` is its ref name, when it has one."""

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    name: str = ""
    full_name: str = ""  # containerd's and Docker's own annotation: host, repository and tag
    attestation: bool = False


@dataclass(frozen=True, slots=True)
class PlannedLayer:
    diff_id: str
    blob: Blob


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is needed to unpack one image. `digest` is its manifest's, "" where there is no manifest."""

    digest: str
    config: bytes
    layers: tuple[PlannedLayer, ...]
    notes: tuple[str, ...] = ()


Fetch = Callable[[Descriptor, str], Blob]  # a descriptor and what it is, for messages


def parse_platform(text: str) -> Platform | None:
    """ "linux/arm64/v8", "arm64", or "" for this machine's. None stands for no wish. Raises UsageProblem."""
    if not text:
        return None
    parts = text.split("/")
    if len(parts) == 1:
        parts = ["linux", *parts]
    if len(parts) > 3 or not all(re.fullmatch(r"[A-Za-z0-9_.-]+", part) for part in parts):
        raise UsageProblem(f"--platform {text!r} is no platform", "as in linux/arm64 or linux/arm/v7")
    if parts[0] != "linux":
        raise UsageProblem(f"--platform {text!r}: only linux images can be run and slimmed here")
    known = _MACHINES.get(parts[1])
    return Platform(parts[0], known[0] if known else parts[1], parts[2] if len(parts) == 3 else "")


def host_platform() -> Platform:
    architecture, variant = _MACHINES.get(host.machine(), (host.machine(), ""))
    return Platform("linux", architecture, variant)


def load_json(data: bytes, where: str, limits: Limits) -> Any:
    """A JSON document within the limits. Raises SlimmerError."""
    if len(data) > limits.json_bytes:
        raise too_much(where, f"{len(data):,} bytes of JSON", "json_bytes")
    depth = 0
    for match in _BRACKETS.finditer(data):
        found = match[0]
        if found in (b"[", b"{"):
            depth += 1
            if depth > limits.json_depth:
                raise too_much(where, f"JSON nested more than {limits.json_depth} deep", "json_depth")
        elif found in (b"]", b"}"):
            depth -= 1
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SlimmerError(f"{where}: not JSON: {error}", _DAMAGED) from error


def load_object(data: bytes, where: str, limits: Limits) -> dict[str, Any]:
    found = load_json(data, where, limits)
    if not isinstance(found, dict):
        raise SlimmerError(f"{where}: not a JSON object", _DAMAGED)
    return found


def plan_from(
    candidates: Sequence[Descriptor], wanted: Platform | None, fetch: Fetch, where: str, limits: Limits
) -> Plan:
    """From the descriptors of an index, down to one image's config and layers. Raises SlimmerError."""
    seen: set[str] = set()
    chosen = choose(candidates, wanted, where)
    others = [one for one in candidates if not one.attestation]
    while True:
        if chosen.digest in seen or len(seen) >= _NESTING:
            raise SlimmerError(f"{where}: indexes within indexes lead nowhere ({chosen.digest})", _DAMAGED)
        seen.add(chosen.digest)
        name = f"{where}: manifest {chosen.digest[:19]}"
        try:
            data = fetch(chosen, "manifest").bytes(limits.json_bytes)
        except SlimmerError as error:
            raise _instead(error, chosen, others, fetch, where, limits) from error
        document = load_object(data, name, limits)
        if _is_index(document, chosen.media_type, name):
            others = [one for one in descriptors(document, name) if not one.attestation]
            chosen = choose(others, wanted, where)
            continue
        return _plan_of(document, chosen, wanted, fetch, where, limits)


def _instead(
    error: SlimmerError, chosen: Descriptor, others: Sequence[Descriptor], fetch: Fetch, where: str, limits: Limits
) -> SlimmerError:
    """What to say of a manifest that is not there: docker save keeps the index, and one platform's blobs of it."""
    there = []
    for one in others:
        if one.digest == chosen.digest or one.platform is None:
            continue
        try:
            fetch(one, "manifest").bytes(limits.json_bytes)
        except SlimmerError:
            continue
        there.append(str(one.platform))
    if not there:
        return error
    return SlimmerError(
        f"{where}: it names an image for {chosen.platform} and does not hold it, only {', '.join(there)}",
        f"take that one with --platform {there[0]}, or save the image again with --platform {chosen.platform}",
    )


def descriptors(index: dict[str, Any], where: str) -> list[Descriptor]:
    """The manifests that an index names."""
    found = index.get("manifests")
    if not isinstance(found, list):
        raise SlimmerError(f"{where}: an index without manifests", _DAMAGED)
    return [descriptor(item, where) for item in found]


def descriptor(item: object, where: str) -> Descriptor:
    if not isinstance(item, dict):
        raise SlimmerError(f"{where}: a descriptor that is no object", _DAMAGED)
    media_type, digest, size = item.get("mediaType", ""), item.get("digest"), item.get("size")
    if not isinstance(media_type, str) or not isinstance(digest, str) or not is_digest(digest):
        raise SlimmerError(f"{where}: a descriptor without a usable digest: {str(digest)[:90]!r}", _DAMAGED)
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise SlimmerError(f"{where}: the descriptor of {digest[:19]} has no usable size", _DAMAGED)
    annotations = item.get("annotations")
    notes: dict[str, Any] = annotations if isinstance(annotations, dict) else {}
    found = item.get("platform")
    platform = _platform(found) if isinstance(found, dict) else None
    return Descriptor(
        media_type,
        digest,
        size,
        platform,
        str(notes.get(_REF_NAME, "")),
        str(notes.get(_CONTAINERD_NAME, "")),
        # Build tools put attestations beside the images; they are not images (buildkit, attestation-storage.md).
        # Copied without its annotations, one still has the platform that nothing has.
        notes.get("vnd.docker.reference.type") == "attestation-manifest" or str(platform) == "unknown/unknown",
    )


def choose(candidates: Sequence[Descriptor], wanted: Platform | None, where: str) -> Descriptor:
    """The one that fits best. Without a wish: the only one there is, else this machine's."""
    images = list({one.digest: one for one in candidates if not one.attestation}.values())
    if len(images) == 1 and (wanted is None or images[0].platform is None):
        return images[0]
    if not images:
        raise SlimmerError(f"{where}: no image in it", "an index without manifests, or with attestations only")
    aim = wanted or host_platform()
    ranked = [(rank, -place, one) for place, one in enumerate(images) if (rank := _fit(one.platform, aim)) > 0]
    if ranked:
        return max(ranked, key=lambda item: item[:2])[2]
    there = ", ".join(sorted({str(one.platform) for one in images if one.platform})) or "none named"
    raise SlimmerError(f"{where}: no image for {aim}", f"choose one with --platform; there are: {there}")


def _fit(offered: Platform | None, aim: Platform) -> int:
    """How well a platform fits; 0 is not at all. Variants of arm count downwards, as containerd's do."""
    if offered is None or (offered.os, offered.architecture) != (aim.os, aim.architecture):
        return 0
    usual = {"arm64": "v8", "amd64": "v1", "arm": "v7"}.get(aim.architecture, "")
    mine, theirs = aim.variant or usual, offered.variant or usual
    if mine == theirs:
        return 100
    order = re.compile(r"v(\d+)")
    left, right = order.fullmatch(mine), order.fullmatch(theirs)
    if left and right and int(right[1]) < int(left[1]):
        return 50 + int(right[1])
    return 0


def _platform(item: dict[str, Any]) -> Platform:
    return Platform(str(item.get("os", "")), str(item.get("architecture", "")), str(item.get("variant", "")))


def _is_index(document: dict[str, Any], media_type: str, where: str) -> bool:
    own = document.get("mediaType", "")
    if media_type in _UNTYPED:
        media_type = ""
    if document.get("schemaVersion") == 1:
        raise SlimmerError(f"{where}: Docker's schema 1, which nothing makes any more", "push the image again")
    if document.get("schemaVersion") != 2:
        raise SlimmerError(f"{where}: not a manifest: no schemaVersion 2", _DAMAGED)
    if own and media_type and own != media_type:
        raise SlimmerError(f"{where}: is {own!r}, was announced as {media_type!r}", _DAMAGED)
    looks_index, looks_manifest = "manifests" in document, "layers" in document or "config" in document
    said = own or media_type
    if (
        (looks_index and looks_manifest)
        or (said in INDEX_TYPES and looks_manifest)
        or (said in MANIFEST_TYPES and looks_index)
    ):
        raise SlimmerError(f"{where}: a manifest and an index at once", _DAMAGED)
    if said and said not in INDEX_TYPES + MANIFEST_TYPES:
        raise SlimmerError(f"{where}: {said!r} is not an image", "an OCI or Docker (schema 2) image is needed")
    return looks_index


def _plan_of(
    document: dict[str, Any],
    chosen: Descriptor,
    wanted: Platform | None,
    fetch: Fetch,
    where: str,
    limits: Limits,
) -> Plan:
    name = f"{where}: manifest {chosen.digest[:19]}"
    config = descriptor(document.get("config"), name)
    if config.media_type not in _CONFIG_TYPES:
        raise SlimmerError(f"{name}: an artifact ({config.media_type!r}), not an image")
    found = document.get("layers")
    if not isinstance(found, list):
        raise SlimmerError(f"{name}: no list of layers", _DAMAGED)
    layers = [descriptor(item, name) for item in found]
    for layer in layers:
        if _LAYER.fullmatch(layer.media_type) is None:
            raise SlimmerError(f"{name}: a layer of type {layer.media_type!r}", "only tar layers can be unpacked")
    data = fetch(config, "config").bytes(limits.json_bytes)
    diff_ids = diff_ids_of(data, f"{where}: config {config.digest[:19]}", wanted, limits)
    if len(diff_ids) != len(layers):
        raise SlimmerError(f"{name}: {len(layers)} layers, its config has {len(diff_ids)} diff ids", _DAMAGED)
    planned = []
    for number, (diff_id, layer) in enumerate(zip(diff_ids, layers, strict=True), 1):
        try:
            planned.append(PlannedLayer(diff_id, fetch(layer, f"layer {number}")))
        except SlimmerError as error:
            if not _ELSEWHERE.search(layer.media_type):
                raise
            raise SlimmerError(
                f"{name}: layer {number} is foreign (not distributable) and does not come with the image",
                "pull it with an engine that fetches such layers, then name the image in that engine's storage",
            ) from error
    untyped = chosen.media_type in _UNTYPED
    notes = (f"the manifest came as {chosen.media_type}; it was taken by its content",) if untyped else ()
    return Plan(chosen.digest, data, tuple(planned), notes)


def diff_ids_of(config: bytes, where: str, wanted: Platform | None, limits: Limits) -> tuple[str, ...]:
    """The diff ids of a config (config.md, "rootfs"), once it fits the wish. Raises SlimmerError."""
    document = load_object(config, where, limits)
    mine = _platform(document)
    if mine.os not in ("", "linux"):
        raise SlimmerError(f"{where}: an image for {mine.os}; only linux images can be run and slimmed")
    if wanted is not None and mine.architecture and _fit(mine, wanted) == 0:
        raise SlimmerError(f"{where}: the image is for {mine}, not for {wanted}", "choose another with --platform")
    rootfs = document.get("rootfs")
    found = rootfs.get("diff_ids") if isinstance(rootfs, dict) and rootfs.get("type", "layers") == "layers" else None
    if found is None and isinstance(rootfs, dict):
        found = [] if "diff_ids" in rootfs else None
    if not isinstance(found, list) or not all(isinstance(one, str) and is_digest(one) for one in found):
        raise SlimmerError(f"{where}: no usable rootfs.diff_ids", _DAMAGED)
    if len(found) > limits.layers:
        raise too_much(where, f"{len(found):,} layers", "layers")
    return tuple(found)
