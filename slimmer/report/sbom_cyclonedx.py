"""CycloneDX 1.6, through cyclonedx-python-lib: packages as libraries with purls, their files in them with hashes."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense, License, LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from slimmer.report.bill import Bill, Item
from slimmer.report.licenses import expression
from slimmer.report.model import KeptPath
from slimmer.report.words import shown


def cyclonedx(bill: Bill, *, epoch: int = 0) -> str:
    """The document's text; the same for the same bill and time (seconds since 1970)."""
    components = [*_system(bill), *(_package(item) for item in bill.items), *_files(bill.loose)]
    metadata = BomMetaData(
        component=_image(bill), timestamp=datetime.datetime.fromtimestamp(epoch, datetime.UTC), tools=None
    )
    document = Bom(components=components, metadata=metadata, serial_number=bill.identity)
    root = document.metadata.component
    if root is not None:
        libraries = [each for each in components if each.type is ComponentType.LIBRARY]
        document.register_dependency(root, libraries or components)
    text: str = JsonV1Dot6(document).output_as_string(indent=1)
    return text + "\n"


def _image(bill: Bill) -> Component:
    digest = bill.subject.image.removeprefix("sha256:")
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=digest)] if len(digest) == 64 else []
    return Component(
        name=shown(bill.name),
        type=ComponentType.CONTAINER,
        version=bill.subject.image or None,
        bom_ref="image",
        hashes=hashes,
    )


def _system(bill: Bill) -> Iterator[Component]:
    if bill.subject.distribution:
        yield Component(
            name=bill.subject.distribution,
            type=ComponentType.OPERATING_SYSTEM,
            version=bill.subject.release or None,
            bom_ref="operating-system",
        )


def _package(item: Item) -> Component:
    package = item.package
    group, _, name = package.name.rpartition("/") if package.type == "npm" else ("", "", package.name)
    properties = [Property(name="slimmer:location", value=shown(package.location))] if package.location else []
    return Component(
        name=shown(name),
        group=group or None,
        version=shown(package.version) or None,
        type=ComponentType.LIBRARY,
        purl=PackageURL.from_string(item.purl),
        bom_ref=item.purl + (f"#{shown(package.location)}" if package.location else ""),
        licenses=_licenses(package.license),
        properties=properties,
        components=list(_files(item.files)),
    )


def _licenses(text: str) -> list[License]:
    found = expression(text)
    if found is not None:
        return [LicenseExpression(value=found.render())]
    return [DisjunctiveLicense(name=shown(text))] if text else []


def _files(rows: Iterable[KeptPath]) -> Iterator[Component]:
    for row in rows:
        path = shown(row.entry.path)
        hashes = [HashType(alg=HashAlgorithm.SHA_256, content=row.sha256)] if row.sha256 else []
        yield Component(name=path, type=ComponentType.FILE, bom_ref=f"file:{path}", hashes=hashes)
