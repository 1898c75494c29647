"""An image of a registry as a layout on disk, byte for byte, to be compared."""

from __future__ import annotations

from pathlib import Path

from slimmer.errors import SlimmerError
from slimmer.image.layout import INDEX_TYPE, MANIFEST_TYPE, REF_NAME, Descriptor, blob_path, write_blob, write_top
from slimmer.registry import document
from slimmer.registry.client import Registry, RegistryOptions
from slimmer.registry.reference import Reference


def fetch(reference: Reference, directory: Path, options: RegistryOptions) -> str:
    """Write the image's manifest, config and layers into a new layout; the manifest's digest. Raises SlimmerError."""
    with Registry(reference, options) as registry:
        image = registry.manifest(reference.name, (MANIFEST_TYPE,))
        if image.media_type != MANIFEST_TYPE:
            raise SlimmerError(f"{reference} is {image.media_type}, not one image", "name one platform by its digest")
        stored = write_blob(directory, image.data, MANIFEST_TYPE)
        node = document.load(image.data, f"the manifest {image.digest[:19]}")
        for entry in (node.get("config"), *node.get("layers").items()):
            digest = entry.get("digest").text()
            place = blob_path(directory, digest)
            try:
                with open(place, "wb") as stream:
                    for part in registry.blob(digest, entry.get("size").number()):
                        stream.write(part)
            except OSError as error:
                raise SlimmerError(f"cannot write {place}: {error.strerror}") from error
    row = _descriptor(stored, reference.tag)
    write_top(directory, document.dump({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [row]}))
    return image.digest


def _descriptor(stored: Descriptor, tag: str) -> dict[str, object]:
    return stored.fields() | ({"annotations": {REF_NAME: tag}} if tag else {})
