"""What is signed of an output: in-toto statements about its image, the same bytes for the same output.

    provenance    SLSA provenance v1: from what, by which recipe, with which by-products
    cyclonedx     the bill of materials, as slim sbom writes it
    spdx          the same in SPDX
    check         the verdict of the run against the fat root, as in-toto's test-result
    vex           an OpenVEX document, where one is given

Sources: in-toto attestation, spec/v1/statement.md and spec/predicates; slsa.dev/provenance/v1. No times but those of
SOURCE_DATE_EPOCH, no host names, no paths of the machine that a recipe does not name itself.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimmer.closure.profiles.load import load_all
from slimmer.errors import SlimmerError
from slimmer.image.layout import Layout, layout_in, read_layout
from slimmer.registry import document
from slimmer.report.bill import bill, sha1_of_files
from slimmer.report.output import Output
from slimmer.root.model import sort_key

STATEMENT = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
CYCLONEDX = "https://cyclonedx.org/bom"
SPDX = "https://spdx.dev/Document"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
OPENVEX = "https://openvex.dev/ns/v0.2.0"
BUILD_TYPE = "urn:slimmer:build:1"
LOCAL_BUILDER = "urn:slimmer:builder:local"
LARGEST_STATEMENT = 192 * 1024 * 1024  # bytes

RECIPE, RECORDING = "recipe.toml", "recording.json"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: a short name for its file, what it is about, and the bytes that are signed."""

    name: str
    predicate_type: str
    payload: bytes

    @property
    def digest(self) -> str:
        return document.digest(self.payload)


@dataclass(frozen=True, slots=True)
class Builder:
    """Who says so. `epoch` is SOURCE_DATE_EPOCH, None: no time is said."""

    id: str = LOCAL_BUILDER
    epoch: int | None = None


def statements(output: Output, builder: Builder, vex: bytes = b"") -> Iterator[Statement]:
    """Every statement about an output's image. Raises SlimmerError."""
    from slimmer.report.sbom_cyclonedx import cyclonedx  # either library takes a while to load
    from slimmer.report.sbom_spdx import spdx

    layout = read_layout(layout_in(output.directory))
    subject = [{"name": layout.ref or "image", "digest": {"sha256": _hex(layout.manifest.digest)}}]

    def statement(name: str, predicate_type: str, predicate: object) -> Statement:
        value = {"_type": STATEMENT, "subject": subject, "predicateType": predicate_type, "predicate": predicate}
        return Statement(name, predicate_type, document.dump(value))

    yield statement("provenance", PROVENANCE, _provenance(output, layout, builder))
    materials = bill(output)
    yield statement("cyclonedx", CYCLONEDX, json.loads(cyclonedx(materials, epoch=builder.epoch or 0)))
    yield statement("spdx", SPDX, json.loads(spdx(materials, sha1_of_files(output), epoch=builder.epoch or 0)))
    yield statement("check", TEST_RESULT, _verdict(output))
    if vex:
        try:
            yield statement("vex", OPENVEX, json.loads(vex))
        except (ValueError, RecursionError) as error:
            raise SlimmerError(f"the VEX document is not JSON: {error}", "give what `slim vex` wrote") from error


def _provenance(output: Output, layout: Layout, builder: Builder) -> dict[str, Any]:
    report = output.report()
    recipe = _read(output.directory / RECIPE)
    parameters = tomllib.loads(recipe.decode("utf-8"))
    recording = json.loads(_read(output.directory / RECORDING))
    source: dict[str, Any] = {"name": "source", "uri": report.subject.source}
    if report.subject.source_digest:
        source["digest"] = {"sha256": _hex(report.subject.source_digest)}
    if recording.get("root"):
        source["annotations"] = {"fingerprint": str(recording["root"])}
    metadata = {}
    if builder.epoch is not None:
        stamp = datetime.datetime.fromtimestamp(builder.epoch, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata = {"metadata": {"startedOn": stamp, "finishedOn": stamp}}
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": _without_secrets(_without_place(parameters)),
            "internalParameters": {
                "compressor": report.subject.compressor,
                "recorder": list(report.subject.recorder),
                "profiles": profiles_digest(parameters.get("reach", {}).get("profiles", ())),
            },
            "resolvedDependencies": [
                source,
                {"name": RECIPE, "digest": {"sha256": recipe_digest(recipe)}},
                {"name": RECORDING, "digest": {"sha256": _file_digest(output.directory / RECORDING)}},
            ],
        },
        "runDetails": {
            "builder": {"id": builder.id, "version": {"slimmer": report.subject.version}},
            **metadata,
            "byproducts": [
                *(
                    {"name": name, "digest": {"sha256": _file_digest(output.directory / name)}}
                    for name in ("manifest.json", output.removed_file.name, "report.json")
                ),
                {"name": "image", "digest": {"sha256": _hex(layout.config.digest)}},
            ],
        },
    }


def _verdict(output: Output) -> dict[str, Any]:
    check = output.check()
    failed = {each.partition(":")[0] for each in check.problems}
    rows = [each.what for each in check.compared]
    return {
        "result": {"passed": "PASSED", "failed": "FAILED"}.get(check.verdict, "WARNED"),
        "configuration": [{"name": RECIPE, "digest": {"sha256": recipe_digest(_read(output.directory / RECIPE))}}],
        "passedTests": [each for each in rows if each.partition(":")[0] not in failed],
        "failedTests": [each for each in rows if each.partition(":")[0] in failed],
    }


def _without_secrets(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe, but of the environment of runs the names alone: a test's password is nobody's business."""
    plain = dict(parameters)
    runs = plain.get("run")
    if isinstance(runs, Sequence):
        plain["run"] = [
            {**each, **({"env": sorted(each["env"])} if isinstance(each.get("env"), dict) else {})}
            for each in runs
            if isinstance(each, dict)
        ]
    return plain


def recipe_digest(text: bytes) -> str:
    """Hex, of what a recipe says but for where on this machine its source lies: two places are one recipe.

    Raises SlimmerError.
    """
    try:
        value = tomllib.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise SlimmerError(f"the recipe is not TOML: {error}", "name an output that `slim trace` wrote") from error
    return _hex(document.digest(document.dump(_without_place(value))))


def _without_place(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe without a path of this machine; an image's name in a registry is the same everywhere."""
    plain = dict(parameters)
    source = dict(plain.get("source", {}))
    source.pop("root", None)
    if "://" not in str(source.get("image", "://")):
        source.pop("image")
    plain["source"] = source
    return plain


def profiles_digest(extra: Sequence[str | Path] = ()) -> str:
    """ "sha256:…" over every profile that rules may use, shipped ones and those named."""
    hasher = hashlib.sha256()
    for profile in sorted(load_all(tuple(extra)), key=lambda each: sort_key(each.name)):
        text = profile.text.encode("utf-8", "surrogateescape")
        hasher.update(f"{profile.name}\0{len(text)}\0".encode("utf-8", "surrogateescape") + text)
    return f"sha256:{hasher.hexdigest()}"


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _file_digest(path: Path) -> str:
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise SlimmerError(f"cannot read {path}: {error.strerror}", "name an output that `slim trace` wrote") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SlimmerError(f"cannot read {path}: {error.strerror}", "name an output that `slim trace` wrote") from error
