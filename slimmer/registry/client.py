"""A client for registries (distribution-spec), shared by pull and push.

One host, one client. What it sees to: bearer and basic authorization, retries with
backoff, digests and sizes verified, redirects that never carry credentials to
another host, TLS always but for loopback or by explicit wish, and that no secret
reaches a message.
"""

from __future__ import annotations

import enum
import hashlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import httpx

from slimmer.errors import SlimmerError
from slimmer.registry import credentials as store
from slimmer.registry import document
from slimmer.registry.authorization import Authorization, Scope
from slimmer.registry.credentials import Credentials
from slimmer.registry.reference import Reference, is_loopback
from slimmer.registry.transport import Pace, Retry, Transient, tls_context

LARGEST_MANIFEST = document.LARGEST
MOST_REDIRECTS = 5
# Both write whole URLs, where a query may be a secret, to the log.
for _library in ("httpx", "httpcore"):
    logging.getLogger(_library).setLevel(logging.WARNING)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
OCTETS = "application/octet-stream"
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)


class Access(enum.Enum):
    """What is asked for; the actions of a token's scope."""

    PULL = "pull"
    PUSH = "pull,push"


@dataclass(frozen=True, slots=True)
class RegistryOptions:
    """How to speak to a registry.

    `insecure` allows plain HTTP and unknown certificates. `credentials` None: docker's and
    podman's files are asked. `transport`, `sleep` and `environ` are for tests.
    """

    insecure: bool = False
    credentials: Credentials | None = None
    retry: Retry = field(default_factory=Retry)
    timeout: float = 60.0  # seconds without a byte
    transport: httpx.BaseTransport | None = None
    sleep: Callable[[float], None] = time.sleep
    environ: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or index as the registry gave it, verified against `digest`."""

    data: bytes
    media_type: str
    digest: str


class _BrokenBody(Transient):
    """An answer that ended too early."""


class Registry:
    """A client for the repository of one reference. Use in `with`; methods raise SlimmerError."""

    def __init__(self, reference: Reference, options: RegistryOptions | None = None) -> None:
        self.reference = reference
        self._options = options or RegistryOptions()
        environ = self._options.environ if self._options.environ is not None else os.environ
        chosen = self._options.credentials or store.find(reference, environ)
        self._client = httpx.Client(
            transport=self._options.transport,
            verify=tls_context(reference.endpoint, verify=not self._options.insecure),
            timeout=httpx.Timeout(self._options.timeout, connect=15.0),
            headers={"User-Agent": "slimmer"},
            trust_env=not is_loopback(reference.endpoint),  # no proxy in between
        )
        self._authorization = Authorization(chosen, self._client.send, self._plain)
        self._base: httpx.URL | None = None

    def _plain(self, host: str) -> bool:
        """Whether a host may be spoken to without TLS."""
        return self._options.insecure or is_loopback(host)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    # Manifests

    def manifest(self, name: str, accept: Iterable[str] = MANIFEST_TYPES) -> Manifest:
        """A manifest by tag or digest. Raises SlimmerError when there is none or it is not what its digest says."""
        for attempt in range(1, self._options.retry.attempts + 1):
            try:
                with self.ask("GET", f"manifests/{name}", headers={"Accept": ", ".join(accept)}) as response:
                    self.expect(response, 200, what=f"the manifest {name}")
                    data = self._body(response, f"the manifest {name}")
                    break
            except _BrokenBody:
                if attempt == self._options.retry.attempts:
                    raise
                self._options.sleep(self._options.retry.pause(attempt))
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        digest = document.digest(data)
        wanted = name if DIGEST.fullmatch(name) else response.headers.get("Docker-Content-Digest", digest)
        if digest != wanted:
            raise SlimmerError(f"{self.reference}: the manifest {name} is {digest}, not {wanted} as announced")
        return Manifest(data, media_type, digest)

    def manifest_digest(self, name: str, accept: Iterable[str] = MANIFEST_TYPES) -> str | None:
        """The digest that a tag or digest stands for, as the registry says; None when there is no such manifest."""
        with self.ask("HEAD", f"manifests/{name}", headers={"Accept": ", ".join(accept)}) as response:
            if response.status_code == 404:
                return None
            self.expect(response, 200, what=f"the manifest {name}")
            found = str(response.headers.get("Docker-Content-Digest", ""))
        return found if DIGEST.fullmatch(found) else self.manifest(name, accept).digest

    def put_manifest(self, name: str, data: bytes, media_type: str) -> Mapping[str, str]:
        """Store a manifest under a tag or its digest; the answer's headers, keys in small letters."""
        digest = document.digest(data)
        with self.ask(
            "PUT", f"manifests/{name}", access=Access.PUSH, headers={"Content-Type": media_type}, content=data
        ) as response:
            self.expect(response, 201, what=f"the manifest {name}")
            stored = response.headers.get("Docker-Content-Digest", digest)
            headers = {key.lower(): value for key, value in response.headers.items()}
        if stored != digest:
            raise SlimmerError(f"{self.reference}: the registry stored the manifest as {stored}, not {digest}")
        return headers

    # Blobs

    def has_blob(self, digest: str, access: Access = Access.PULL) -> bool:
        with self.ask("HEAD", f"blobs/{digest}", access=access) as response:
            if response.status_code == 404:
                return False
            self.expect(response, 200, what=f"the blob {digest}")
            return True

    def blob(self, digest: str, size: int) -> Iterator[bytes]:
        """A blob's bytes, taken up again where the connection broke. Raises SlimmerError, at the end at the
        latest, unless they are `size` bytes with this digest: use nothing of it before the end."""
        if not DIGEST.fullmatch(digest):
            raise SlimmerError(f"{self.reference}: {digest!r} is no sha256 digest")
        hasher = hashlib.sha256()
        received = 0
        failures = 0
        pace = Pace()
        while True:
            headers = {"Range": f"bytes={received}-"} if received else {}
            before = received
            try:
                with self.ask("GET", f"blobs/{digest}", headers={**headers, "Accept-Encoding": "identity"}) as response:
                    self.expect(response, 200, 206, what=f"the blob {digest}")
                    skip = received if response.status_code == 200 else 0
                    for data in response.iter_raw():
                        if skip:
                            skip, data = max(0, skip - len(data)), data[skip:]
                        received += len(data)
                        pace.keep(received, f"{self.reference}: the blob {digest[:19]}")
                        if received > size:
                            raise SlimmerError(f"{self.reference}: the blob {digest} is longer than {size} bytes")
                        hasher.update(data)
                        yield data
                        pace.resume()
                break
            except httpx.TransportError as error:
                failures = 0 if received > before else failures + 1
                if failures >= self._options.retry.attempts:
                    raise self._unreachable(error) from None
                self._options.sleep(self._options.retry.pause(failures))
        if received != size or f"sha256:{hasher.hexdigest()}" != digest:
            raise SlimmerError(
                f"{self.reference}: the blob {digest} is damaged: {received} of {size} bytes, "
                f"digest sha256:{hasher.hexdigest()}"
            )

    # Requests

    @contextmanager
    def ask(
        self,
        method: str,
        path: str,
        *,
        access: Access = Access.PULL,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        mount_from: str = "",
    ) -> Iterator[httpx.Response]:
        """One answer for a path below the repository, as `send` gives it."""
        url = self._base_url().join(f"/v2/{self.reference.repository}/{path}")
        with self.send(method, url, access=access, headers=headers, content=content, mount_from=mount_from) as response:
            yield response

    @contextmanager
    def send(
        self,
        method: str,
        url: httpx.URL,
        *,
        access: Access,
        headers: Mapping[str, str] | None = None,
        content: bytes | Callable[[], Iterable[bytes]] | None = None,
        retry: bool = True,
        mount_from: str = "",
    ) -> Iterator[httpx.Response]:
        """One answer, after authorization, retries and redirects. The body is not read yet.

        With `retry` False a broken connection is Transient at once: a half-sent body may have arrived.
        """
        scopes = [Scope(self.reference.repository, access.value)]
        if mount_from:
            scopes.append(Scope(mount_from, Access.PULL.value))
        response = self._answer(method, url, tuple(scopes), headers or {}, content, retry)
        try:
            yield response
        finally:
            response.close()

    def _answer(
        self,
        method: str,
        url: httpx.URL,
        scopes: tuple[Scope, ...],
        headers: Mapping[str, str],
        content: bytes | Callable[[], Iterable[bytes]] | None,
        retry: bool,
    ) -> httpx.Response:
        challenged = False
        redirects = 0
        attempt = 0
        home = self._base_url()
        while True:
            own = (url.scheme, url.host, url.port) == (home.scheme, home.host, home.port)
            sent = dict(headers)
            if own:
                sent |= self._authorization.headers(scopes)
            body = content() if callable(content) else content
            try:
                response = self._client.send(
                    self._client.build_request(method, url, headers=sent, content=body), stream=True
                )
            except httpx.TransportError as error:
                attempt += 1
                if not retry or attempt >= self._options.retry.attempts:
                    raise self._unreachable(error) from None
                self._options.sleep(self._options.retry.pause(attempt))
                continue
            status = response.status_code
            if status == 401 and own and not challenged:
                challenged = True
                if self._authorization.challenge(response.headers.get_list("WWW-Authenticate"), scopes, url):
                    response.close()
                    continue
            elif status in (301, 302, 303, 307, 308) and method in ("GET", "HEAD"):
                redirects += 1
                response.close()
                target = url.join(response.headers.get("Location", ""))
                if redirects > MOST_REDIRECTS or not self._may_visit(target):
                    raise SlimmerError(f"{self.reference}: the registry redirects to where this may not go")
                url = target
                continue
            elif self._options.retry.worth(status) and retry:
                attempt += 1
                if attempt < self._options.retry.attempts:
                    pause = self._options.retry.pause(attempt, response.headers.get("Retry-After", ""))
                    response.close()
                    self._options.sleep(pause)
                    continue
            return response

    def _base_url(self) -> httpx.URL:
        """https, or http where that is allowed and TLS is not spoken there. Found out once."""
        if self._base is None:
            endpoint = self.reference.endpoint
            self._base = httpx.URL(f"https://{endpoint}")
            if self._plain(endpoint):
                try:
                    self._client.get(f"https://{endpoint}/v2/", timeout=10.0)
                except httpx.ConnectError as error:
                    if "CERTIFICATE" not in str(error):
                        self._base = httpx.URL(f"http://{endpoint}")
                except httpx.TransportError:
                    self._base = httpx.URL(f"http://{endpoint}")
        return self._base

    def _may_visit(self, url: httpx.URL) -> bool:
        return url.scheme == "https" or (url.scheme == "http" and self._base_url().scheme == "http")

    def location(self, response: httpx.Response) -> httpx.URL:
        """Where an answer says to go on. Raises SlimmerError when that is nowhere, or plain where TLS was."""
        location = response.headers.get("Location", "")
        url = response.request.url.join(location)
        if not location or not self._may_visit(url):
            raise SlimmerError(f"{self.reference}: the registry names no place to upload to")
        return url

    def _body(self, response: httpx.Response, what: str) -> bytes:
        data = bytearray()
        try:
            for part in response.iter_bytes():
                data += part
                if len(data) > LARGEST_MANIFEST:
                    raise SlimmerError(f"{self.reference}: {what} is larger than {LARGEST_MANIFEST} bytes")
        except httpx.TransportError as error:
            raise _BrokenBody(f"{self.reference}: the answer broke off: {type(error).__name__}") from None
        return bytes(data)

    def expect(self, response: httpx.Response, *statuses: int, what: str) -> None:
        """Raises SlimmerError, with the registry's own words where they are fit, unless the status is one of these."""
        if response.status_code in statuses:
            return
        status = response.status_code
        hint = ""
        if status in (401, 403):
            hint = f"log in with `podman login {self.reference.host}` or `docker login {self.reference.host}`"
            if self._authorization.anonymous:
                hint = f"no credentials were found for {self.reference.host}: {hint}"
        elif status == 404:
            hint = "check the name and the tag; some registries say this too when one may not look"
        answer = f"{status} {response.reason_phrase}{self._said(response)}"
        kind = Transient if self._options.retry.worth(status) else SlimmerError
        raise kind(f"{self.reference}: the registry answers {answer} for {what}", hint)

    def _said(self, response: httpx.Response) -> str:
        """The registry's own words, without secrets and without what could command a terminal."""
        try:
            node = document.load(self._body(response, "the error"), "the error").get("errors").items()
            text = "; ".join(f"{each.get('code').text('')}: {each.get('message').text('')}" for each in node)
        except SlimmerError:
            return ""
        text = "".join(character for character in self._authorization.scrub(text) if character.isprintable())
        return f" ({text[:300]})" if text else ""

    def _unreachable(self, error: httpx.TransportError) -> Transient:
        reason = self._authorization.scrub(str(error)) or type(error).__name__
        hint = "check the name and the network"
        if "CERTIFICATE" in reason or "SSL" in reason:
            hint = "give the registry a certificate that this machine trusts, or allow any with --insecure"
        return Transient(f"cannot reach the registry {self.reference.endpoint}: {reason}", hint)
