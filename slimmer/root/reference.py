"""`--image REF`: where an image is, spelled as skopeo spells it (containers-transports(5))."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from slimmer.errors import UsageProblem
from slimmer.root.codec import is_digest


class Transport(enum.StrEnum):
    OCI = "oci"
    OCI_ARCHIVE = "oci-archive"
    DOCKER_ARCHIVE = "docker-archive"
    REGISTRY = "docker"
    CONTAINERS_STORAGE = "containers-storage"
    DOCKER_DAEMON = "docker-daemon"
    STREAM = "-"
    DIRECTORY = "dir"


FORMS = (
    "oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME], docker://[HOST/]NAME[:TAG][@DIGEST], "
    "containers-storage:NAME, docker-daemon:NAME, - (a stream), dir:DIR"
)

# distribution's reference grammar: path components, tag.
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::\d{1,5})?")


@dataclass(frozen=True, slots=True)
class SourceReference:
    """`text` is what was typed. `path` is a file or directory, or the name a local tool knows.

    `name` chooses one image of several: a layout's ref name, an archive's tag, "@N" its N-th image.
    For a registry: `host` ("" is docker's usual one), `name` (the repository), `tag`, `digest`; one of
    the last two is not "".
    """

    text: str
    transport: Transport
    path: str = ""
    host: str = ""
    name: str = ""
    tag: str = ""
    digest: str = ""


def parse_reference(text: str) -> SourceReference:
    """Raises UsageProblem with the forms there are."""
    if text == "-" or text.startswith("-:"):
        return SourceReference(text, Transport.STREAM, name=text[2:])
    word, colon, rest = text.partition(":")
    try:
        transport = Transport(word)
    except ValueError:
        transport = Transport.STREAM
    if not colon or transport is Transport.STREAM:
        raise UsageProblem(f"--image {text!r}: no such kind of image", f"forms: {FORMS}")
    if not rest or "\0" in rest:
        raise UsageProblem(f"--image {text!r}: nothing after {word}:", f"forms: {FORMS}")
    match transport:
        case Transport.REGISTRY:
            return _registry(text, rest)
        case Transport.OCI | Transport.OCI_ARCHIVE | Transport.DOCKER_ARCHIVE:
            # As skopeo does: a path has no colon, so that a tag may have one.
            digest = ""
            head, _, tail = rest.rpartition("@")
            if is_digest(tail):
                rest, digest = head, tail
            path, _, name = rest.partition(":")
            if not path:
                raise UsageProblem(f"--image {text!r}: no path", f"forms: {FORMS}")
            return SourceReference(text, transport, path=path, name=name, digest=digest)
        case Transport.CONTAINERS_STORAGE | Transport.DOCKER_DAEMON | Transport.DIRECTORY:
            if rest.startswith("-"):  # would be an option to the tool that is asked
                raise UsageProblem(f"--image {text!r}: a name cannot begin with a dash")
            return SourceReference(text, transport, path=rest)
    raise AssertionError(transport)


def _registry(text: str, rest: str) -> SourceReference:
    if not rest.startswith("//"):
        raise UsageProblem(f"--image {text!r}: a registry is written docker://HOST/NAME", f"forms: {FORMS}")
    rest, _, digest = rest[2:].partition("@")
    host, slash, name = rest.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        host, name = "", rest  # docker's usual registry
    elif _HOST.fullmatch(host) is None:
        raise UsageProblem(f"--image {text!r}: {host!r} cannot be a host", "as in docker://registry.example:5000/app")
    name, _, tag = name.partition(":")
    if not name or any(_COMPONENT.fullmatch(part) is None for part in name.split("/")):
        raise UsageProblem(
            f"--image {text!r}: {name!r} cannot be a repository's name", "lower case, digits and . _ - /"
        )
    if tag and _TAG.fullmatch(tag) is None:
        raise UsageProblem(f"--image {text!r}: {tag!r} cannot be a tag")
    if digest and not is_digest(digest):
        raise UsageProblem(f"--image {text!r}: {digest!r} is not a digest", "as in @sha256: and 64 hex digits")
    return SourceReference(
        text, Transport.REGISTRY, host=host, name=name, tag=tag or ("" if digest else "latest"), digest=digest
    )
