"""Where signed statements lie: as files in OUT/attestations, in a layout of referrers beside them, in a registry.

    OUT/attestations/NAME.sigstore.json      a bundle for each statement
    OUT/attestations/layout/                 an OCI layout: each bundle as a manifest whose subject is the image
    HOST/NAME@sha256:…                       the same manifests as OCI 1.1 referrers
    HOST/NAME:sha256-….sig                   with --cosign-legacy: cosign's first form

The image's own layout keeps its one manifest. Sources: image-spec, manifest.md ("artifactType", "subject");
distribution-spec, "Referrers Tag Schema"; cosign, specs/SIGNATURE_SPEC.md and BUNDLE_SPEC.md.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from slimmer.errors import SlimmerError
from slimmer.image.layout import (
    INDEX_TYPE,
    MANIFEST_TYPE,
    Descriptor,
    Layout,
    blob_path,
    layout_in,
    read_layout,
    write_blob,
    write_top,
)
from slimmer.image.push import PushOptions, push_blob, push_referrer
from slimmer.registry import document
from slimmer.registry.client import Registry
from slimmer.registry.reference import Reference
from slimmer.report.output import Output
from slimmer.trust.dsse import BUNDLE_TYPE, bundle
from slimmer.trust.keys import PrivateKey
from slimmer.trust.statements import RECIPE, RECORDING, Builder, Statement, statements

FOLDER = "attestations"
LAYOUT = "layout"
SUFFIX = ".sigstore.json"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"  # image-spec, manifest.md, "Guidance for an Empty Descriptor"
RECORD_TYPE = (
    "application/vnd.slimmer.record.v1+json"  # manifest, recording and recipe, to verify files and build again
)
RECORD_FILES = ("manifest.json", RECORDING, RECIPE)
TITLE = "org.opencontainers.image.title"
SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"


@dataclass(frozen=True, slots=True)
class Signed:
    """A statement and its bundle."""

    statement: Statement
    bundle: bytes


def sign(output: Output, key: PrivateKey, builder: Builder, vex: bytes = b"") -> tuple[Signed, ...]:
    """Sign every statement about an output and keep the bundles in OUT/attestations. Raises SlimmerError."""
    made = tuple(Signed(each, bundle(key, each.payload)) for each in statements(output, builder, vex))
    target = output.directory / FOLDER
    part, former = (target.with_name(f".{FOLDER}.{word}") for word in ("part", "former"))
    for each in (part, former):
        shutil.rmtree(each, ignore_errors=True)
    try:
        part.mkdir()
        for signed in made:
            (part / f"{signed.statement.name}{SUFFIX}").write_bytes(signed.bundle)
        _write_layout(output, made, part / LAYOUT)
        if target.exists():
            target.rename(former)
        part.rename(target)
    except OSError as error:
        if former.exists() and not target.exists():
            former.rename(target)
        raise SlimmerError(f"cannot write {target}: {error.strerror}") from error
    finally:
        for each in (part, former):
            shutil.rmtree(each, ignore_errors=True)
    return made


def _write_layout(output: Output, made: Sequence[Signed], directory: Path) -> None:
    image = read_layout(layout_in(output.directory))
    rows: list[Descriptor] = []
    write_blob(directory, b"{}", EMPTY_TYPE)
    for each in made:
        stored = write_blob(directory, each.bundle, BUNDLE_TYPE)
        manifest = referrer(image.manifest, BUNDLE_TYPE, [(stored, {})], _annotations(each.statement))
        rows.append(write_blob(directory, manifest, MANIFEST_TYPE))
    files = [
        (write_blob(directory, (output.directory / name).read_bytes(), _media_type(name)), {TITLE: name})
        for name in RECORD_FILES
        if (output.directory / name).is_file()
    ]
    rows.append(write_blob(directory, referrer(image.manifest, RECORD_TYPE, files, {}), MANIFEST_TYPE))
    listed = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [row.fields() for row in rows]}
    write_top(directory, document.dump(listed))


def _media_type(name: str) -> str:
    return "application/toml" if name.endswith(".toml") else "application/json"


def _annotations(statement: Statement) -> dict[str, str]:
    return {
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": statement.predicate_type,
    }


def referrer(
    subject: Descriptor, kind: str, blobs: Sequence[tuple[Descriptor, dict[str, str]]], annotations: dict[str, str]
) -> bytes:
    """A manifest that speaks of another one."""
    value = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": kind,
        "config": Descriptor(EMPTY_TYPE, document.digest(b"{}"), 2).fields() | {"data": "e30="},
        "layers": [blob.fields() | ({"annotations": said} if said else {}) for blob, said in blobs],
        "subject": subject.fields(),
    }
    return document.dump(value | ({"annotations": annotations} if annotations else {}))


def push_signed(output: Output, reference: Reference, options: PushOptions) -> tuple[str, ...]:
    """Send what lies in OUT/attestations after its image; the referrers' digests. Raises SlimmerError."""
    directory = output.directory / FOLDER / LAYOUT
    image = read_layout(layout_in(output.directory))
    sent = []
    with Registry(reference, options.registry) as registry:
        for data in referrers_in(directory):
            node = document.load(data, f"{directory}: a referrer")
            for entry in (node.get("config"), *node.get("layers").items()):
                blob = Descriptor(entry.get("mediaType").text(), entry.get("digest").text(), entry.get("size").number())
                push_blob(registry, blob, blob_path(directory, blob.digest), options)
            sent.append(push_referrer(registry, image.manifest, data, MANIFEST_TYPE))
    return tuple(sent)


def referrers_in(directory: Path) -> Iterator[bytes]:
    """The manifests of a layout of referrers, each verified against its digest. Raises SlimmerError."""
    try:
        top = document.load((directory / "index.json").read_bytes(), f"{directory}/index.json")
        for entry in top.get("manifests").items():
            digest = entry.get("digest").text()
            data = blob_path(directory, digest).read_bytes()
            if document.digest(data) != digest:
                raise SlimmerError(f"{directory} is damaged: {digest} is not what its name says", "sign again")
            yield data
    except OSError as error:
        raise SlimmerError(
            f"{directory} holds no signed statements: {error.strerror}", "`slim sign OUT --key FILE` makes them"
        ) from error


def legacy_payload(reference: Reference, digest: str) -> bytes:
    """What cosign's first form signs, in its order of keys."""
    name = f"{reference.host}/{reference.repository}"
    return (
        b'{"critical":{"identity":{"docker-reference":%s},"image":{"docker-manifest-digest":%s},'
        b'"type":"cosign container image signature"},"optional":null}'
    ) % (document.dump(name), document.dump(digest))


def push_legacy(layout: Layout, key: PrivateKey, reference: Reference, options: PushOptions, scratch: Path) -> str:
    """Write the tag sha256-HEX.sig as cosign does without bundles; the tag. Raises SlimmerError."""
    payload = legacy_payload(reference, layout.manifest.digest)
    blob = write_blob(scratch, payload, SIMPLE_SIGNING)
    config = write_blob(
        scratch,
        document.dump(
            {
                "architecture": "",
                "config": {},
                "created": "0001-01-01T00:00:00Z",
                "history": [{"created": "0001-01-01T00:00:00Z"}],
                "os": "",
                "rootfs": {"diff_ids": [blob.digest], "type": "layers"},
            }
        ),
        "application/vnd.oci.image.config.v1+json",
    )
    signature = base64.b64encode(key.sign(payload)).decode()
    manifest = document.dump(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": config.fields(),
            "layers": [blob.fields() | {"annotations": {SIGNATURE: signature}}],
        }
    )
    tag = layout.manifest.digest.replace(":", "-", 1) + ".sig"
    with Registry(reference, options.registry) as registry:
        for each in (blob, config):
            push_blob(registry, each, blob_path(scratch, each.digest), options)
        registry.put_manifest(tag, manifest, MANIFEST_TYPE)
    return tag
