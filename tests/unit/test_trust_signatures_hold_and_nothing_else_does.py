"""Keys, envelopes and statements: what was signed verifies, and no single changed byte does."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from slimmer.errors import SlimmerError
from slimmer.image.config import ImageConfig
from slimmer.image.layer import LayerOptions
from slimmer.image.layout import build_image, layout_in
from slimmer.recipe import Recipe
from slimmer.report.output import Output, open_output
from slimmer.root.directory import DirectoryRoot
from slimmer.trust.attach import FOLDER, SUFFIX, sign
from slimmer.trust.dsse import bundle, pre_authentication, read_bundle, verified
from slimmer.trust.evidence import of_output
from slimmer.trust.keys import KeyType, PrivateKey, new_key, private_key, public_key, write_pair
from slimmer.trust.statements import Builder
from slimmer.trust.verify import Expectations, Step, failed, verify
from tests.report_outputs import make_output
from tests.support import plant

KEYS = {kind: new_key(kind) for kind in KeyType}
TREE = {"/bin/app": "#755 #!/bin/sh\necho hi\n", "/etc/app.conf": "a=1\n", "/bin/sh": "-> app"}
WANTED = Expectations()


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return signed_output(tmp_path / "out", tmp_path / "root", TREE, KEYS[KeyType.ECDSA_P256])


def signed_output(place: Path, root: Path, tree: Mapping[str, str | bytes | None], key: PrivateKey) -> Output:
    if not root.exists():
        plant(root, tree)
    fat = DirectoryRoot(str(root))
    make_output(place, fat, list(tree))
    build_image(fat, list(tree), ImageConfig(cmd=("/bin/app",), architecture="amd64"), place / "image", LayerOptions())
    (place / "recipe.toml").write_text(Recipe().dump())
    (place / "recording.json").write_text(json.dumps({"format": "slimmer.recording/1", "accesses": [], "root": ""}))
    sign(open_output(str(place)), key, Builder())
    return open_output(str(place))


def said(steps: tuple[Step, ...]) -> str:
    return "; ".join(step.text for step in steps if step.passed is False)


def test_what_was_signed_is_verified(output: Output) -> None:
    steps = verify(of_output(output), KEYS[KeyType.ECDSA_P256].public, WANTED)
    assert not failed(steps), said(steps)
    assert {step.what for step in steps if step.passed} >= {"signature", "layers", "record", "content", "check"}


@pytest.mark.parametrize("kind", KeyType)
def test_two_builds_of_one_thing_are_signed_alike(kind: KeyType, tmp_path: Path) -> None:
    key = KEYS[kind]
    found = []
    for name in ("one", "other"):
        out = signed_output(tmp_path / name, tmp_path / "root", TREE, key)
        found.append({place.name: place.read_bytes() for place in (out.directory / FOLDER).glob(f"*{SUFFIX}")})
    assert len(found[0]) == 4
    if key.deterministic:
        assert found[0] == found[1]
    payloads = [{name: json.loads(data)["dsseEnvelope"]["payload"] for name, data in each.items()} for each in found]
    assert payloads[0] == payloads[1]


@pytest.mark.parametrize("kind", KeyType)
@given(payload=st.binary(max_size=300), at=st.integers(0, 10_000), bit=st.integers(0, 7))
@settings(max_examples=80, deadline=None)
def test_no_changed_bit_of_a_bundle_is_accepted_as_something_else(
    kind: KeyType, payload: bytes, at: int, bit: int
) -> None:
    key = KEYS[kind]
    data = bundle(key, payload)
    assert verified(read_bundle(data, "x"), key.public, "x") == payload
    changed = bytearray(data)
    changed[at % len(data)] ^= 1 << bit
    try:
        got = verified(read_bundle(bytes(changed), "x"), key.public, "x")
    except SlimmerError:
        return
    assert got == payload  # a bit of the hint, or of a key that nobody reads: what is said is the same


def test_another_key_and_another_kind_of_key_are_refused_with_the_reason() -> None:
    ours, other = KEYS[KeyType.ECDSA_P256], new_key(KeyType.ECDSA_P256)
    data = read_bundle(bundle(ours, b"{}"), "b")
    for key in (other, KEYS[KeyType.ED25519]):
        with pytest.raises(SlimmerError, match="signed by another key"):
            verified(data, key.public, "b")


def test_type_and_payload_cannot_be_exchanged() -> None:
    key = KEYS[KeyType.ED25519]
    other = read_bundle(bundle(key, b"{}", "text/plain"), "b")
    with pytest.raises(SlimmerError, match="not an in-toto statement"):
        verified(other, key.public, "b")
    assert pre_authentication("a", b"b c") != pre_authentication("a b", b"c")
    assert pre_authentication("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"  # envelope.md's own example
    )


def _bundle_with(change: Any) -> bytes:
    value = json.loads(bundle(KEYS[KeyType.ED25519], b"{}"))
    change(value)
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON"),
        (b"[]", "not an object"),
        (b'{"mediaType": "a", "mediaType": "b"}', "one key twice"),
        (b'{"mediaType": "application/json"}', "not a bundle of"),
        (_bundle_with(lambda v: v.pop("dsseEnvelope")), "no DSSE envelope"),
        (_bundle_with(lambda v: v["dsseEnvelope"].update(signatures=[])), "0 signatures"),
        (_bundle_with(lambda v: v["dsseEnvelope"].update(payload="e30")), "not base64"),
        (_bundle_with(lambda v: v["dsseEnvelope"]["signatures"][0].update(sig="####")), "not base64"),
        (_bundle_with(lambda v: v["dsseEnvelope"].update(signatures=[{"sig": "AA=="}] * 17)), "17 signatures"),
        (b"[" * 100_000, "nested"),
    ],
)
def test_what_is_no_bundle_is_one_clear_message(data: bytes, message: str) -> None:
    with pytest.raises(SlimmerError, match=message):
        verified(read_bundle(data, "b.json"), KEYS[KeyType.ED25519].public, "b.json")


def test_a_key_is_encrypted_private_and_never_overwritten(tmp_path: Path) -> None:
    key = new_key(KeyType.ECDSA_P256)
    place = tmp_path / "slim.key"
    beside = write_pair(key, place, b"secret words")
    assert place.stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED PRIVATE KEY" in place.read_bytes()
    assert private_key(place.read_bytes(), "k", lambda: b"secret words").public.pem == beside.read_bytes()
    with pytest.raises(SlimmerError, match="exists already"):
        write_pair(key, place, b"")
    for secret, message in ((b"wrong", "passphrase is wrong"), (b"", "no passphrase was given")):
        with pytest.raises(SlimmerError, match=message) as error:
            private_key(place.read_bytes(), "k", lambda secret=secret: secret)  # type: ignore[misc]
        assert "secret words" not in str(error.value)
    with pytest.raises(SlimmerError, match="is a public key"):
        private_key(beside.read_bytes(), "k", bytes)
    with pytest.raises(SlimmerError, match="is a private key"):
        public_key(place.read_bytes(), "k")


@pytest.mark.parametrize("pem", [b"", b"\xff\xfe", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_a_malformed_key_is_one_clear_message(pem: bytes) -> None:
    with pytest.raises(SlimmerError, match=r"key\.pub is not a public key"):
        public_key(pem, "key.pub")
    with pytest.raises(SlimmerError):
        private_key(pem, "key", bytes)


def test_keys_of_other_types_are_refused() -> None:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    for other in (ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)):
        pem = other.public_key().public_bytes(serialization.Encoding.PEM, form)
        with pytest.raises(SlimmerError, match="another type"):
            public_key(pem, "k")


def _flip(place: Path, at: int = -3) -> None:
    data = bytearray(place.read_bytes())
    data[at] ^= 1
    place.write_bytes(bytes(data))


def _blob(output: Output, media: str) -> Path:
    layout = layout_in(output.directory)
    for place in (layout / "blobs/sha256").iterdir():
        data = place.read_bytes()
        kind = "config" if b'"rootfs"' in data else "manifest" if b'"layers"' in data else "layer"
        if kind == media:
            return place
    raise AssertionError(media)


@pytest.mark.parametrize("part", ["manifest", "config", "layer", "index"])
def test_a_changed_bit_of_the_image_is_found(part: str, output: Output) -> None:
    _flip(layout_in(output.directory) / "index.json", 60) if part == "index" else _flip(_blob(output, part))
    try:
        steps = verify(of_output(output), KEYS[KeyType.ECDSA_P256].public, WANTED)
    except SlimmerError as error:
        text = str(error)
    else:
        text = said(steps)
    assert {"manifest": "damaged", "config": "damaged", "layer": "damaged", "index": "index.json"}[part] in text


@pytest.mark.parametrize("name", ["manifest.json", "recording.json", "recipe.toml"])
def test_a_changed_record_is_found(name: str, output: Output) -> None:
    place = output.directory / name
    place.write_text(place.read_text() + ('[image]\ntag = "other"\n' if name == "recipe.toml" else " "))
    steps = verify(of_output(output), KEYS[KeyType.ECDSA_P256].public, WANTED)
    assert f"{name} is not the one that was signed" in said(steps)


@pytest.mark.parametrize("name", ["provenance", "check", "cyclonedx", "spdx"])
def test_a_changed_statement_is_found(name: str, output: Output) -> None:
    place = output.directory / FOLDER / f"{name}{SUFFIX}"
    value = json.loads(place.read_text())
    payload = (
        base64.b64decode(value["dsseEnvelope"]["payload"]).replace(b"slimmer", b"slimmar").replace(b"PASS", b"PAST")
    )
    payload = payload.replace(b'"name"', b'"nome"')
    value["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    place.write_text(json.dumps(value))
    assert "signature is not of this key" in said(verify(of_output(output), KEYS[KeyType.ECDSA_P256].public, WANTED))


def test_parts_of_two_valid_images_are_not_exchanged(tmp_path: Path, output: Output) -> None:
    key = KEYS[KeyType.ECDSA_P256]
    other = signed_output(tmp_path / "out2", tmp_path / "root2", {**TREE, "/etc/app.conf": "a=2\n"}, key)
    (output.directory / FOLDER / f"provenance{SUFFIX}").write_bytes(
        (other.directory / FOLDER / f"provenance{SUFFIX}").read_bytes()
    )
    assert "not about this image" in said(verify(of_output(output), key.public, WANTED))
    # A manifest of the other's, with a provenance that was signed for it: the content tells.
    (other.directory / "manifest.json").write_bytes((output.directory / "manifest.json").read_bytes())
    sign(other, key, Builder())
    assert "/etc/app.conf has another content" in said(verify(of_output(other), key.public, WANTED))


def test_source_builder_and_verdict_are_pinned(tmp_path: Path) -> None:
    key = KEYS[KeyType.ED25519]
    out = signed_output(tmp_path / "out", tmp_path / "root", TREE, key)
    evidence = of_output(out)
    assert not failed(verify(evidence, key.public, Expectations(builders=("urn:slimmer:*",))))
    assert "is not urn:other" in said(verify(evidence, key.public, Expectations(builders=("urn:other",))))
    assert "is not docker://a" in said(verify(evidence, key.public, Expectations(sources=("docker://a",))))
    assert "no signed statement of x" in said(verify(evidence, key.public, Expectations(predicates=("x",))))
    check = json.loads((out.directory / "check.json").read_text())
    (out.directory / "check.json").write_text(json.dumps({**check, "verdict": "failed"}))
    sign(out, key, Builder())
    assert "check says FAILED" in said(verify(of_output(out), key.public, WANTED))
    assert not failed(verify(of_output(out), key.public, Expectations(check=False)))


def test_of_a_runs_environment_only_the_names_are_signed(tmp_path: Path) -> None:
    key = KEYS[KeyType.ED25519]
    out = signed_output(tmp_path / "out", tmp_path / "root", TREE, key)
    (out.directory / "recipe.toml").write_text('[[run]]\ncommand = ["/bin/app"]\nenv = {DB_PASSWORD = "hunter2"}\n')
    sign(out, key, Builder())
    for place in (out.directory / FOLDER).glob(f"*{SUFFIX}"):
        payload = base64.b64decode(json.loads(place.read_text())["dsseEnvelope"]["payload"])
        assert b"hunter2" not in payload
    provenance = json.loads((out.directory / FOLDER / f"provenance{SUFFIX}").read_text())
    payload = json.loads(base64.b64decode(provenance["dsseEnvelope"]["payload"]))
    assert payload["predicate"]["buildDefinition"]["externalParameters"]["run"][0]["env"] == ["DB_PASSWORD"]


def test_what_strangers_attach_in_a_registry_neither_counts_nor_refuses(output: Output) -> None:
    key, stranger = KEYS[KeyType.ECDSA_P256], new_key(KeyType.ED25519)
    ours = of_output(output)
    theirs = {"theirs": bundle(stranger, b"{}")}
    pushed = replace(ours, layout=None, bundles={**ours.bundles, **theirs})
    assert not failed(verify(pushed, key.public, WANTED))
    assert failed(verify(replace(pushed, bundles=theirs), key.public, WANTED))
    # In an output nobody else has anything to say.
    assert failed(verify(replace(ours, bundles={**ours.bundles, **theirs}), key.public, WANTED))
    # Who passes a statement off as a stranger's has taken it away, and it is missed.
    place = next(each for each in ours.bundles if "provenance" in each)
    value = json.loads(ours.bundles[place])
    value["verificationMaterial"]["publicKey"]["hint"] = "other"
    value["dsseEnvelope"]["payload"] = base64.b64encode(b"{}").decode()
    hidden = replace(pushed, bundles={**ours.bundles, place: json.dumps(value).encode()})
    assert "no provenance is signed" in said(verify(hidden, key.public, WANTED))
