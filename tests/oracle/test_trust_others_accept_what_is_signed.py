"""Signatures against verifiers that nobody here wrote: sigstore's for npm, securesystemslib, in-toto's own classes,
openssl; and statements in registries with and without the referrers API."""

from __future__ import annotations

import base64
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.roots import cache
from slimmer.cli.main import main
from slimmer.image.push import PushOptions, push
from slimmer.registry import document
from slimmer.registry.client import Registry, RegistryOptions
from slimmer.registry.reference import Reference
from slimmer.report.output import Output
from slimmer.trust.attach import FOLDER, SUFFIX, legacy_payload, push_signed, sign
from slimmer.trust.dsse import BUNDLE_TYPE, bundle, pre_authentication, read_bundle
from slimmer.trust.evidence import of_registry
from slimmer.trust.keys import KeyType, PrivateKey, new_key
from slimmer.trust.statements import Builder
from slimmer.trust.verify import Expectations, failed, verify
from tests.daemons import docker_registry
from tests.support import requires
from tests.unit.test_trust_signatures_hold_and_nothing_else_does import TREE, signed_output

VERIFIER = "@sigstore/verify@3"
SCRIPT = """
const { bundleFromJSON } = require('@sigstore/bundle');
const { Verifier, toSignedEntity, toTrustMaterial } = require('@sigstore/verify');
const { crypto } = require('@sigstore/core');
const fs = require('fs');
const key = crypto.createPublicKey(fs.readFileSync(process.argv[2], 'utf8'));
const root = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [], mediaType: '' };
const material = toTrustMaterial(root, () => ({ publicKey: key, validFor: () => true }));
const verifier = new Verifier(material, { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 });
for (const file of process.argv.slice(3)) {
  try {
    verifier.verify(toSignedEntity(bundleFromJSON(JSON.parse(fs.readFileSync(file)))));
    console.log('accepted');
  } catch (error) { console.log('refused ' + error.message); }
}
"""


@pytest.fixture(scope="module", params=list(KeyType))
def key(request: pytest.FixtureRequest) -> PrivateKey:
    return new_key(request.param)


@pytest.fixture(scope="module")
def output(key: PrivateKey, tmp_path_factory: pytest.TempPathFactory) -> Output:
    home = tmp_path_factory.mktemp("signed")
    return signed_output(home / "out", home / "root", TREE, key)


def bundles(output: Output) -> list[Path]:
    return sorted((output.directory / FOLDER).glob(f"*{SUFFIX}"))


def npm_verifier() -> Path:
    """A directory with sigstore's verifier for node, from npm's registry, kept between runs."""
    if shutil.which("npm") is None:
        pytest.skip("npm, which brings sigstore's verifier, is not installed")
    home = cache() / "tools" / "sigstore-verify"
    if not (home / "node_modules/@sigstore/verify").is_dir():
        home.mkdir(parents=True, exist_ok=True)
        (home / "package.json").write_text('{"private": true}')
        done = subprocess.run(
            ["npm", "install", "--silent", "--no-audit", "--no-fund", VERIFIER],
            cwd=home,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            pytest.skip(f"sigstore's verifier is not to be had: {done.stderr.strip()[-300:]}")
    return home


def test_sigstores_verifier_accepts_our_bundles_and_refuses_each_tampering(
    key: PrivateKey, output: Output, tmp_path: Path
) -> None:
    home = npm_verifier()
    (tmp_path / "key.pub").write_bytes(key.public.pem)
    files = bundles(output)
    tampered = []
    for file in files:
        value = json.loads(file.read_text())
        for change in ("payload", "signature"):
            envelope = json.loads(json.dumps(value))
            if change == "payload":
                data = bytearray(base64.b64decode(envelope["dsseEnvelope"]["payload"]))
                data[-3] ^= 1
                envelope["dsseEnvelope"]["payload"] = base64.b64encode(bytes(data)).decode()
            else:
                data = bytearray(base64.b64decode(envelope["dsseEnvelope"]["signatures"][0]["sig"]))
                data[-1] ^= 1
                envelope["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(bytes(data)).decode()
            tampered.append(tmp_path / f"{file.name}.{change}")
            tampered[-1].write_text(json.dumps(envelope))
    done = subprocess.run(
        ["node", "-e", SCRIPT, "x", tmp_path / "key.pub", *files, *tampered],
        cwd=home,
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    assert lines[: len(files)] == ["accepted"] * len(files), done.stdout + done.stderr
    assert len(lines) == len(files) + len(tampered)
    assert all(line.startswith("refused") for line in lines[len(files) :])


def test_securesystemslib_verifies_the_envelope(key: PrivateKey, output: Output) -> None:
    dsse = pytest.importorskip("securesystemslib.dsse")
    signer = pytest.importorskip("securesystemslib.signer")
    public = signer.SSlibKey.from_crypto(key.public.key)
    for file in bundles(output):
        value = json.loads(file.read_text())["dsseEnvelope"]
        value["signatures"][0]["keyid"] = public.keyid  # it looks keys up by this field, which DSSE leaves open
        found = dsse.Envelope.from_dict(value)
        assert found.verify([public], 1)
        found.payload += b" "
        with pytest.raises(Exception, match=r"threshold|verify|signature"):
            found.verify([public], 1)


def test_in_totos_classes_take_the_statements(output: Output) -> None:
    attestation = pytest.importorskip("in_toto_attestation.v1.statement")
    json_format = pytest.importorskip("google.protobuf.json_format")
    provenance_pb = pytest.importorskip("in_toto_attestation.predicates.provenance.v1.provenance_pb2")
    from in_toto_attestation.v1 import statement_pb2

    for file in bundles(output):
        payload = base64.b64decode(json.loads(file.read_text())["dsseEnvelope"]["payload"])
        parsed = json_format.Parse(payload, statement_pb2.Statement())
        attestation.Statement.copy_from_pb(parsed).validate()
        if file.name.startswith("provenance"):
            predicate = provenance_pb.Provenance()
            json_format.Parse(json.dumps(json.loads(payload)["predicate"]), predicate)
            assert predicate.run_details.builder.id == "urn:slimmer:builder:local"
            assert {each.name for each in predicate.build_definition.resolved_dependencies} >= {"source", "recipe.toml"}


@requires("openssl")
def test_openssl_verifies_the_signature(key: PrivateKey, output: Output, tmp_path: Path) -> None:
    envelope = read_bundle(bundles(output)[0].read_bytes(), "bundle")
    (tmp_path / "key.pub").write_bytes(key.public.pem)
    (tmp_path / "signed").write_bytes(pre_authentication(envelope.payload_type, envelope.payload))
    (tmp_path / "sig").write_bytes(envelope.signatures[0])
    raw = ["-rawin", "-digest", "sha256"] if key.public.type is KeyType.ECDSA_P256 else ["-rawin"]
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.pub", *raw, "-in", "signed", "-sigfile", "sig"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@requires("docker-registry")
def test_a_registry_without_referrers_holds_the_statements_by_the_fallback_tag(
    key: PrivateKey, output: Output, tmp_path: Path
) -> None:
    with docker_registry(tmp_path / "registry") as server:
        _pushed_is_verified(key, output, f"{server.host}/team/app:1")
        with Registry(Reference.parse(f"{server.host}/team/app:1")) as client:
            digest = client.manifest_digest("1")
            assert digest is not None
            assert client.manifest_digest(digest.replace(":", "-")) is not None


def test_a_registry_with_the_referrers_api_lists_the_statements(key: PrivateKey, output: Output) -> None:
    with _SmallRegistry() as host:
        _pushed_is_verified(key, output, f"{host}/team/app:1")


def _pushed_is_verified(key: PrivateKey, output: Output, name: str) -> None:
    reference = Reference.parse(name)
    push(output.directory / "image", reference)
    sent = push_signed(output, reference, PushOptions())
    assert len(sent) == len(bundles(output)) + 1
    evidence = of_registry(reference, RegistryOptions())
    assert len(evidence.bundles) == len(bundles(output))
    assert set(evidence.record) == {"manifest.json", "recording.json", "recipe.toml"}
    steps = verify(evidence, key.public, Expectations(builders=("urn:slimmer:*",)))
    assert not failed(steps), steps
    assert failed(verify(evidence, new_key(KeyType.ED25519).public, Expectations()))
    # Sent again, nothing is listed twice.
    push_signed(output, reference, PushOptions())
    assert len(of_registry(reference, RegistryOptions()).bundles) == len(bundles(output))


@requires("docker-registry")
def test_cosigns_first_form_is_as_its_specification_says(
    key: PrivateKey, output: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if key.public.type is not KeyType.ECDSA_P256:
        pytest.skip("cosign's keys are of P-256")
    (tmp_path / "slim.key").write_bytes(key.pem())
    with docker_registry(tmp_path / "registry") as server:
        name = f"docker://{server.host}/team/app:1"
        words = ["push", str(output.directory), name, "-q", "--cosign-legacy", str(tmp_path / "slim.key")]
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code in (0, None)
        with Registry(Reference.parse(name)) as client:
            digest = client.manifest_digest("1")
            assert digest is not None
            found = json.loads(client.manifest(f"{digest.replace(':', '-')}.sig").data)
            (layer,) = found["layers"]
            assert layer["mediaType"] == "application/vnd.dev.cosign.simplesigning.v1+json"
            payload = b"".join(client.blob(layer["digest"], layer["size"]))
    value = json.loads(payload)
    assert value["critical"]["image"] == {"docker-manifest-digest": digest}
    assert value["critical"]["type"] == "cosign container image signature"
    assert value["critical"]["identity"] == {"docker-reference": f"{server.host}/team/app"}
    assert payload == legacy_payload(Reference.parse(name), digest)
    assert key.public.verifies(base64.b64decode(layer["annotations"]["dev.cosignproject.cosign/signature"]), payload)


class _SmallRegistry:
    """distribution-spec 1.1 as far as a push, a pull and the referrers API go; written from its text."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[bytes, str]] = {}
        self.referrers: dict[str, list[dict[str, Any]]] = {}

    def __enter__(self) -> str:
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *words: object) -> None: ...

            def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") == "chunked":
                    data = b""
                    while size := int(self.rfile.readline(), 16):
                        data += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                    return data
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))

            def do_GET(self) -> None:
                kind, _, name = self.path.partition("?")[0].removeprefix("/v2/team/app/").partition("/")
                if kind == "blobs" and name in registry.blobs:
                    self.answer(200, registry.blobs[name])
                elif kind == "manifests" and name in registry.manifests:
                    data, media = registry.manifests[name]
                    self.answer(200, data, Content_Type=media, Docker_Content_Digest=document.digest(data))
                elif kind == "referrers":
                    rows = registry.referrers.get(name, [])
                    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json"}
                    self.answer(200, json.dumps({**index, "manifests": rows}).encode(), Content_Type=index["mediaType"])  # type: ignore[arg-type]
                else:
                    self.answer(200 if self.path == "/v2/" else 404)

            do_HEAD = do_GET  # noqa: N815  the library's own name

            def do_POST(self) -> None:
                self.body()
                self.answer(202, Location="/v2/team/app/blobs/uploads/1")

            def do_PUT(self) -> None:
                data = self.body()
                digest = document.digest(data)
                found = re.search(r"digest=(sha256(?::|%3A)[0-9a-f]+)", self.path)
                if found:
                    registry.blobs[found[1].replace("%3A", ":")] = data
                    self.answer(201, Docker_Content_Digest=digest)
                    return
                name, value = self.path.rpartition("/")[2], json.loads(data)
                for each in (name, digest):
                    registry.manifests[each] = (data, self.headers["Content-Type"])
                headers = {}
                if subject := value.get("subject"):
                    row = {"mediaType": value["mediaType"], "digest": digest, "size": len(data)}
                    rows = registry.referrers.setdefault(subject["digest"], [])
                    if all(each["digest"] != digest for each in rows):
                        rows.append({**row, "artifactType": value.get("artifactType", "")})
                    headers["OCI_Subject"] = subject["digest"]
                self.answer(201, Docker_Content_Digest=digest, **headers)

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(autouse=True)
def _no_passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLIMMER_KEY_PASSPHRASE", raising=False)


def test_a_bundle_of_somebody_else_is_refused(output: Output) -> None:
    stranger = new_key(KeyType.ED25519)
    evidence = _with(output, bundle(stranger, b'{"_type": "https://in-toto.io/Statement/v1"}'))
    assert failed(verify(evidence, stranger.public, Expectations()))


def _with(output: Output, data: bytes) -> Any:
    from slimmer.trust.evidence import of_output

    return replace(of_output(output), bundles={"theirs": data})


def test_an_image_that_is_signed_again_has_one_set_of_statements(key: PrivateKey, output: Output) -> None:
    before = {file.name: file.read_bytes() for file in bundles(output)}
    sign(output, key, Builder())
    after = {file.name: file.read_bytes() for file in bundles(output)}
    assert before.keys() == after.keys()
    if key.deterministic:
        assert before == after
    assert sorted(os.listdir(output.directory / FOLDER)) == sorted([*before, "layout"])
    types = {json.loads(data)["mediaType"] for data in after.values()}
    assert types == {BUNDLE_TYPE}
