"""What speaks of an image in a registry: the referrers API, or the fallback tag where a registry has none.

Source: distribution-spec, "Listing Referrers" and "Referrers Tag Schema".
"""

from __future__ import annotations

from dataclasses import dataclass

from slimmer.registry import document
from slimmer.registry.client import Registry

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MOST = 1000  # referrers that are looked at
MOST_PAGES = 50


@dataclass(frozen=True, slots=True)
class Referrer:
    """A manifest that names another one as its subject."""

    digest: str
    artifact_type: str


def referrers(registry: Registry, subject: str) -> tuple[Referrer, ...]:
    """Those of a digest, in the registry's order; empty when there are none. Raises SlimmerError."""
    found: list[Referrer] = []
    path = f"referrers/{subject}"
    for _ in range(MOST_PAGES):
        with registry.ask("GET", path, headers={"Accept": INDEX_TYPE}) as response:
            if response.status_code == 404:
                return _tagged(registry, subject)
            registry.expect(response, 200, what=f"the referrers of {subject}")
            found += _listed(response.read(), f"the referrers of {subject}")
            following = response.links.get("next", {}).get("url", "")
        query = following.partition("?")[2]
        if not query or len(found) > MOST:
            break
        path = f"referrers/{subject}?{query}"
    return tuple(found[:MOST])


def _tagged(registry: Registry, subject: str) -> tuple[Referrer, ...]:
    tag = subject.replace(":", "-", 1)
    if registry.manifest_digest(tag) is None:
        return ()
    return tuple(_listed(registry.manifest(tag).data, f"the index {tag}")[:MOST])


def _listed(data: bytes, what: str) -> list[Referrer]:
    rows = document.load(data, what).get("manifests").items()
    return [Referrer(row.get("digest").text(), row.get("artifactType").text("")) for row in rows]
