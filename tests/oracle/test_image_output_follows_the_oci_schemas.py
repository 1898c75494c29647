"""Every document that is written, against the JSON schemas of the image-spec itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource

from slimmer.image.config import Healthcheck, ImageConfig
from slimmer.image.index import write_index
from slimmer.image.layout import build_image
from slimmer.image.split import split
from tests.image_trees import of_files

# Debian's golang-github-opencontainers-image-spec-dev
SCHEMAS = Path("/usr/share/gocode/src/github.com/opencontainers/image-spec/schema")
ROOT = of_files({"/bin/app": b"#!/bin/sh\n", "/opt/app": b"x"})
FULL = ImageConfig(
    entrypoint=("/bin/app",),
    cmd=(),
    env=(("PATH", "/bin"), ("EMPTY", "")),
    user="1000:1000",
    workdir="/",
    exposed_ports=("80/tcp",),
    volumes=("/data",),
    labels=(("a", "b"),),
    stop_signal="SIGTERM",
    healthcheck=Healthcheck(("CMD", "/bin/app"), 1),
    architecture="arm",
    variant="v7",
    stop_timeout=3,
)


def validate(name: str, data: bytes) -> None:
    if not SCHEMAS.is_dir():
        pytest.skip("not installed: golang-github-opencontainers-image-spec-dev")
    documents = {path.name: load(path) for path in SCHEMAS.glob("*.json")}
    resources = [(document["id"], Resource.opaque(document)) for document in documents.values() if "id" in document]
    resources += [
        (f"https://opencontainers.org/schema/{name}", Resource.opaque(each)) for name, each in documents.items()
    ]
    schema = documents[name]
    jsonschema.Draft4Validator(schema, registry=Registry().with_resources(resources)).validate(json.loads(data))


def load(path: Path) -> Any:
    # Their Go loader finds "defs.json#/…" beside the file; jsonschema wants the whole address.
    text = re.sub(
        r'"\$ref": "(defs[\w-]*\.json|content-descriptor\.json)',
        r'"$ref": "https://opencontainers.org/schema/\1',
        path.read_text(),
    )
    return json.loads(text)


def check_layout(directory: Path) -> int:
    """Validate all that a layout holds; how many documents that was."""
    validate("image-layout-schema.json", (directory / "oci-layout").read_bytes())
    validate("image-index-schema.json", (directory / "index.json").read_bytes())
    count = 2
    for blob in (directory / "blobs/sha256").iterdir():
        data = blob.read_bytes()
        if not data.startswith(b"{"):
            continue
        document = json.loads(data)
        kind = document.get("mediaType", "config").rpartition(".")[2].removesuffix("+json")
        name = {"v1": "", "config": "config-schema.json"}.get(kind, "")
        if not name:
            name = "image-index-schema.json" if "index" in document["mediaType"] else "image-manifest-schema.json"
        validate(name, data)
        count += 1
    return count


def test_a_full_image_of_several_layers_is_valid(tmp_path: Path) -> None:
    groups = split(ROOT, ["/bin/app", "/opt/app"], lambda path: "os" if "bin" in path else "application")
    build_image(ROOT, groups, FULL, tmp_path, ref="host/name:1.2", created=1_700_000_000)
    assert check_layout(tmp_path) == 4


def test_the_least_image_is_valid(tmp_path: Path) -> None:
    build_image(ROOT, ["/bin/app"], ImageConfig(architecture="amd64"), tmp_path)
    assert check_layout(tmp_path) == 4


def test_an_index_of_platforms_is_valid(tmp_path: Path) -> None:
    build_image(ROOT, ["/bin/app"], FULL, tmp_path / "a")
    build_image(ROOT, ["/bin/app"], ImageConfig(architecture="amd64"), tmp_path / "b")
    write_index([tmp_path / "a", tmp_path / "b"], tmp_path / "joined")
    assert check_layout(tmp_path / "joined") == 7


def test_the_schemas_do_refuse_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(jsonschema.ValidationError):
        validate("config-schema.json", b'{"architecture":1,"os":"linux","rootfs":{"type":"layers","diff_ids":[]}}')
    with pytest.raises(jsonschema.ValidationError):
        validate("image-manifest-schema.json", b'{"schemaVersion":2,"config":{"digest":"x","size":1},"layers":[]}')
