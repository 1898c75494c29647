"""Findings of a scan of the fat root, before and after: which are gone and by what evidence, which stay and why.

What `slimmer.report.vex` decides, with the scanner's severity and the reason that keeps the file. Nothing is claimed
beyond it: a finding of a package that slimmer does not know of counts as one that stays.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slimmer.errors import SlimmerError
from slimmer.report.findings import Finding, Severity
from slimmer.report.model import KeptPath
from slimmer.report.output import Output
from slimmer.report.vex import Decision, decide
from slimmer.report.vex import Status as Decided

FORMAT = "slimmer.vulnerabilities/1"
FILE = "vulnerabilities.json"


class Fate(enum.StrEnum):
    """What became of a finding."""

    GONE = "gone"
    STAYS = "stays"
    UNDECIDED = "undecided"  # of a package that slimmer knows nothing of; it counts as one that stays


_FATES = {
    Decided.NOT_PRESENT: Fate.GONE,
    Decided.CODE_NOT_PRESENT: Fate.GONE,
    Decided.AFFECTED: Fate.STAYS,
    Decided.UNDECIDED: Fate.UNDECIDED,
}


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """One finding. `path` and `reason`: a file of it that stays, and what keeps that; empty where nothing does."""

    vulnerability: str
    severity: Severity
    package: str
    version: str
    fixed: str  # the version that mends it; "" where the scan names none
    fate: Fate
    evidence: str
    path: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SeverityCount:
    """How many findings of one severity there were, how many are left, and how many of these have a fix."""

    severity: Severity
    fat: int
    slim: int
    fixable: int


@dataclass(frozen=True, slots=True)
class Vulnerabilities:
    """All findings of the scans, the gravest first."""

    found: tuple[Vulnerability, ...]

    @property
    def staying(self) -> tuple[Vulnerability, ...]:
        return tuple(each for each in self.found if each.fate is not Fate.GONE)

    def counts(self) -> tuple[SeverityCount, ...]:
        """By severity, the gravest first; severities that no finding has are left out."""
        counts = []
        for severity in Severity:
            found = [each for each in self.found if each.severity is severity]
            left = [each for each in found if each.fate is not Fate.GONE]
            if found:
                counts.append(SeverityCount(severity, len(found), len(left), sum(1 for each in left if each.fixed)))
        return tuple(counts)

    def dump(self) -> str:
        """The text of vulnerabilities.json."""
        counts = [asdict(each) for each in self.counts()]
        rows = ",\n".join(json.dumps(asdict(each), ensure_ascii=True) for each in self.found)
        return f'{{"format": "{FORMAT}", "counts": {json.dumps(counts)}, "found": [\n{rows}\n]}}\n'


def assess(output: Output, findings: Sequence[Finding]) -> Vulnerabilities:
    """What became of each finding; one that is told twice counts once. Raises SlimmerError."""
    decisions = decide(output, tuple(dict.fromkeys(findings)), each_copy=True)
    kept = _kept(output, decisions)
    rows = dict.fromkeys(_row(each, kept) for each in decisions)
    order = list(Severity)
    return Vulnerabilities(
        tuple(sorted(rows, key=lambda each: (order.index(each.severity), each.package, each.vulnerability, each.path)))
    )


def _row(decision: Decision, kept: Mapping[str, KeptPath]) -> Vulnerability:
    finding = decision.finding
    names = (*finding.component_files, _place(finding.name, finding.version)) if _stays(decision) else ()
    row = next((kept[name] for name in names if name in kept), None)
    return Vulnerability(
        finding.vulnerability,
        finding.severity,
        finding.name,
        finding.version,
        finding.fixed,
        _FATES[decision.status],
        decision.text,
        row.entry.path if row else "",
        row.reasons[0].text if row and row.reasons else "",
    )


def _stays(decision: Decision) -> bool:
    return _FATES[decision.status] is not Fate.GONE


def _place(name: str, version: str) -> str:
    return f"{name.lower().replace('_', '-')}\0{version}"


def _kept(output: Output, decisions: Iterable[Decision]) -> dict[str, KeptPath]:
    """For each file and package that findings are about and that stays, its row; of a package the largest file's."""
    staying = [each.finding for each in decisions if _stays(each)]
    files = {path for each in staying for path in each.component_files}
    asked = {_place(each.name, version) for each in staying for version in (each.version, "")}
    found: dict[str, KeptPath] = {}
    if not staying:
        return found
    for row in output.manifest():
        if row.entry.path in files:
            found[row.entry.path] = row
        for package in (row.package, *row.also):
            if package is None:
                continue
            for place in {_place(package.name, package.version), _place(package.name, "")} & asked:
                if place not in found or found[place].entry.size < row.entry.size:
                    found[place] = row
    return found


def load_vulnerabilities(output: Output) -> Vulnerabilities | None:
    """What `slim trace --scan` left in an output; None without it. Raises SlimmerError for a file of another form."""
    place = output.directory / FILE
    if not place.exists():
        return None
    try:
        return _read(json.loads(place.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SlimmerError(f"{place} is not of format {FORMAT}: {type(error).__name__}: {error}") from error


def _read(value: Any) -> Vulnerabilities:
    if value["format"] != FORMAT:
        raise ValueError(f"its format is {value['format']!r}")
    rows = []
    for row in value["found"]:
        texts = {name: row[name] for name in Vulnerability.__slots__}
        if not all(isinstance(each, str) for each in texts.values()):
            raise TypeError("a field is no text")
        rows.append(Vulnerability(**{**texts, "severity": Severity(row["severity"]), "fate": Fate(row["fate"])}))
    return Vulnerabilities(tuple(rows))


def write_vulnerabilities(output: Output, findings: Sequence[Finding]) -> Vulnerabilities:
    """Assess, and leave vulnerabilities.json in the output. Raises SlimmerError."""
    found = assess(output, findings)
    place = Path(output.directory / FILE)
    try:
        place.write_text(found.dump(), encoding="utf-8")
    except OSError as error:
        raise SlimmerError(f"cannot write {place}: {error.strerror}") from error
    return found
