"""OCI image layouts with exactly one manifest: written for one image, read back for what follows.

    DIR/oci-layout
    DIR/index.json                  one descriptor, with platform and ref name
    DIR/blobs/sha256/HEX            manifest, config, layers

A second manifest in the index would break skopeo and syft, so none is ever added.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimmer.errors import SlimmerError
from slimmer.image import config as configuration
from slimmer.image.compress import Compression
from slimmer.image.config import ImageConfig
from slimmer.image.layer import Layer, LayerOptions, write_layer
from slimmer.image.split import Group
from slimmer.registry import document
from slimmer.root.model import Root

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
REF_NAME = "org.opencontainers.image.ref.name"
LAYOUT_VERSION = b'{"imageLayoutVersion":"1.0.0"}'
# image-spec, annotations.md
REF = re.compile(r"[A-Za-z0-9]+([-._:@/+]+[A-Za-z0-9]+)*")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob as a manifest names it: "sha256:HEX", bytes."""

    media_type: str
    digest: str
    size: int

    def fields(self) -> dict[str, Any]:
        """As JSON fields."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True, slots=True)
class Image:
    """A written image. The image id is the config's digest."""

    manifest_digest: str
    manifest_size: int
    image_id: str
    ref: str
    config: ImageConfig
    layers: tuple[Layer, ...]

    @property
    def compressor(self) -> str:
        """What made the layers' bytes, with its version."""
        makers = {each.media_type: each.compressor for each in Compression}
        return ", ".join(dict.fromkeys(makers[layer.media_type] for layer in self.layers))

    @property
    def size(self) -> int:
        """Bytes of content as unpacked from the layers' tar streams."""
        return sum(layer.uncompressed_size for layer in self.layers)


@dataclass(frozen=True, slots=True)
class Layout:
    """A layout on disk, its one manifest and config verified against their digests; layers are as announced."""

    directory: Path
    ref: str
    manifest: Descriptor
    manifest_bytes: bytes
    config: Descriptor
    config_bytes: bytes
    layers: tuple[Descriptor, ...]
    architecture: str
    variant: str
    os: str

    def blob(self, digest: str) -> Path:
        return blob_path(self.directory, digest)


def blob_path(directory: Path, digest: str) -> Path:
    """Where a layout holds a blob. Raises SlimmerError when the digest is no sha256."""
    if not DIGEST.fullmatch(digest):
        raise SlimmerError(f"{digest!r} is no sha256 digest")
    return directory / "blobs" / "sha256" / digest.removeprefix("sha256:")


def write_blob(directory: Path, data: bytes, media_type: str) -> Descriptor:
    """Put a blob into a layout."""
    found = Descriptor(media_type, document.digest(data), len(data))
    _write(blob_path(directory, found.digest), data)
    return found


def write_top(directory: Path, index_json: bytes) -> None:
    """Make a directory of blobs a layout."""
    _write(directory / "index.json", index_json)
    _write(directory / "oci-layout", LAYOUT_VERSION)


def check_ref(ref: str) -> None:
    """Raises SlimmerError when a layout cannot hold an image under this name."""
    if not REF.fullmatch(ref):
        raise SlimmerError(
            f"{ref!r} cannot name an image", "use letters and digits, with single - . _ : @ / + between them"
        )


def write_layout(
    directory: Path,
    config: ImageConfig,
    layers: Sequence[Layer],
    ref: str = "latest",
    *,
    created: int = 0,
    comments: Sequence[str] = (),
) -> Image:
    """Write manifest, config and index around layers that are in `directory`/blobs/sha256 already.

    `created` is seconds since 1970 (SOURCE_DATE_EPOCH when that is set); `comments` names
    the layers in the history. Raises SlimmerError.
    """
    check_ref(ref)
    for layer in layers:
        if not blob_path(directory, layer.digest).is_file():
            raise SlimmerError(f"{directory} does not hold the layer {layer.digest}")
    text = config.dump([layer.diff_id for layer in layers], created, comments)
    stored = write_blob(directory, text, configuration.MEDIA_TYPE)
    manifest = document.dump(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": stored.fields(),
            "layers": [Descriptor(layer.media_type, layer.digest, layer.size).fields() for layer in layers],
        }
    )
    described = write_blob(directory, manifest, MANIFEST_TYPE)
    write_top(directory, index([(described, platform_fields(config), {REF_NAME: ref})]))
    return Image(described.digest, described.size, stored.digest, ref, config, tuple(layers))


def build_image(
    root: Root,
    paths: Iterable[str] | Sequence[Group],
    config: ImageConfig,
    directory: Path,
    options: LayerOptions | None = None,
    ref: str = "latest",
    *,
    created: int = 0,
) -> Image:
    """Pack canonical paths of a root into a new layout: one layer, or one for each group of `split`.

    Raises SlimmerError; what was written by then stays in `directory`.
    """
    given = list(paths)
    groups = [part for part in given if isinstance(part, Group)]
    single = [part for part in given if isinstance(part, str)]
    if groups and single:
        raise TypeError("either paths or groups")
    blobs = directory / "blobs" / "sha256"
    if groups:
        layers = [write_layer(root, group.paths, blobs, options, carried=group.carried) for group in groups]
    else:
        layers = [write_layer(root, single, blobs, options)]
    return write_layout(
        directory, config, layers, ref, created=created, comments=[f"{group.name} layer" for group in groups]
    )


def index(manifests: Sequence[tuple[Descriptor, dict[str, str], dict[str, str]]]) -> bytes:
    """An image index of descriptors with their platform and annotations."""
    return document.dump(
        {
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "manifests": [
                descriptor.fields() | {"platform": platform} | ({"annotations": annotations} if annotations else {})
                for descriptor, platform, annotations in manifests
            ],
        }
    )


def platform_fields(config: ImageConfig | Layout) -> dict[str, str]:
    """A platform as a descriptor carries it."""
    fields = {"architecture": config.architecture, "os": config.os}
    return fields | {"variant": config.variant} if config.variant else fields


def layout_in(place: Path) -> Path:
    """The layout at a path: itself, or the image/ of an output. Raises SlimmerError."""
    for directory in (place, place / "image"):
        if (directory / "index.json").is_file():
            return directory
    raise SlimmerError(f"{place} holds no image", "name an output of `slim trace`, or an OCI layout")


def read_layout(directory: Path) -> Layout:
    """A layout with one manifest, as slimmer writes it. Raises SlimmerError."""
    top = document.load(_read(directory / "index.json"), f"{directory}/index.json")
    manifests = top.get("manifests").items()
    if len(manifests) != 1:
        raise SlimmerError(
            f"{directory} holds {len(manifests)} manifests, not one", "name an output of slimmer, or its image/"
        )
    (entry,) = manifests
    if entry.get("mediaType").text() != MANIFEST_TYPE:
        raise SlimmerError(f"{directory}: {entry.get('mediaType').text()!r} is no manifest of an image")
    described = _descriptor(entry)
    manifest_bytes = _verified(directory, described)
    manifest = document.load(manifest_bytes, f"{directory}: the manifest")
    config = _descriptor(manifest.get("config"))
    config_bytes = _verified(directory, config)
    parsed, _ = ImageConfig.parse(config_bytes)
    return Layout(
        directory=directory,
        ref=entry.get("annotations").get(REF_NAME).text(""),
        manifest=described,
        manifest_bytes=manifest_bytes,
        config=config,
        config_bytes=config_bytes,
        layers=tuple(_descriptor(node) for node in manifest.get("layers").items()),
        architecture=parsed.architecture,
        variant=parsed.variant,
        os=parsed.os,
    )


def _descriptor(node: document.Node) -> Descriptor:
    digest = node.get("digest").text()
    if not DIGEST.fullmatch(digest):
        raise SlimmerError(f"{node.where}: {digest!r} is no sha256 digest")
    return Descriptor(node.get("mediaType").text(), digest, node.get("size").number())


def _verified(directory: Path, descriptor: Descriptor) -> bytes:
    place = blob_path(directory, descriptor.digest)
    data = _read(place)
    if len(data) != descriptor.size or document.digest(data) != descriptor.digest:
        raise SlimmerError(f"{place} is damaged: its content is not what its name says", "make the image again")
    return data


def verify_layers(layout: Layout) -> None:
    """Raises SlimmerError when a layer is not what its name says."""
    for layer in layout.layers:
        place = blob_path(layout.directory, layer.digest)
        try:
            with open(place, "rb") as stream:
                found = f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
        except OSError as error:
            raise SlimmerError(f"cannot read {place}: {error.strerror}", "make the image again") from error
        if found != layer.digest:
            raise SlimmerError(f"{place} is damaged: its content is not what its name says", "make the image again")


def _read(place: Path) -> bytes:
    try:
        with open(place, "rb") as stream:
            return stream.read(document.LARGEST + 1)
    except OSError as error:
        raise SlimmerError(f"cannot read {place}: {error.strerror}", "name an OCI layout, as in OUT/image") from error


def _write(place: Path, data: bytes) -> None:
    part = place.with_name(f".{place.name}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        os.chmod(part, 0o644)
        os.rename(part, place)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise SlimmerError(f"cannot write {place}: {error.strerror}") from error
