"""What can be compared: an output of slimmer, or any image, as the same rows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from slimmer.closure.model import Reason
from slimmer.errors import SlimmerError
from slimmer.image.config import ImageConfig
from slimmer.image.layer import kept_xattrs
from slimmer.packages.index import index
from slimmer.report.model import KeptPath
from slimmer.report.output import Output, open_output
from slimmer.report.rows import Rows
from slimmer.root.layout import directory_layout
from slimmer.root.limits import DEFAULT_LIMITS
from slimmer.root.model import FileType, Root
from slimmer.root.reference import FORMS, Transport

IN_IMAGE = (Reason("image", "in the image"),)


@dataclass(frozen=True, slots=True)
class Side:
    """One of two things that are compared. Paths are in order."""

    name: str
    paths: Mapping[str, KeptPath]
    config: ImageConfig


def open_side(name: str, say: Callable[[str], None] = lambda text: None) -> Side:
    """An output directory, an OCI layout, an archive, or any image reference. Raises SlimmerError."""
    place = Path(name)
    if (place / "manifest.json").is_file():
        return output_side(name)
    if (place / "oci-layout").is_file():
        return image_side(f"oci:{name}", name, say)
    if place.is_file():
        last: SlimmerError | None = None
        for transport in ("oci-archive", "docker-archive"):
            try:
                return image_side(f"{transport}:{name}", name, say)
            except SlimmerError as error:
                last = last or error
        raise last or SlimmerError(f"{name} is no archive")
    if place.is_dir():
        open_output(name)  # says what is missing
    if name.partition(":")[0] not in set(Transport):
        hint = f"name an output directory, a layout, an archive or an image ({FORMS})"
        raise SlimmerError(f"there is nothing at {name!r}", hint)
    return image_side(name, name, say)


def output_side(name: str) -> Side:
    """An output, by its manifest and its image's config."""
    output = open_output(name)
    return Side(name, {row.entry.path: row for row in output.manifest()}, config_of(output))


def config_of(output: Output) -> ImageConfig:
    """The configuration of an output's image; an empty one when the image was moved away. Raises SlimmerError."""
    layout = output.directory / "image"
    if not layout.is_dir():
        return ImageConfig()
    plan = directory_layout(os.fspath(layout)).plan("", "", None, DEFAULT_LIMITS)
    return ImageConfig.parse(plan.config)[0]


def image_side(reference: str, name: str, say: Callable[[str], None]) -> Side:
    """An image, unpacked and hashed."""
    from slimmer.root.source import open_image  # the registry client takes time to import

    with closing(open_image(reference, say=say)) as image:
        config, _ = ImageConfig.parse(image.config_json)
        return Side(name, root_rows(image), config)


def root_rows(root: Root) -> dict[str, KeptPath]:
    """Every path of a root as a kept one, hashed."""
    rows = Rows(root, index(root))
    found: dict[str, KeptPath] = {}
    for entry in root.walk():
        digest = ""
        if entry.type is FileType.FILE:
            digest = _sha256(root, entry.path)
        attributes = kept_xattrs(root.xattrs(entry.path)) if entry.type is not FileType.SYMLINK else {}
        found[entry.path] = rows.kept(entry, IN_IMAGE, sha256=digest, xattrs=attributes)
    return found


def _sha256(root: Root, path: str) -> str:
    digest = hashlib.sha256()
    with root.open(path) as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
