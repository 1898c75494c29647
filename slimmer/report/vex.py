"""OpenVEX 0.2.0: which findings of a scan of the fat root no longer apply to the slim image, and why.

Never claims more than is known:

    all of the package was removed          not_affected, component_not_present
    it is kept in part, and the scan names  not_affected, vulnerable_code_not_present
    the files that are vulnerable, and all
    of them were removed
    anything else that is kept              affected, as the scanner says
    a package the fat root did not have     no statement; told as undecided

That code was not executed in a recorded run proves nothing, and is never used.
"""

from __future__ import annotations

import datetime
import enum
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from slimmer.packages.model import Package, PackageType
from slimmer.packages.purl import purl
from slimmer.report.findings import Finding
from slimmer.report.model import PackageReport, PackageState, Report
from slimmer.report.output import Output
from slimmer.report.words import shown

CONTEXT = "https://openvex.dev/ns/v0.2.0"
_CASELESS = frozenset({PackageType.PYPI})


class Status(enum.StrEnum):
    """OpenVEX's words, and one of our own for what gets no statement."""

    NOT_PRESENT = "component_not_present"
    CODE_NOT_PRESENT = "vulnerable_code_not_present"
    AFFECTED = "affected"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Decision:
    """What is said of one finding, and why."""

    finding: Finding
    status: Status
    text: str
    purls: tuple[str, ...] = ()


def decide(output: Output, findings: Sequence[Finding], *, each_copy: bool = False) -> tuple[Decision, ...]:
    """A decision for each finding, in their order. Raises SlimmerError when the output cannot be read.

    With `each_copy` a finding is about the copy of a release that the scan names, not about all copies of it.
    A VEX document cannot: its statements name a purl, which all copies share.
    """
    report = output.report()
    known: dict[tuple[PackageType, str], list[PackageReport]] = {}
    for each in report.packages:
        known.setdefault(_key(each.package.type, each.package.name), []).append(each)
    asked = {path for finding in findings for path in (*finding.vulnerable_files, *finding.component_files)}
    kept, removed = _sides(output, asked)
    return tuple(_decide(finding, report, known, kept, removed, each_copy) for finding in findings)


def _key(kind: PackageType, name: str) -> tuple[PackageType, str]:
    if kind in _CASELESS:  # PEP 503
        name = "-".join(part for part in name.lower().replace("_", "-").replace(".", "-").split("-") if part)
    return kind, name


def _sides(output: Output, asked: set[str]) -> tuple[set[str], set[str]]:
    if not asked:
        return set(), set()
    kept = {row.entry.path for row in output.manifest() if row.entry.path in asked}
    removed: set[str] = set()
    for row in output.removed():
        path = row.entry.path
        if path in asked:
            removed.add(path)
        if row.tree is not None:  # all of it went, and one row tells so
            removed.update(each for each in asked if each.startswith(f"{path}/"))
    return kept, removed


def _decide(
    finding: Finding,
    report: Report,
    known: dict[tuple[PackageType, str], list[PackageReport]],
    kept: set[str],
    removed: set[str],
    each_copy: bool,
) -> Decision:
    candidates = [each for kind in finding.types for each in known.get(_key(kind, finding.name), ())]
    matches = [each for each in candidates if not finding.version or each.package.version == finding.version]
    if candidates and not matches:
        versions = ", ".join(sorted({each.package.version for each in candidates}))
        return Decision(finding, Status.UNDECIDED, f"the fat root had {finding.name} {versions}, not {finding.version}")
    if not matches:
        return _by_component_files(finding, kept, removed)
    if each_copy:
        matches = _at(finding, matches)
    release = {"ID": report.subject.distribution, "VERSION_ID": report.subject.release}
    purls = (finding.purl,) if finding.purl else tuple(sorted({purl(each.package, release) for each in matches}))
    staying = [each for each in matches if each.state is not PackageState.REMOVED]
    if not staying:
        gone = sum(each.removed_files for each in matches)
        return Decision(
            finding,
            Status.NOT_PRESENT,
            f"{_names(matches)} is not in the image: {_all_of(gone)} removed",
            purls,
        )
    named = finding.vulnerable_files
    if named and all(path in removed for path in named):
        text = f"the scan names {', '.join(map(shown, named))} as vulnerable, and the image has none of them"
        return Decision(finding, Status.CODE_NOT_PRESENT, text, purls)
    if any(each.state is PackageState.PART for each in staying):
        why = (
            "a file that the scan names as vulnerable stays, or was never in the fat root"
            if named
            else "the scan does not say which files are vulnerable"
        )
        return Decision(finding, Status.AFFECTED, f"{_names(staying)} is kept in part, and {why}", purls)
    return Decision(finding, Status.AFFECTED, f"{_names(staying)} is kept whole", purls)


def _at(finding: Finding, matches: list[PackageReport]) -> list[PackageReport]:
    """Of several copies of one release, those at the places that the scan names; all where it names none of them."""
    there = [
        each
        for each in matches
        if each.package.location
        and any(f"{place}/".startswith(f"{each.package.location.rstrip('/')}/") for place in finding.places)
    ]
    deepest = max((len(each.package.location) for each in there), default=0)  # npm nests packages in packages
    return [each for each in there if len(each.package.location) == deepest] or matches


def _all_of(files: int) -> str:
    return "its only file was" if files == 1 else f"all of its {files:,} files were"


def _by_component_files(finding: Finding, kept: set[str], removed: set[str]) -> Decision:
    """A package that the index does not know, by the files that are the package: a jar, a binary."""
    files = finding.component_files
    if files and finding.purl and all(path in removed for path in files):
        text = f"{finding.name} is {', '.join(map(shown, files))}, which was removed"
        return Decision(finding, Status.NOT_PRESENT, text, (finding.purl,))
    if any(path in kept for path in files) and finding.purl:
        return Decision(finding, Status.AFFECTED, f"{finding.name} is in a file that stays", (finding.purl,))
    return Decision(finding, Status.UNDECIDED, f"the fat root had no package {finding.name} that slimmer knows of")


def _names(matches: Sequence[PackageReport]) -> str:
    return " and ".join(dict.fromkeys(_name(each.package) for each in matches))


def _name(package: Package) -> str:
    return shown(f"{package.name} {package.version}".rstrip())


def product_of(report: Report) -> str:
    """The image's purl (purl-spec, oci): its digest is the image id where no registry has given another."""
    digest = quote(report.subject.image or "sha256:unknown", safe="")
    return f"pkg:oci/image@{digest}"


def openvex(decisions: Iterable[Decision], product: str, *, author: str, epoch: int) -> dict[str, Any]:
    """The document's JSON value. Its @id follows from what it says."""
    statements = [
        _statement(each, product)
        for each in sorted(decisions, key=lambda each: (each.finding.vulnerability, each.finding.name, each.purls))
        if each.status is not Status.UNDECIDED
    ]
    unique = {json.dumps(each, sort_keys=True): each for each in statements}
    time = datetime.datetime.fromtimestamp(epoch, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = hashlib.sha256("\n".join([product, author, time, *unique]).encode()).hexdigest()
    return {
        "@context": CONTEXT,
        "@id": f"https://openvex.dev/docs/public/vex-{digest}",
        "author": author,
        "timestamp": time,
        "version": 1,
        "tooling": "slimmer",
        "statements": list(unique.values()),
    }


def _statement(each: Decision, product: str) -> dict[str, Any]:
    statement: dict[str, Any] = {
        "vulnerability": {"name": each.finding.vulnerability},
        "products": [{"@id": product, "subcomponents": [{"@id": name} for name in each.purls]}],
    }
    if each.finding.aliases:
        statement["vulnerability"]["aliases"] = list(each.finding.aliases)
    if each.status is Status.AFFECTED:
        fixed = f" {each.finding.fixed}" if each.finding.fixed else ""
        statement["status"] = "affected"
        statement["status_notes"] = each.text
        statement["action_statement"] = f"Update {each.finding.name}{fixed} in the fat root and build the image again."
    else:
        statement["status"] = "not_affected"
        statement["justification"] = str(each.status)
        statement["impact_statement"] = each.text
    return statement
