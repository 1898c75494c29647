"""SPDX 2.3 as JSON, through spdx-tools: the image contains packages, packages contain files."""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Mapping, Sequence

from spdx_tools.spdx.jsonschema.document_converter import DocumentConverter
from spdx_tools.spdx.model.actor import Actor, ActorType
from spdx_tools.spdx.model.checksum import Checksum, ChecksumAlgorithm
from spdx_tools.spdx.model.document import CreationInfo, Document
from spdx_tools.spdx.model.file import File
from spdx_tools.spdx.model.package import (
    ExternalPackageRef,
    ExternalPackageRefCategory,
    Package,
    PackagePurpose,
    PackageVerificationCode,
)
from spdx_tools.spdx.model.relationship import Relationship, RelationshipType
from spdx_tools.spdx.model.spdx_no_assertion import SpdxNoAssertion

from slimmer.report.bill import Bill, Item
from slimmer.report.licenses import expression
from slimmer.report.model import KeptPath
from slimmer.report.words import shown

_NOT_ID = re.compile(r"[^A-Za-z0-9.-]+")
IMAGE = "SPDXRef-image"


def spdx(bill: Bill, sha1: Mapping[str, str], *, epoch: int = 0) -> str:
    """The document's text; the same for the same bill and time. `sha1` is of each file, by path."""
    converter = DocumentConverter()  # type: ignore[no-untyped-call]
    value = converter.convert(document(bill, sha1, epoch=epoch))
    return json.dumps(value, indent=1) + "\n"


def document(bill: Bill, sha1: Mapping[str, str], *, epoch: int = 0) -> Document:
    """The document as spdx-tools knows it, for its validator."""
    packages = [_image(bill, sha1)]
    files: list[File] = []
    relations = [Relationship("SPDXRef-DOCUMENT", RelationshipType.DESCRIBES, IMAGE)]
    for number, item in enumerate(bill.items, 1):
        packages.append(_package(item, number, sha1))
        relations.append(Relationship(IMAGE, RelationshipType.CONTAINS, packages[-1].spdx_id))
        for row in item.files:
            files.append(_file(row, sha1, len(files) + 1))
            relations.append(Relationship(packages[-1].spdx_id, RelationshipType.CONTAINS, files[-1].spdx_id))
    for row in bill.loose:
        files.append(_file(row, sha1, len(files) + 1))
        relations.append(Relationship(IMAGE, RelationshipType.CONTAINS, files[-1].spdx_id))
    creation = CreationInfo(
        spdx_version="SPDX-2.3",
        spdx_id="SPDXRef-DOCUMENT",
        name=shown(bill.name),
        document_namespace=f"urn:uuid:{bill.identity}",
        creators=[Actor(ActorType.TOOL, f"slimmer-{bill.subject.version or '0'}")],
        created=datetime.datetime.fromtimestamp(epoch, datetime.UTC).replace(tzinfo=None),
    )
    return Document(creation, packages=packages, files=files, relationships=relations)


def _verification(rows: Sequence[KeptPath], sha1: Mapping[str, str]) -> PackageVerificationCode | None:
    """SPDX 2.3, clause 7.9: the SHA-1 over the sorted SHA-1s of a package's files."""
    digests = sorted(sha1[row.entry.path] for row in rows if sha1.get(row.entry.path))
    if not digests:
        return None
    return PackageVerificationCode(hashlib.sha1("".join(digests).encode(), usedforsecurity=False).hexdigest())


def _image(bill: Bill, sha1: Mapping[str, str]) -> Package:
    digest = bill.subject.image.removeprefix("sha256:")
    return Package(
        spdx_id=IMAGE,
        name=shown(bill.name),
        version=bill.subject.image or None,
        download_location=SpdxNoAssertion(),
        files_analyzed=bool(bill.loose),
        verification_code=_verification(bill.loose, sha1),
        checksums=[Checksum(ChecksumAlgorithm.SHA256, digest)] if len(digest) == 64 else [],
        primary_package_purpose=PackagePurpose.CONTAINER,
    )


def _package(item: Item, number: int, sha1: Mapping[str, str]) -> Package:
    package = item.package
    declared = expression(package.license)
    return Package(
        spdx_id=f"SPDXRef-package-{number}-{_NOT_ID.sub('-', package.name)}",
        name=shown(package.name),
        version=shown(package.version) or None,
        download_location=SpdxNoAssertion(),
        files_analyzed=bool(item.files),
        verification_code=_verification(item.files, sha1),
        license_declared=declared or SpdxNoAssertion(),
        license_comment=f"the package says: {shown(package.license)}" if package.license and declared is None else None,
        source_info=f"installed at {shown(package.location)}" if package.location else None,
        external_references=[ExternalPackageRef(ExternalPackageRefCategory.PACKAGE_MANAGER, "purl", item.purl)],
    )


def _file(row: KeptPath, sha1: Mapping[str, str], number: int) -> File:
    checksums = [Checksum(ChecksumAlgorithm.SHA1, sha1[row.entry.path])] if sha1.get(row.entry.path) else []
    if row.sha256:
        checksums.append(Checksum(ChecksumAlgorithm.SHA256, row.sha256))
    return File(name="." + shown(row.entry.path), spdx_id=f"SPDXRef-file-{number}", checksums=checksums)
