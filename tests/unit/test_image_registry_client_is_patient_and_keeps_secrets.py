"""The registry client against a registry made of a function: authorization, retries, redirects, damaged answers."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from slimmer.errors import SlimmerError
from slimmer.image.layout import Descriptor
from slimmer.image.push import BlobStatus, Progress, PushOptions, push_blob, push_referrer
from slimmer.registry.client import Registry, RegistryOptions
from slimmer.registry.credentials import Credentials
from slimmer.registry.reference import Reference, is_loopback
from slimmer.registry.transport import Pace, Retry

HOST = "registry.example"
REFERENCE = Reference.parse(f"{HOST}/team/app:1")
SECRET, TOKEN = "hunter2-the-password", "t0ken-that-nobody-sees"
DATA = b"a layer of some bytes " * 1000
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
MANIFEST = b'{"schemaVersion":2}'
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


@dataclass
class Server:
    """Answers requests by a function and remembers them."""

    answer: Callable[[httpx.Request], httpx.Response]
    seen: list[httpx.Request] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.seen.append(request)
        return self.answer(request)

    def client(self, reference: Reference = REFERENCE, **options: object) -> Registry:
        return Registry(reference, self.options(**options))

    def options(self, **options: object) -> RegistryOptions:
        chosen: dict[str, object] = {"environ": {"HOME": "/nonexistent"}, "retry": Retry(4, 0.5), **options}
        return RegistryOptions(transport=httpx.MockTransport(self), sleep=self.slept.append, **chosen)  # type: ignore[arg-type]


def challenge(text: str) -> httpx.Response:
    return httpx.Response(401, headers={"WWW-Authenticate": text})


def bearer(request: httpx.Request) -> httpx.Response:
    """A registry that sends one elsewhere for a token."""
    if request.url.host == "auth.example":
        return httpx.Response(200, json={"token": TOKEN})
    if request.headers.get("Authorization") != f"Bearer {TOKEN}":
        return challenge('Bearer realm="https://auth.example/token?account=x",service="the, registry"')
    return httpx.Response(200, content=MANIFEST, headers={"Content-Type": f"{MANIFEST_TYPE}; charset=utf-8"})


def test_a_token_is_fetched_once_with_the_credentials_and_used_until_refused() -> None:
    server = Server(bearer)
    with server.client(credentials=Credentials("me", SECRET)) as registry:
        found = registry.manifest("1")
        registry.manifest("1")
    assert (found.data, found.media_type) == (MANIFEST, MANIFEST_TYPE)
    assert [request.url.host for request in server.seen] == [HOST, "auth.example", HOST, HOST]
    asked = server.seen[1]
    assert dict(asked.url.params) == {"account": "x", "service": "the, registry", "scope": "repository:team/app:pull"}
    assert asked.headers["Authorization"] == "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()


def test_an_identity_token_is_exchanged_and_an_anonymous_visitor_sends_none() -> None:
    server = Server(bearer)
    with server.client(credentials=Credentials(identity_token=SECRET)) as registry:
        registry.manifest("1")
    form = dict(httpx.QueryParams(server.seen[1].content.decode()))
    assert (server.seen[1].method, form["refresh_token"], form["grant_type"]) == ("POST", SECRET, "refresh_token")
    server = Server(bearer)
    with server.client() as registry:
        registry.manifest("1")
    assert "Authorization" not in server.seen[1].headers


def test_basic_is_used_where_it_is_asked_for() -> None:
    expected = Credentials("me", SECRET).basic()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers.get("Authorization") != expected:
            return challenge('Basic realm="x"')
        return httpx.Response(200, content=MANIFEST)

    server = Server(answer)
    with server.client(credentials=Credentials("me", SECRET)) as registry:
        registry.manifest("1")
        registry.manifest("1")
    assert len(server.seen) == 3  # refused once, then known


@pytest.mark.parametrize("realm", ["http://auth.example/token", "file:///etc/passwd", "", "https://"])
def test_a_token_is_never_fetched_from_an_unsafe_place(realm: str) -> None:
    server = Server(lambda request: challenge(f'Bearer realm="{realm}"'))
    with (
        server.client(credentials=Credentials("me", SECRET)) as registry,
        pytest.raises(SlimmerError, match="names no safe place"),
    ):
        registry.manifest("1")
    assert len(server.seen) == 1


def test_wrong_credentials_are_one_message_without_the_secret() -> None:
    for text in ('Basic realm="x"', 'Bearer realm="https://auth.example/t"'):

        def answer(request: httpx.Request, text: str = text) -> httpx.Response:
            body = {"errors": [{"code": "DENIED", "message": f"no {SECRET}\x1b[31m https://a.example/x?sig={TOKEN}"}]}
            return httpx.Response(401, json=body, headers={"WWW-Authenticate": text})

        server = Server(answer)
        with (
            server.client(credentials=Credentials("me", SECRET)) as registry,
            pytest.raises(SlimmerError) as caught,
        ):
            registry.manifest("1")
        assert SECRET not in str(caught.value)
        assert TOKEN not in str(caught.value)
        assert "\x1b" not in str(caught.value)
        assert "401" in caught.value.message
        assert "log in" in caught.value.hint
        assert len(server.seen) == 2


def test_a_redirect_to_another_host_carries_no_credentials_and_one_to_plain_http_is_not_followed() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == HOST and "Authorization" not in request.headers:
            return challenge('Basic realm="x"')
        if request.url.host == HOST:
            return httpx.Response(307, headers={"Location": f"{place}/blob?signature=secret"})
        return httpx.Response(200, stream=httpx.ByteStream(DATA))

    place = "https://cdn.example"
    server = Server(answer)
    with server.client(credentials=Credentials("me", SECRET)) as registry:
        assert b"".join(registry.blob(DIGEST, len(DATA))) == DATA
    assert "Authorization" not in server.seen[-1].headers
    place = "http://cdn.example"
    with (
        server.client(credentials=Credentials("me", SECRET)) as registry,
        pytest.raises(SlimmerError, match="redirects to where this may not go"),
    ):
        list(registry.blob(DIGEST, len(DATA)))


def test_a_registry_that_redirects_for_ever_is_left() -> None:
    server = Server(lambda request: httpx.Response(302, headers={"Location": "/again"}))
    with server.client() as registry, pytest.raises(SlimmerError, match="redirects"):
        registry.manifest("1")
    assert len(server.seen) < 10


def test_what_may_pass_is_tried_again_later_and_later() -> None:
    answers = iter([httpx.Response(503), httpx.Response(429, headers={"Retry-After": "7"}), httpx.Response(502)])

    def answer(request: httpx.Request) -> httpx.Response:
        if len(server.seen) == 4:
            return httpx.Response(200, content=MANIFEST)
        return next(answers)

    server = Server(answer)
    with server.client() as registry:
        assert registry.manifest("1").data == MANIFEST
    first, second, third = server.slept
    assert 0.25 <= first <= 0.5
    assert second == 7
    assert 1 <= third <= 2


def test_it_gives_up_in_the_end_and_at_once_for_what_will_not_pass() -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("[Errno 111] Connection refused")

    server = Server(broken)
    with server.client() as registry, pytest.raises(SlimmerError, match=r"cannot reach the registry registry\.example"):
        registry.manifest("1")
    assert len(server.seen) == 4
    server = Server(lambda request: httpx.Response(404))
    with server.client() as registry, pytest.raises(SlimmerError, match="404"):
        registry.manifest("1")
    assert (len(server.seen), server.slept) == (1, [])


class Breaks(httpx.SyncByteStream):
    """A body whose connection ends too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __iter__(self) -> Iterator[bytes]:
        yield self._data
        raise httpx.ReadError("connection reset")


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on_where_it_broke(ranges: bool) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        start = int(request.headers.get("Range", "bytes=0-")[6:-1]) if ranges else 0
        rest = DATA[start:]
        if len(server.seen) < 3:
            return httpx.Response(200 if not start else 206, stream=Breaks(rest[:7000]))
        return httpx.Response(206 if start else 200, stream=httpx.ByteStream(rest))

    server = Server(answer)
    with server.client() as registry:
        assert b"".join(registry.blob(DIGEST, len(DATA))) == DATA
    asked = [request.headers.get("Range") for request in server.seen]
    assert asked == ([None, "bytes=7000-", "bytes=14000-"] if ranges else [None, "bytes=7000-", "bytes=7000-"])


def test_a_manifest_that_breaks_off_is_asked_for_again() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return (
            httpx.Response(200, stream=Breaks(MANIFEST[:5]))
            if len(server.seen) < 3
            else httpx.Response(200, content=MANIFEST)
        )

    server = Server(answer)
    with server.client() as registry:
        assert registry.manifest("1").data == MANIFEST
    assert len(server.slept) == 2


@pytest.mark.parametrize(
    ("body", "message"),
    [(DATA[:-1] + b"?", "is damaged"), (DATA[:-1], "is damaged"), (DATA + b"x", "is longer than")],
)
def test_a_damaged_blob_is_refused(body: bytes, message: str) -> None:
    server = Server(lambda request: httpx.Response(200, stream=httpx.ByteStream(body)))
    with server.client() as registry, pytest.raises(SlimmerError, match=message):
        list(registry.blob(DIGEST, len(DATA)))


def test_a_manifest_that_is_not_its_digest_or_too_large_is_refused() -> None:
    server = Server(lambda request: httpx.Response(200, content=MANIFEST))
    with server.client() as registry, pytest.raises(SlimmerError, match="as announced"):
        registry.manifest(DIGEST)
    lying = Server(lambda request: httpx.Response(200, content=MANIFEST, headers={"Docker-Content-Digest": DIGEST}))
    with lying.client() as registry, pytest.raises(SlimmerError, match="as announced"):
        registry.manifest("1")
    server = Server(lambda request: httpx.Response(200, content=b" " * (5 * 1024 * 1024)))
    with server.client() as registry, pytest.raises(SlimmerError, match="is larger than"):
        registry.manifest("1")


class Storage:
    """A registry that stores: enough of the distribution-spec for uploads, with accidents on demand."""

    def __init__(
        self, accidents: dict[tuple[str, int], httpx.Response | Exception] | None = None, least: int = 0
    ) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.part = b""
        self.steps: list[str] = []
        self.least = least
        self._accidents = accidents or {}
        self.server = Server(self.answer)

    def answer(self, request: httpx.Request) -> httpx.Response:
        path, method = request.url.path, request.method
        self.steps.append(method)
        accident = self._accidents.get((method, self.steps.count(method)))
        if isinstance(accident, Exception):
            self.part += request.content[:100]  # something of it arrived
            raise accident
        if accident is not None:
            return accident
        if "/manifests/" in path:
            name = path.rpartition("/")[2]
            if method == "PUT":
                self.manifests[name] = request.content
                return httpx.Response(201)
            if name not in self.manifests:
                return httpx.Response(404)
            return httpx.Response(200, content=self.manifests[name])
        if method == "HEAD":
            return httpx.Response(200 if path.rpartition("/")[2] in self.blobs else 404)
        if method == "POST":
            self.part = b""
            if request.url.params.get("from") == "base":
                return httpx.Response(201)
            headers = {"Location": "https://upload.example/u?state=s3cret"}
            return httpx.Response(
                202, headers=headers | ({"OCI-Chunk-Min-Length": str(self.least)} if self.least else {})
            )
        if method == "DELETE":
            return httpx.Response(204)
        state = {"Location": "/v2/u2?state=next", "Range": f"0-{len(self.part) - 1}"}
        if method == "GET":
            return httpx.Response(204, headers=state)
        if method == "PATCH":
            start, end = map(int, request.headers["Content-Range"].split("-"))
            if start != len(self.part) or end - start + 1 != len(request.content):
                return httpx.Response(416, headers=state)
            self.part += request.content
            return httpx.Response(202, headers=state | {"Range": f"0-{len(self.part) - 1}"})
        self.part += request.content
        digest = request.url.params["digest"]
        assert request.url.params["state"] in ("s3cret", "next")  # what the registry put there stays there
        if digest != f"sha256:{hashlib.sha256(self.part).hexdigest()}":
            return httpx.Response(400, json={"errors": [{"code": "DIGEST_INVALID", "message": "no"}]})
        self.blobs[digest] = self.part
        return httpx.Response(201)


def upload(storage: Storage, tmp_path: Path, **options: object) -> list[BlobStatus]:
    place = tmp_path / "blob"
    place.write_bytes(DATA)
    told: list[Progress] = []
    chosen = PushOptions(storage.server.options(), progress=told.append, **options)  # type: ignore[arg-type]
    with Registry(REFERENCE, chosen.registry) as registry:
        push_blob(registry, Descriptor("x", DIGEST, len(DATA)), place, chosen)
    assert told[-1].sent == len(DATA)
    return [each.how for each in told if each.how is not BlobStatus.SENDING]


def test_a_blob_goes_up_in_one_piece_without_credentials_for_the_other_host(tmp_path: Path) -> None:
    storage = Storage()
    assert upload(storage, tmp_path) == [BlobStatus.UPLOADED]
    assert storage.blobs == {DIGEST: DATA}
    assert storage.steps == ["HEAD", "POST", "PUT"]
    put = storage.server.seen[-1]
    assert (put.headers["Content-Length"], put.headers["Content-Type"]) == (str(len(DATA)), "application/octet-stream")
    assert "Transfer-Encoding" not in put.headers
    assert upload(storage, tmp_path) == [BlobStatus.EXISTS]


def test_a_blob_that_another_repository_holds_is_mounted(tmp_path: Path) -> None:
    storage = Storage()
    assert upload(storage, tmp_path, mount_from=("other", "base")) == [BlobStatus.MOUNTED]
    # the first repository had none: the upload that began instead is cancelled
    assert storage.steps == ["HEAD", "POST", "DELETE", "POST"]
    assert "Authorization" not in storage.server.seen[2].headers


def test_chunks_are_numbered_and_as_large_as_the_registry_wants_them(tmp_path: Path) -> None:
    storage = Storage(least=9000)
    assert upload(storage, tmp_path, chunk=100) == [BlobStatus.UPLOADED]
    ranges = [request.headers["Content-Range"] for request in storage.server.seen if request.method == "PATCH"]
    assert ranges == ["0-8999", "9000-17999", "18000-21999"]
    assert storage.blobs == {DIGEST: DATA}


def test_a_broken_chunk_goes_on_from_what_the_registry_holds(tmp_path: Path) -> None:
    storage = Storage({("PATCH", 2): httpx.WriteError("broken pipe"), ("PATCH", 4): httpx.Response(503)})
    assert upload(storage, tmp_path, chunk=8000) == [BlobStatus.UPLOADED]
    assert storage.blobs == {DIGEST: DATA}
    ranges = [request.headers["Content-Range"] for request in storage.server.seen if request.method == "PATCH"]
    assert ranges == ["0-7999", "8000-15999", "8100-16099", "16100-21999", "16100-21999"]


def test_a_broken_piece_begins_anew_and_a_refused_one_does_not(tmp_path: Path) -> None:
    storage = Storage({("PUT", 1): httpx.WriteError("broken pipe"), ("PUT", 2): httpx.Response(500)})
    assert upload(storage, tmp_path) == [BlobStatus.UPLOADED]
    assert storage.steps == ["HEAD", "POST", "PUT", "POST", "PUT", "POST", "PUT"]
    refusing = Storage({("PUT", 1): httpx.Response(403)})
    with pytest.raises(SlimmerError, match="403"):
        upload(refusing, tmp_path)
    assert refusing.steps.count("PUT") == 1


def test_a_referrer_brings_the_fallback_tag_up_to_date_only_where_the_registry_does_not() -> None:
    subject = Descriptor(MANIFEST_TYPE, DIGEST, 3)
    tag = DIGEST.replace(":", "-")

    def referrer(kind: str) -> bytes:
        return json.dumps(
            {"artifactType": kind, "annotations": {"a": kind}, "subject": {"digest": DIGEST, "size": 3}, "config": {}}
        ).encode()

    storage = Storage()
    with storage.server.client() as registry:
        first = push_referrer(registry, subject, referrer("one"), MANIFEST_TYPE)
        push_referrer(registry, subject, referrer("two"), MANIFEST_TYPE)
        push_referrer(registry, subject, referrer("one"), MANIFEST_TYPE)  # again: still once in the list
    index = json.loads(storage.manifests[tag])
    assert index["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert [(each["artifactType"], each["annotations"]) for each in index["manifests"]] == [
        ("two", {"a": "two"}),
        ("one", {"a": "one"}),
    ]
    assert storage.manifests[first] == referrer("one")
    knowing = Server(lambda request: httpx.Response(201, headers={"OCI-Subject": DIGEST}))
    with knowing.client() as registry:
        push_referrer(registry, subject, referrer("one"), MANIFEST_TYPE)
        with pytest.raises(SlimmerError, match="as its subject"):
            push_referrer(registry, Descriptor("x", "sha256:" + "0" * 64, 1), referrer("one"), MANIFEST_TYPE)
    assert len(knowing.seen) == 1


def test_no_url_and_no_header_reaches_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), Server(bearer).client(credentials=Credentials("me", SECRET)) as registry:
        registry.manifest("1")
    assert caplog.text == ""
    assert SECRET not in repr(Credentials("me", SECRET, SECRET, SECRET))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("docker://host.example/a/b:1", ("host.example", "a/b", "1", "")),
        ("host:5000/a", ("host:5000", "a", "latest", "")),
        ("localhost/a", ("localhost", "a", "latest", "")),
        ("[::1]:5000/a:t", ("[::1]:5000", "a", "t", "")),
        (f"host.example/a:1@{DIGEST}", ("host.example", "a", "1", DIGEST)),
        (f"host.example/a@{DIGEST}", ("host.example", "a", "", DIGEST)),
        ("debian", ("docker.io", "library/debian", "latest", "")),
        ("docker.io/debian:12", ("docker.io", "library/debian", "12", "")),
        ("index.docker.io/user/x", ("docker.io", "user/x", "latest", "")),
        ("user/x", ("docker.io", "user/x", "latest", "")),
    ],
)
def test_references_are_read_as_docker_reads_them(text: str, expected: tuple[str, str, str, str]) -> None:
    found = Reference.parse(text)
    assert (found.host, found.repository, found.tag, found.digest) == expected
    assert Reference.parse(str(found)) == found


@pytest.mark.parametrize(
    "text", ["", "Upper/x", "host.example/", "host.example/a:", "host.example/a@sha256:12", "a b", "host.example/a//b",
             "host.example/a:t:u", "host.example/../x", "user@host.example/a", "host.example:port/a", "x" * 300]
)  # fmt: skip
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(SlimmerError, match="is no name of an image in a registry"):
        Reference.parse(text)


def test_only_this_machine_is_loopback() -> None:
    assert all(map(is_loopback, ("localhost", "localhost:5000", "127.0.0.1:80", "127.8.8.8", "[::1]:5000", "::1")))
    assert not any(map(is_loopback, ("localhost.example", "10.0.0.1:5000", "registry", "127.0.0.1.example", "[::2]:1")))
    assert Reference.parse("debian").endpoint == "registry-1.docker.io"


def test_loopback_falls_back_to_plain_http_and_others_only_when_told() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.scheme == "https":
            raise httpx.ConnectError("[SSL: WRONG_VERSION_NUMBER] wrong version number")
        return httpx.Response(200, content=MANIFEST)

    with Server(answer).client(Reference.parse("127.0.0.1:5000/a")) as registry:
        assert registry.manifest("1").data == MANIFEST
    with Server(answer).client(insecure=True) as registry:
        assert registry.manifest("1").data == MANIFEST
    with Server(answer).client() as registry, pytest.raises(SlimmerError) as caught:
        registry.manifest("1")
    assert "--insecure" in caught.value.hint


def test_a_download_that_drips_is_given_up_and_a_slow_one_is_not() -> None:
    now = 0.0
    slow, dripping = Pace(lambda: now), Pace(lambda: now)
    for turn in range(1, 10):
        now = 100.0 * turn
        slow.keep(turn * 20_000, "slow")
    now = 1000.0
    dripping.resume()  # what the reader took does not count
    dripping.keep(10, "the blob")
    now = 1121.0
    with pytest.raises(SlimmerError, match="the blob comes too slowly: 11 bytes"):
        dripping.keep(11, "the blob")
