"""An OCI image layout, in a directory or in a tar, as a plan to unpack (image-spec, image-layout.md)."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from slimmer.errors import SlimmerError
from slimmer.root.archive_index import Bundle, same_name
from slimmer.root.codec import Blob, file_chunks
from slimmer.root.limits import Limits
from slimmer.root.manifest import Descriptor, Plan, Platform, descriptors, load_object, plan_from

_Read = Callable[[str, str, str, int], Blob]  # path in the layout, what it is, digest, size


@dataclass(frozen=True, slots=True)
class Layout:
    """`read` gives the blob at a path of the layout."""

    where: str
    read: _Read

    def plan(self, name: str, digest: str, wanted: Platform | None, limits: Limits) -> Plan:
        """The plan for one image of the layout: by ref name, by digest, "@N", or the only one."""
        marker = load_object(
            self.read("oci-layout", "oci-layout", "", -1).bytes(limits.json_bytes), f"{self.where}: oci-layout", limits
        )
        version = marker.get("imageLayoutVersion")
        if not isinstance(version, str) or not version.startswith("1."):
            raise SlimmerError(f"{self.where}: image layout version {version!r}, 1.0.0 is known")
        where = f"{self.where}: index.json"
        index = load_object(self.read("index.json", "index.json", "", -1).bytes(limits.json_bytes), where, limits)
        found = _named(descriptors(index, where), name, digest, self.where)
        return plan_from(found, wanted, self._fetch, self.where, limits)

    def _fetch(self, found: Descriptor, what: str) -> Blob:
        algorithm, _, encoded = found.digest.partition(":")
        return self.read(f"blobs/{algorithm}/{encoded}", what, found.digest, found.size)


def directory_layout(path: str) -> Layout:
    """The layout in a directory. Raises SlimmerError when there is none."""
    where = f"oci:{path}"
    if not os.path.isfile(os.path.join(path, "oci-layout")):
        problem = "no oci-layout file in it" if os.path.isdir(path) else "no such directory"
        raise SlimmerError(f"{where}: {problem}", "an OCI image layout has oci-layout, index.json and blobs/")

    def read(name: str, what: str, digest: str, size: int) -> Blob:
        place = os.path.join(path, name)
        if not os.path.isfile(place):
            raise SlimmerError(f"{where}: {what}: {place} is missing or no file", "copy the image again, whole")
        return Blob(f"{where}: {what}", partial(file_chunks, place), digest, size)

    return Layout(where, read)


def bundle_layout(bundle: Bundle) -> Layout:
    """The layout in a tar. Raises SlimmerError when there is none."""
    if not bundle.has("oci-layout") or not bundle.has("index.json"):
        hint = "it is what docker save writes: use docker-archive:FILE" if bundle.has("manifest.json") else ""
        raise SlimmerError(f"{bundle.where}: no OCI image layout in it", hint)
    return Layout(bundle.where, bundle.blob)


def _named(found: list[Descriptor], name: str, digest: str, where: str) -> list[Descriptor]:
    """The descriptors that a reference may mean: several only when platforms tell them apart."""
    if digest:
        matching = [one for one in found if one.digest == digest]
        if not matching:
            raise SlimmerError(f"{where}: no manifest {digest} in index.json", _there(found))
        return matching[:1]
    if name.startswith("@") and name[1:].isdigit():
        if int(name[1:]) >= len(found):
            raise SlimmerError(f"{where}: only {len(found)} manifests in index.json")
        return [found[int(name[1:])]]
    if name:
        matching = [one for one in found if one.name == name]
        matching = matching or [one for one in found if one.full_name and same_name(one.full_name, name)]
        if not matching:
            raise SlimmerError(f"{where}: no image is called {name!r}", _there(found))
        return matching
    images = list({one.digest: one for one in found if not one.attestation}.values())  # a tag each may stand for one
    names = {one.name or one.full_name for one in images}
    if len(images) > 1 and (len(names) > 1 or not all(one.platform for one in images)):
        raise SlimmerError(f"{where}: {len(images)} images, and none is named", _there(found))
    return found


def _there(found: list[Descriptor]) -> str:
    names = ", ".join(one.name or one.full_name or f"@{place} ({one.digest[:19]})" for place, one in enumerate(found))
    return f"name one after a colon, as in oci:DIR:TAG; there are: {names or 'none'}"
