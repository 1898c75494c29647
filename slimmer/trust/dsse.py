"""DSSE envelopes and sigstore bundles around them.

Sources: secure-systems-lab/dsse, envelope.md and protocol.md; sigstore protobuf-specs, sigstore_bundle.proto (v0.3).
A bundle here carries a hint of the public key and no transparency log.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from slimmer.errors import SlimmerError
from slimmer.registry import document
from slimmer.trust.keys import PrivateKey, PublicKey

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
STATEMENT_TYPE = "application/vnd.in-toto+json"
LARGEST = 256 * 1024 * 1024  # bytes of a bundle: a bill of materials may list a hundred thousand files
MOST_SIGNATURES = 16


class BadSignature(SlimmerError):
    """A signature, a statement or what they speak of is not what it should be; exit 3."""

    exit_code = 3


class OtherKey(BadSignature):
    """A bundle that says itself that another key signed it."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What was signed. `signatures` are the raw bytes."""

    payload: bytes
    payload_type: str
    signatures: tuple[bytes, ...]
    hint: str = ""


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """PAE: what is really signed, so that type and payload cannot be exchanged."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def bundle(key: PrivateKey, payload: bytes, payload_type: str = STATEMENT_TYPE) -> bytes:
    """A signed bundle, as JSON; the same bytes for the same key and payload where the key signs deterministically."""
    signature = key.sign(pre_authentication(payload_type, payload))
    return document.dump(
        {
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": {"publicKey": {"hint": key.public.hint}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": payload_type,
                "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
            },
        }
    )


def read_bundle(data: bytes, where: str) -> Envelope:
    """A bundle's envelope, not verified yet. Raises SlimmerError when it is none."""
    node = document.load(data, where, largest=LARGEST)
    kind = node.get("mediaType").text()
    if kind != BUNDLE_TYPE:
        raise BadSignature(f"{where} is {kind!r}, not a bundle of {BUNDLE_TYPE}")
    envelope = node.get("dsseEnvelope")
    if envelope.missing:
        raise BadSignature(f"{where} holds no DSSE envelope", "a message signature says nothing about an image")
    rows = envelope.get("signatures").items()
    if not 1 <= len(rows) <= MOST_SIGNATURES:
        raise BadSignature(f"{where} has {len(rows)} signatures; 1 to {MOST_SIGNATURES} are taken")
    return Envelope(
        payload=_decode(envelope.get("payload")),
        payload_type=envelope.get("payloadType").text(),
        signatures=tuple(_decode(row.get("sig")) for row in rows),
        hint=node.get("verificationMaterial").get("publicKey").get("hint").text(""),
    )


def verified(envelope: Envelope, key: PublicKey, where: str) -> bytes:
    """The payload, when this key signed it as a statement. Raises BadSignature."""
    if envelope.payload_type != STATEMENT_TYPE:
        raise BadSignature(f"{where} signs {envelope.payload_type!r}, not an in-toto statement")
    signed = pre_authentication(envelope.payload_type, envelope.payload)
    if any(key.verifies(signature, signed) for signature in envelope.signatures):
        return envelope.payload
    if envelope.hint and envelope.hint != key.hint:
        raise OtherKey(f"{where} was signed by another key (hint {envelope.hint})", f"this key is {key.hint}")
    raise BadSignature(f"{where}: the signature is not of this key over this statement", "it was changed, or forged")


def _decode(node: document.Node) -> bytes:
    text = node.text()
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadSignature(f"{node.where} is not base64") from None
    # Two spellings of one value would be two texts for one signature.
    if base64.b64encode(found).decode() != text:
        raise BadSignature(f"{node.where} is base64 in another spelling than the standard one")
    return found
