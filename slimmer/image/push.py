"""An image layout into a registry: blobs first, each only when it is not there yet, the manifest last."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from slimmer.errors import SlimmerError
from slimmer.image.layout import INDEX_TYPE, Descriptor, Layout, read_layout
from slimmer.registry import document
from slimmer.registry.client import Access, Registry, RegistryOptions
from slimmer.registry.reference import Reference
from slimmer.registry.transport import Transient
from slimmer.registry.uploads import Uploads

PIECE = 256 * 1024


class BlobStatus(enum.StrEnum):
    """How a blob stands."""

    SENDING = "sending"
    EXISTS = "exists"
    MOUNTED = "mounted"
    UPLOADED = "uploaded"


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a push: `sent` of `size` bytes of a blob are there. A retry begins at 0 again."""

    digest: str
    sent: int
    size: int
    how: BlobStatus


@dataclass(frozen=True, slots=True)
class PushOptions:
    """How to push.

    `chunk`: bytes of a chunk, 0 sends each blob in one piece. `mount_from`: repositories of the same
    registry that may hold blobs already.
    """

    registry: RegistryOptions = field(default_factory=RegistryOptions)
    chunk: int = 0
    mount_from: tuple[str, ...] = ()
    progress: Callable[[Progress], None] | None = None


def push(layout: Path, reference: str | Reference, options: PushOptions | None = None) -> str:
    """Upload a layout's image under a name; the manifest's digest. Raises SlimmerError."""
    image = read_layout(layout)
    chosen = options or PushOptions()
    target = reference if isinstance(reference, Reference) else Reference.parse(reference)
    if target.digest and target.digest != image.manifest.digest:
        raise SlimmerError(
            f"{layout} is {image.manifest.digest}, not {target.digest}", "push to a tag, or to the digest that it is"
        )
    with Registry(target, chosen.registry) as registry:
        push_blobs(registry, image, chosen)
        registry.put_manifest(target.tag or target.digest, image.manifest_bytes, image.manifest.media_type)
    return image.manifest.digest


def push_blobs(registry: Registry, image: Layout, options: PushOptions) -> None:
    """Upload the layers and the config of an image, all but the manifest."""
    for blob in dict.fromkeys((*image.layers, image.config)):
        push_blob(registry, blob, image.blob(blob.digest), options)


def push_blob(registry: Registry, blob: Descriptor, place: Path, options: PushOptions) -> None:
    """Bring one blob from a file into the registry unless it is there."""
    _Blob(registry, blob, place, options).push()


def push_referrer(registry: Registry, subject: Descriptor, data: bytes, media_type: str) -> str:
    """Upload a manifest that has a `subject`, so that it is found from there; its digest.

    Its blobs must be there already. Where the registry does not keep track of referrers by
    itself (no OCI-Subject in its answer), the fallback tag of distribution-spec, "Referrers
    Tag Schema", is brought up to date. Raises SlimmerError.
    """
    node = document.load(data, "the referrer")
    if node.get("subject").get("digest").text() != subject.digest:
        raise SlimmerError(f"the manifest to attach does not name {subject.digest} as its subject")
    described = Descriptor(media_type, document.digest(data), len(data))
    headers = registry.put_manifest(described.digest, data, media_type)
    if "oci-subject" in headers:
        return described.digest
    tag = subject.digest.replace(":", "-", 1)
    fields = described.fields() | {
        "artifactType": node.get("artifactType").text("") or node.get("config").get("mediaType").text("")
    }
    if not node.get("annotations").missing:
        fields["annotations"] = dict(node.get("annotations").pairs())
    known: list[object] = []
    if registry.manifest_digest(tag) is not None:
        old = document.load(registry.manifest(tag).data, f"the index {tag}")
        known = [each.raw() for each in old.get("manifests").items() if each.get("digest").text() != described.digest]
    text = document.dump({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [*known, fields]})
    registry.put_manifest(tag, text, INDEX_TYPE)
    return described.digest


class _Blob:
    """The way of one blob."""

    def __init__(self, registry: Registry, blob: Descriptor, place: Path, options: PushOptions) -> None:
        self._registry = registry
        self._uploads = Uploads(registry)
        self._blob = blob
        self._place = place
        self._options = options

    def push(self) -> None:
        self._tell(0)
        if self._registry.has_blob(self._blob.digest, Access.PUSH):
            return self._tell(self._blob.size, BlobStatus.EXISTS)
        for source in self._options.mount_from:
            if self._uploads.mount(self._blob.digest, source):
                return self._tell(self._blob.size, BlobStatus.MOUNTED)
        retry = self._options.registry.retry
        failures = 0
        while True:
            try:
                self._upload()
                return self._tell(self._blob.size, BlobStatus.UPLOADED)
            except Transient:
                failures += 1
                if failures >= retry.attempts:
                    raise
                self._options.registry.sleep(retry.pause(failures))

    def _upload(self) -> None:
        location, least = self._uploads.begin()
        chunk = max(self._options.chunk, least) if self._options.chunk else 0
        if not chunk or chunk >= self._blob.size:
            self._uploads.finish(location, self._blob.digest, self._content, self._blob.size)
            return
        sent = 0
        failures = 0
        with self._open() as stream:
            while sent < self._blob.size:
                stream.seek(sent)
                data = stream.read(chunk)
                if not data:
                    raise SlimmerError(f"{self._place} is shorter than {self._blob.size} bytes", "make the image again")
                try:
                    location = self._uploads.send_chunk(location, data, sent)
                    sent += len(data)
                    failures = 0
                except Transient:
                    failures += 1
                    if failures >= self._options.registry.retry.attempts:
                        raise
                    self._options.registry.sleep(self._options.registry.retry.pause(failures))
                    # Part of the chunk may have arrived: only the registry knows.
                    location, sent = self._uploads.state(location)
                self._tell(sent)
        self._uploads.finish(location, self._blob.digest)

    def _content(self) -> Iterator[bytes]:
        sent = 0
        with self._open() as stream:
            while data := stream.read(PIECE):
                yield data
                sent += len(data)
                self._tell(sent)

    def _open(self) -> BinaryIO:
        try:
            return open(self._place, "rb")
        except OSError as error:
            raise SlimmerError(f"cannot read {self._place}: {error.strerror}", "make the image again") from error

    def _tell(self, sent: int, how: BlobStatus = BlobStatus.SENDING) -> None:
        if self._options.progress is not None:
            self._options.progress(Progress(self._blob.digest, sent, self._blob.size, how))
