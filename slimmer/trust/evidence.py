"""What there is to verify of an image: its digest, the bundles that speak of it, and the files of its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slimmer.errors import SlimmerError
from slimmer.image.layout import Layout, layout_in, read_layout
from slimmer.registry import document
from slimmer.registry.client import Manifest, Registry, RegistryOptions
from slimmer.registry.reference import Reference
from slimmer.registry.referrers import referrers
from slimmer.report.output import Output
from slimmer.trust.attach import FOLDER, RECORD_FILES, RECORD_TYPE, SUFFIX, TITLE
from slimmer.trust.dsse import BUNDLE_TYPE, LARGEST

MOST_BUNDLES = 100


@dataclass(frozen=True, slots=True)
class Evidence:
    """`bundles` by where they lie; `record` the bytes of manifest.json, recording.json and recipe.toml that are there.

    `layout` is the image itself where it is at hand: of an output, not of a registry's.
    """

    name: str
    digest: str  # of the image's manifest
    config: bytes
    bundles: Mapping[str, bytes]
    record: Mapping[str, bytes]
    layout: Layout | None = None
    output: Output | None = None
    notes: tuple[str, ...] = field(default=())


def of_output(output: Output) -> Evidence:
    """Raises SlimmerError when the output's image is damaged or unsigned."""
    layout = read_layout(layout_in(output.directory))
    folder = output.directory / FOLDER
    places = sorted(folder.glob(f"*{SUFFIX}"))
    if not places:
        raise SlimmerError(f"{output.directory} is not signed", f"`slim sign {output.directory} --key FILE` signs it")
    bundles = {f"{FOLDER}/{place.name}": _bounded(place, LARGEST) for place in places[:MOST_BUNDLES]}
    record = {
        name: (output.directory / name).read_bytes() for name in RECORD_FILES if (output.directory / name).is_file()
    }
    return Evidence(str(output.directory), layout.manifest.digest, layout.config_bytes, bundles, record, layout, output)


def of_registry(reference: Reference, options: RegistryOptions) -> Evidence:
    """What a registry holds of an image. Raises SlimmerError."""
    bundles: dict[str, bytes] = {}
    record: dict[str, bytes] = {}
    with Registry(reference, options) as registry:
        image = registry.manifest(reference.name)
        config = _config(registry, image)
        for found in referrers(registry, image.digest)[:MOST_BUNDLES]:
            if found.artifact_type not in (BUNDLE_TYPE, RECORD_TYPE):
                continue
            node = document.load(registry.manifest(found.digest).data, f"the referrer {found.digest[:19]}")
            if node.get("subject").get("digest").text("") != image.digest:
                continue  # a fallback tag may list whatever somebody wrote into it
            for layer in node.get("layers").items():
                digest, size = layer.get("digest").text(), layer.get("size").number()
                if size > LARGEST:
                    raise SlimmerError(
                        f"{reference}: {digest[:19]} is {size} bytes; {LARGEST} is the most that is read"
                    )
                data = b"".join(registry.blob(digest, size))
                if found.artifact_type == BUNDLE_TYPE:
                    bundles[f"{reference}, referrer {found.digest[:19]}"] = data
                else:
                    title = layer.get("annotations").get(TITLE).text("")
                    if title in RECORD_FILES:
                        record[title] = data
    if not bundles:
        raise SlimmerError(f"{reference} has no signed statements", "`slim push OUT REF` sends them after `slim sign`")
    return Evidence(str(reference), image.digest, config, bundles, record)


def _config(registry: Registry, image: Manifest) -> bytes:
    node = document.load(image.data, f"the manifest {image.digest[:19]}").get("config")
    return b"".join(registry.blob(node.get("digest").text(), node.get("size").number()))


def _bounded(place: Path, most: int) -> bytes:
    try:
        with open(place, "rb") as stream:
            data = stream.read(most + 1)
    except OSError as error:
        raise SlimmerError(f"cannot read {place}: {error.strerror}") from error
    if len(data) > most:
        raise SlimmerError(f"{place} is larger than {most} bytes", "this is no bundle of ours")
    return data
