"""One archive that everything loads: an OCI layout that also holds docker's manifest.json.

podman, skopeo (`oci-archive:`) and trivy read the layout, `docker load`, skopeo
(`docker-archive:`) and syft docker's list; both name the same blobs. Written in one
pass, in a fixed order, so it may go to a pipe and is the same every time.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import BinaryIO

from slimmer.errors import SlimmerError
from slimmer.image import tar
from slimmer.image.layout import LAYOUT_VERSION, REF_NAME, Descriptor, Layout, index, platform_fields, read_layout
from slimmer.registry import document

# containerd's and docker's own names for an image that is loaded from a layout
CONTAINERD_NAME = "io.containerd.image.name"
CHUNK = 1024 * 1024
# distribution/reference: the grammar of a name that docker accepts, without a digest
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_DOMAIN = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
TAG = re.compile(
    rf"(?P<name>(?:{_DOMAIN}/)?{_COMPONENT}(?:/{_COMPONENT})*)(?::(?P<tag>[\w][\w.-]{{0,127}}))?", re.ASCII
)


def write_archive(layout: Path, destination: BinaryIO, tag: str) -> None:
    """Write the image of a layout to a stream under a name ("app", "app:1.2", "host/team/app:1.2").

    Raises SlimmerError when the name is none, the layout is damaged or the stream does not take it.
    """
    name, version = split_tag(tag)
    image = read_layout(layout)
    full = f"{name}:{version}"
    files: list[tuple[str, bytes | Descriptor]] = [
        (f"blobs/sha256/{blob.digest.removeprefix('sha256:')}", blob)
        for blob in sorted({image.manifest, image.config, *image.layers}, key=lambda blob: blob.digest)
    ]
    annotations = {REF_NAME: version, CONTAINERD_NAME: normalized(name, version)}
    files.append(("index.json", index([(image.manifest, platform_fields(image), annotations)])))
    files.append(("manifest.json", _docker_manifest(image, full)))
    files.append(("oci-layout", LAYOUT_VERSION))
    try:
        for directory in ("blobs/", "blobs/sha256/"):
            destination.write(_header(directory, tar.TarType.DIRECTORY, 0o755, 0))
        for path, content in files:
            size = content.size if isinstance(content, Descriptor) else len(content)
            destination.write(_header(path, tar.TarType.FILE, 0o644, size))
            if isinstance(content, Descriptor):
                _copy(image, content, destination)
            else:
                destination.write(content)
            destination.write(tar.padding(size))
        destination.write(tar.END)
        destination.flush()
    except BrokenPipeError:
        raise  # who reads has seen enough; that is his business
    except OSError as error:
        raise SlimmerError(f"cannot write the archive: {error.strerror or error}") from error


def split_tag(tag: str) -> tuple[str, str]:
    """Name and tag of an image's name; the tag is "latest" when not given. Raises SlimmerError."""
    match = TAG.fullmatch(tag)
    if match is None:
        raise SlimmerError(f"{tag!r} cannot name an image", "write NAME or NAME:TAG, the name in small letters")
    return match["name"], match["tag"] or "latest"


def normalized(name: str, version: str) -> str:
    """The name in full, as docker fills it in (distribution/reference, normalize.go)."""
    first, slash, _ = name.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first or first != first.lower()):
        return f"{name}:{version}"
    return f"docker.io/{name if slash else 'library/' + name}:{version}"


def _docker_manifest(image: Layout, full: str) -> bytes:
    def place(descriptor: Descriptor) -> str:
        return f"blobs/sha256/{descriptor.digest.removeprefix('sha256:')}"

    return document.dump(
        [{"Config": place(image.config), "RepoTags": [full], "Layers": [place(layer) for layer in image.layers]}]
    )


def _header(path: str, kind: tar.TarType, mode: int, size: int) -> bytes:
    return tar.header(tar.Member(path.encode(), kind, mode, 0, 0, 0, size))


def _copy(image: Layout, blob: Descriptor, destination: BinaryIO) -> None:
    place = image.blob(blob.digest)
    digest = hashlib.sha256()
    size = 0
    try:
        source = open(place, "rb")  # noqa: SIM115
    except OSError as error:
        raise SlimmerError(f"cannot read {place}: {error.strerror}") from error
    with source:
        while data := source.read(CHUNK):
            digest.update(data)
            size += len(data)
            if size <= blob.size:
                destination.write(data)
    if size != blob.size or f"sha256:{digest.hexdigest()}" != blob.digest:
        raise SlimmerError(f"{place} is damaged: its content is not what its name says", "make the image again")
