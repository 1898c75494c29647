"""The steps of an upload (distribution-spec, "Pushing blobs"), each one request; `push` puts them in order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from urllib.parse import urlencode

import httpx

from slimmer.registry.client import Access, Registry

OCTETS = "application/octet-stream"


class Uploads:
    """Uploads into the repository of a client. Methods raise SlimmerError; Transient where another try may help."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def mount(self, digest: str, source: str) -> bool:
        """Ask the registry to take a blob from another of its repositories; whether it did."""
        query = urlencode({"mount": digest, "from": source})
        with self._registry.ask("POST", f"blobs/uploads/?{query}", access=Access.PUSH, mount_from=source) as response:
            if response.status_code == 201:
                return True
            if response.status_code == 202:  # it began an upload instead, which nobody will finish
                location = self._registry.location(response)
            elif response.status_code in (400, 401, 403, 404, 405, 416):
                return False
            else:
                self._registry.expect(response, 201, what=f"mounting the blob {digest}")
                return False
        with self._registry.send("DELETE", location, access=Access.PUSH):
            return False

    def begin(self) -> tuple[httpx.URL, int]:
        """Where to upload a blob to, and the least bytes of a chunk that the registry takes (0: any)."""
        with self._registry.ask("POST", "blobs/uploads/", access=Access.PUSH) as response:
            self._registry.expect(response, 202, what="beginning an upload")
            least = str(response.headers.get("OCI-Chunk-Min-Length", ""))
            return self._registry.location(response), int(least) if least.isdigit() and len(least) < 12 else 0

    def finish(
        self, location: httpx.URL, digest: str, content: Callable[[], Iterable[bytes]] | None = None, size: int = 0
    ) -> None:
        """Close an upload under its digest; with `content`, `size` bytes, the whole of it goes along."""
        with self._registry.send(
            "PUT",
            location.copy_merge_params({"digest": digest}),
            access=Access.PUSH,
            headers={"Content-Type": OCTETS, "Content-Length": str(size)},
            content=content,
            retry=False,
        ) as response:
            self._registry.expect(response, 201, 204, what=f"the upload of {digest}")

    def send_chunk(self, location: httpx.URL, data: bytes, start: int) -> httpx.URL:
        """Add bytes to an upload at offset `start`; where to go on."""
        headers = {
            "Content-Type": OCTETS,
            "Content-Range": f"{start}-{start + len(data) - 1}",
            "Content-Length": str(len(data)),
        }
        with self._registry.send(
            "PATCH", location, access=Access.PUSH, headers=headers, content=data, retry=False
        ) as response:
            self._registry.expect(response, 202, what="a chunk of an upload")
            return self._registry.location(response)

    def state(self, location: httpx.URL) -> tuple[httpx.URL, int]:
        """Where to go on with an upload, and how many bytes the registry holds of it."""
        with self._registry.send("GET", location, access=Access.PUSH) as response:
            self._registry.expect(response, 204, what="the state of an upload")
            match = re.fullmatch(r"(?:bytes=)?0-([0-9]{1,18})", str(response.headers.get("Range", "")))
            # "0-0" is said both for nothing and for one byte; beginning anew is right for either
            held = int(match[1]) + 1 if match else 0
            return self._registry.location(response), 0 if held <= 1 else held
