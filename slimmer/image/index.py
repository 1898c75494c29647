"""Several outputs, one for each platform, joined into one image index.

    DIR/index.json → one descriptor of an image index → a manifest for each platform

The index is itself a blob, so the layout keeps its one entry and a name for the whole.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slimmer.errors import SlimmerError
from slimmer.image import layout
from slimmer.image.layout import INDEX_TYPE, REF, REF_NAME, Descriptor, Layout, read_layout
from slimmer.image.push import PushOptions, push_blobs
from slimmer.registry import document
from slimmer.registry.client import Registry
from slimmer.registry.reference import Reference


@dataclass(frozen=True, slots=True)
class MultiImage:
    """A written index and the images in it, in the order of their platforms."""

    digest: str
    size: int
    images: tuple[Layout, ...]


def platform_name(image: Layout) -> str:
    """As `--platform` spells it: "linux/arm64/v8"."""
    return "/".join(part for part in (image.os, image.architecture, image.variant) if part)


def write_index(layouts: Sequence[Path], directory: Path, ref: str = "latest") -> MultiImage:
    """Join layouts of one image each into a new layout. The order of `layouts` does not matter.

    Raises SlimmerError when two are for one platform, one is damaged, or `directory` is not new or empty.
    """
    if not REF.fullmatch(ref):
        raise SlimmerError(f"{ref!r} cannot name an image")
    joined = _join(layouts)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise SlimmerError(f"{directory} exists and is not empty", "name a directory that does not exist yet")
    blobs = directory / "blobs" / "sha256"
    try:
        blobs.mkdir(parents=True, exist_ok=True)
        for image in joined.images:
            for blob in (image.manifest, image.config, *image.layers):
                target = layout.blob_path(directory, blob.digest)
                if not target.exists():
                    part = target.with_name(f".{target.name}.part")
                    shutil.copyfile(image.blob(blob.digest), part)
                    part.chmod(0o644)
                    part.rename(target)
    except OSError as error:
        raise SlimmerError(f"cannot write {directory}: {error.strerror}") from error
    described = layout.write_blob(directory, _text(joined.images), INDEX_TYPE)
    layout.write_top(
        directory,
        document.dump(
            {
                "schemaVersion": 2,
                "mediaType": INDEX_TYPE,
                "manifests": [described.fields() | {"annotations": {REF_NAME: ref}}],
            }
        ),
    )
    return joined


def push_index(layouts: Sequence[Path], reference: str | Reference, options: PushOptions | None = None) -> str:
    """Upload layouts of one image each, and an index of them under a name; the index's digest. Raises SlimmerError."""
    joined = _join(layouts)
    chosen = options or PushOptions()
    target = reference if isinstance(reference, Reference) else Reference.parse(reference)
    if target.digest and target.digest != joined.digest:
        raise SlimmerError(f"the index is {joined.digest}, not {target.digest}", "push to a tag")
    with Registry(target, chosen.registry) as registry:
        for image in joined.images:
            push_blobs(registry, image, chosen)
            registry.put_manifest(image.manifest.digest, image.manifest_bytes, image.manifest.media_type)
        registry.put_manifest(target.tag or joined.digest, _text(joined.images), INDEX_TYPE)
    return joined.digest


def _join(layouts: Sequence[Path]) -> MultiImage:
    platforms: dict[str, Layout] = {}
    for place in layouts:
        image = read_layout(place)
        name = platform_name(image)
        if name in platforms:
            raise SlimmerError(
                f"{place} and {platforms[name].directory} are both for {name}", "an index holds one image a platform"
            )
        platforms[name] = image
    if not platforms:
        raise SlimmerError("an index needs at least one image")
    images = tuple(platforms[name] for name in sorted(platforms))
    text = _text(images)
    described = Descriptor(INDEX_TYPE, document.digest(text), len(text))
    return MultiImage(described.digest, described.size, images)


def _text(images: Sequence[Layout]) -> bytes:
    return layout.index([(image.manifest, layout.platform_fields(image), {}) for image in images])
