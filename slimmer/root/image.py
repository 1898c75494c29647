"""An unpacked image as a fat root: entries from the index of tar headers, content from the cache."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from slimmer.errors import SlimmerError
from slimmer.root.index import Index
from slimmer.root.model import Entry, FileType, Root
from slimmer.root.store import CacheLease


class ImageRoot(Root):
    """One image, unpacked. What it says of owners, modes, times and attributes is the same for every user.

    `directory` is the tree on disk, to run in under an overlay and never to be written to;
    for an ordinary user its owners and some modes differ from what the entries say.
    `config_json` is the image's config as its author wrote it, `digest` its manifest's digest
    ("" when it came without one), `image_id` its config's. The cache keeps the tree until `close`.
    """

    def __init__(
        self,
        held: CacheLease,
        *,
        reference: str,
        digest: str,
        image_id: str,
        config_json: bytes,
        notes: tuple[str, ...],
    ) -> None:
        self._held = held
        self._index = Index(held.path)
        self.directory = str(held.path / "tree")
        self.reference = reference
        self.digest = digest
        self.image_id = image_id
        self.config_json = config_json
        self.notes = notes

    @property
    def name(self) -> str:
        return self.reference

    def close(self) -> None:
        """Lets the cache remove the tree when it needs room. The root is not used after this."""
        self._held.close()

    def __len__(self) -> int:
        """The number of entries, the root included."""
        return self._index.count

    def location(self, path: str) -> str:
        """Where a canonical path is on disk."""
        return self.directory + path if path != "/" else self.directory

    def entry(self, path: str) -> Entry | None:
        return self._index.entry(path)

    def children(self, path: str) -> Sequence[str]:
        return self._index.children(path)

    def xattrs(self, path: str) -> Mapping[str, bytes]:
        return self._index.xattrs(path)

    def open(self, path: str) -> BinaryIO:
        found = self._index.entry(path)
        if found is None or found.type is not FileType.FILE:
            raise SlimmerError(f"{self.name}: no regular file at {path}")
        hint = "was it changed by hand? slim cache prune --all makes a new start"
        try:
            descriptor = os.open(self.location(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise SlimmerError(f"cannot read {self.location(path)} in the cache: {error.strerror}", hint) from error
        if os.fstat(descriptor).st_size != found.size:
            os.close(descriptor)
            raise SlimmerError(f"{self.location(path)} in the cache is not what was unpacked there", hint)
        return open(descriptor, "rb")
