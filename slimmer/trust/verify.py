"""Does an image deserve trust: every signed statement, what it is about, and what is wanted of it, step by step.

A step that fails makes the whole fail; one that could not be made is said as such, and fails where it was asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from slimmer.errors import SlimmerError
from slimmer.image.layout import REF_NAME, Layout, index, platform_fields
from slimmer.image.members import members
from slimmer.registry import document
from slimmer.report.model import MANIFEST, KeptPath
from slimmer.report.read import parse_kept
from slimmer.root.model import FileType
from slimmer.trust.dsse import BadSignature, OtherKey, read_bundle, verified
from slimmer.trust.evidence import Evidence
from slimmer.trust.keys import PublicKey
from slimmer.trust.statements import (
    BUILD_TYPE,
    LARGEST_STATEMENT,
    PROVENANCE,
    RECIPE,
    STATEMENT,
    TEST_RESULT,
    recipe_digest,
)

FORMAT = "slimmer.verification/1"
MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was looked at. `passed` None: it could not be, and `text` says why."""

    what: str
    passed: bool | None
    text: str


@dataclass(frozen=True, slots=True)
class Expectations:
    """What is wanted beyond sound signatures. Globs; empty fields want nothing."""

    builders: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    predicates: tuple[str, ...] = ()  # predicate types that must be there
    check: bool = True  # the run against the fat root must have passed


@dataclass(frozen=True, slots=True)
class _Said:
    """A verified statement."""

    where: str
    predicate_type: str
    predicate: Mapping[str, Any]
    name: str  # of the subject


def verify(evidence: Evidence, key: PublicKey, wanted: Expectations) -> tuple[Step, ...]:
    """Every step, in order. What is broken is a step that failed, never an exception."""
    steps: list[Step] = []
    said: list[_Said] = []
    for where, data in evidence.bundles.items():
        try:
            found = _statement(verified(read_bundle(data, where), key, where), where, evidence.digest)
        except OtherKey as error:
            # Anybody may attach statements to an image in a registry; what lies in an output is its own.
            steps.append(Step("signature", None if evidence.layout is None else False, error.message))
        except SlimmerError as error:
            steps.append(Step("signature", False, error.message))
        else:
            said.append(found)
            steps.append(
                Step("signature", True, f"{where}: signed by this key, about this image ({found.predicate_type})")
            )
    if not said:
        steps.append(Step("signature", False, "no statement about this image is signed by this key"))
        return tuple(steps)
    steps += _layers(evidence.layout, said[0].name)
    steps += _provenance([each for each in said if each.predicate_type == PROVENANCE], evidence, wanted)
    steps += _check([each for each in said if each.predicate_type == TEST_RESULT], wanted)
    there = {each.predicate_type for each in said}
    for kind in wanted.predicates:
        if kind not in there:
            steps.append(Step("statements", False, f"there is no signed statement of {kind}"))
    return tuple(steps)


def failed(steps: tuple[Step, ...]) -> bool:
    return any(step.passed is False for step in steps)


def value(name: str, digest: str, steps: tuple[Step, ...]) -> dict[str, Any]:
    """For programs."""
    return {
        "format": FORMAT,
        "image": name,
        "digest": digest,
        "verified": not failed(steps),
        "steps": [{"what": each.what, "passed": each.passed, "text": each.text} for each in steps],
    }


def _statement(payload: bytes, where: str, digest: str) -> _Said:
    """What was signed, when it is a statement about this image. Raises SlimmerError."""
    node = document.load(payload, f"{where}: the statement", largest=LARGEST_STATEMENT)
    if node.get("_type").text("") != STATEMENT:
        raise BadSignature(f"{where}: it is no in-toto statement v1")
    subjects = [each.get("digest").get("sha256").text("") for each in node.get("subject").items()]
    if digest.removeprefix("sha256:") not in subjects:
        about = f"sha256:{subjects[0]}"[:19] if subjects else "nothing"
        raise BadSignature(f"{where} is about {about}, not about this image ({digest[:19]})")
    predicate = node.get("predicate").raw()
    name = node.get("subject").items()[subjects.index(digest.removeprefix("sha256:"))].get("name").text("")
    return _Said(where, node.get("predicateType").text(), predicate if isinstance(predicate, dict) else {}, name)


def _layers(layout: Layout | None, name: str) -> Iterator[Step]:
    """The layout's files, one by one: the index that names the manifest, and the layers that it names."""
    if layout is None:
        yield Step("layers", None, "the registry's layers are named by the signed digest; they were not fetched")
        return
    if (layout.directory / "index.json").read_bytes() != index(
        [(layout.manifest, platform_fields(layout), {REF_NAME: name})]
    ):
        yield Step("layers", False, "index.json is not the one that was signed: it has another name or platform")
        return
    for layer in layout.layers:
        place = layout.blob(layer.digest)
        try:
            with open(place, "rb") as stream:
                found = document.digest_of(stream)
        except OSError as error:
            yield Step("layers", False, f"the layer {layer.digest[:19]} cannot be read: {error.strerror}")
            return
        if found != layer.digest:
            yield Step("layers", False, f"the layer {layer.digest[:19]} is damaged: its content is {found[:19]}")
            return
    yield Step("layers", True, f"config and {len(layout.layers)} layer(s) are what the signed manifest names")


def _provenance(said: list[_Said], evidence: Evidence, wanted: Expectations) -> Iterator[Step]:
    if not said:
        yield Step("provenance", False, "no provenance is signed by this key")
        return
    predicate = said[0].predicate
    definition, details = _table(predicate, "buildDefinition"), _table(predicate, "runDetails")
    kind = definition.get("buildType")
    if kind != BUILD_TYPE:
        yield Step("provenance", False, f"its build type is {kind!r}, which this version does not know")
        return
    builder = str(_table(details, "builder").get("id", ""))
    yield _pinned("builder", builder, wanted.builders)
    dependencies = [each for each in definition.get("resolvedDependencies", ()) if isinstance(each, dict)]
    source = next((each for each in dependencies if each.get("name") == "source"), {})
    names = [str(source.get("uri", ""))]
    names += [f"sha256:{each}" for each in _table(source, "digest").values()]
    names += [str(each) for each in _table(source, "annotations").values()]
    yield _pinned("source", names[0], wanted.sources, *names[1:])
    digests = {
        str(each.get("name")): str(_table(each, "digest").get("sha256", ""))
        for each in (*dependencies, *details.get("byproducts", ()))
        if isinstance(each, dict)
    }
    yield from _record(evidence, digests)


def _record(evidence: Evidence, digests: Mapping[str, str]) -> Iterator[Step]:
    for name, data in evidence.record.items():
        found = recipe_digest(data) if name == RECIPE else document.digest(data).removeprefix("sha256:")
        if digests.get(name, "") != found:
            yield Step("record", False, f"{name} is not the one that was signed")
            return
    missing = sorted({"manifest.json", "recording.json", "recipe.toml"} - set(evidence.record))
    if missing:
        yield Step("record", None, f"{', '.join(missing)} is not here to be compared")
    else:
        yield Step("record", True, "manifest, recording and recipe are those that were signed")
    if MANIFEST_FILE in evidence.record and evidence.layout is not None:
        yield _content(evidence.layout, rows(evidence.record[MANIFEST_FILE]))


def rows(manifest: bytes) -> tuple[KeptPath, ...]:
    """A manifest's paths. Raises SlimmerError when it is none, or of a format that is not known."""
    try:
        found = json.loads(manifest)
        if found["format"] != MANIFEST:
            raise ValueError(f"its format is {found['format']!r}, this version knows {MANIFEST}")
        return tuple(parse_kept(each) for each in found["paths"])
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise SlimmerError(f"manifest.json cannot be read: {error}", "sign the output of `slim trace`") from error


def _content(layout: Layout, manifest: tuple[KeptPath, ...]) -> Step:
    """Every file of the layers against the manifest."""
    wanted = {each.entry.path: each for each in manifest if each.entry.path != "/"}
    first: dict[str, str] = {}
    for layer in layout.layers:
        try:
            for info, digest in members(layout.blob(layer.digest)):
                path = f"/{info.name.strip('/')}"
                row = wanted.pop(path, None)
                if info.isdir() and row is None:
                    continue  # a second layer repeats the directories on the way
                if row is None:
                    return Step("content", False, f"{path} is in the image and not in the signed manifest")
                first[path] = first.get(f"/{info.linkname.strip('/')}", "") if info.islnk() else digest
                if row.entry.type is FileType.FILE and row.sha256 != first[path]:
                    return Step("content", False, f"{path} has another content than the signed manifest says")
                if not info.islnk() and (info.mode, info.uid, info.gid) != (
                    row.entry.mode,
                    row.entry.uid,
                    row.entry.gid,
                ):
                    return Step("content", False, f"{path} has another mode or owner than the signed manifest says")
        except SlimmerError as error:
            return Step("content", False, error.message)
    gone = [path for path, row in wanted.items() if row.entry.type is not FileType.SOCKET]
    if gone:
        return Step("content", False, f"{gone[0]} is in the signed manifest and not in the image")
    return Step("content", True, f"all {len(manifest):,} paths of the image are as the signed manifest says")


def _check(said: list[_Said], wanted: Expectations) -> Iterator[Step]:
    if not said:
        yield Step("check", False if wanted.check else None, "no verdict of a run against the fat root is signed")
        return
    result = str(said[0].predicate.get("result", ""))
    passed = said[0].predicate.get("passedTests", ())
    if result == "PASSED":
        yield Step("check", True, f"the image passed its check: {len(passed)} comparisons")
    else:
        yield Step("check", False if wanted.check else None, f"the image's check says {result or 'nothing'}")


def _pinned(what: str, found: str, patterns: tuple[str, ...], *also: str) -> Step:
    if not patterns:
        return Step(what, None, f"{found or 'not said'}; not compared (--{what} GLOB pins it)")
    if any(fnmatchcase(each, pattern) for each in (found, *also) if each for pattern in patterns):
        return Step(what, True, f"{found} is as wanted")
    return Step(what, False, f"{found or 'not said'} is not {' or '.join(patterns)}")


def _table(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}
