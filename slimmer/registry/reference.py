"""Names of images in registries: HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from slimmer.errors import SlimmerError

SCHEME = "docker://"
HUB = "docker.io"
# Docker Hub answers under another name than it is known by (distribution/reference, normalize.go).
HUB_ENDPOINT = "registry-1.docker.io"
HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?", re.ASCII)
REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*", re.ASCII)
TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
LONGEST_REPOSITORY = 255


@dataclass(frozen=True, slots=True)
class Reference:
    """One image in a registry. `host` is as written, "docker.io" when not; `tag` or `digest` is set, or both."""

    host: str
    repository: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """A name as skopeo or docker spell it, with or without "docker://". Raises SlimmerError."""
        rest = text.removeprefix(SCHEME)
        rest, at, digest = rest.partition("@")
        first, slash, path = rest.partition("/")
        if slash and ("." in first or ":" in first or first == "localhost"):
            host = first
        else:
            host, path = HUB, rest
        path, _, tag = path.partition(":")
        if host in (HUB, "index.docker.io", HUB_ENDPOINT):
            host = HUB
            path = path if "/" in path else f"library/{path}"
        wrong = (
            not HOST.fullmatch(host)
            or not REPOSITORY.fullmatch(path)
            or len(path) > LONGEST_REPOSITORY
            or (tag and not TAG.fullmatch(tag))
            or (at and not DIGEST.fullmatch(digest))
        )
        if wrong or rest.endswith(":"):
            raise SlimmerError(
                f"{text!r} is no name of an image in a registry",
                "write HOST/NAME:TAG or HOST/NAME@sha256:DIGEST, the name in small letters",
            )
        return cls(host, path, tag or ("" if digest else "latest"), digest)

    @property
    def name(self) -> str:
        """What to ask the registry for: the digest when there is one, as it says more."""
        return self.digest or self.tag

    @property
    def endpoint(self) -> str:
        """Host and port to speak to."""
        return HUB_ENDPOINT if self.host == HUB else self.host

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.host}/{self.repository}{tag}{digest}"


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this machine by its very name."""
    bare = host
    if host.startswith("[") or host.count(":") == 1:
        bare = re.sub(r":[0-9]+$", "", host).strip("[]")
    if bare == "localhost" or bare.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False
