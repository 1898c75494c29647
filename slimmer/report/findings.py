"""Findings of scanners: grype's and trivy's JSON, debsecan's text. Read strictly enough to never guess a package."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from packageurl import PackageURL

from slimmer.errors import SlimmerError
from slimmer.packages.model import PackageType

_TYPES = {each.value: each for each in PackageType}
# grype's and trivy's own words for package systems.
_WORDS = {
    **_TYPES,
    "python": PackageType.PYPI,
    "python-pkg": PackageType.PYPI,
    "node-pkg": PackageType.NPM,
    "go-module": PackageType.GOLANG,
    "gobinary": PackageType.GOLANG,
    "java-archive": PackageType.MAVEN,
    "jar": PackageType.MAVEN,
    "gemspec": PackageType.GEM,
    "debian": PackageType.DEB,
    "ubuntu": PackageType.DEB,
    "alpine": PackageType.APK,
    "wolfi": PackageType.APK,
    "chainguard": PackageType.APK,
    "redhat": PackageType.RPM,
    "fedora": PackageType.RPM,
    "rocky": PackageType.RPM,
    "alma": PackageType.RPM,
    "amazon": PackageType.RPM,
    "oracle": PackageType.RPM,
    "centos": PackageType.RPM,
}
# Packages that are a file each: where it was found is the package.
_FILES = frozenset({PackageType.MAVEN, PackageType.GOLANG})
_DEBSECAN = re.compile(r"^(CVE-\d{4}-\d{4,}|TEMP-\d{7}-[0-9A-F]{6})\s+(\S+)(?:\s+\((.*)\))?\s*$")


class Severity(enum.StrEnum):
    """The scanners' words, the gravest first."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    NEGLIGIBLE = "negligible"
    UNKNOWN = "unknown"


_SEVERITIES = {each.value: each for each in Severity}
_URGENCY = re.compile(r"\b(low|medium|high) urgency")


@dataclass(frozen=True, slots=True)
class Finding:
    """One vulnerability of one package in the fat root."""

    vulnerability: str
    name: str
    version: str = ""  # "" where the scanner does not say
    types: tuple[PackageType, ...] = ()
    purl: str = ""
    fixed: str = ""
    aliases: tuple[str, ...] = ()
    vulnerable_files: tuple[str, ...] = ()  # files that the data names as vulnerable
    component_files: tuple[str, ...] = ()  # files that are the package
    severity: Severity = Severity.UNKNOWN
    places: tuple[str, ...] = ()  # where the scanner saw the package: a METADATA, a package.json, a database

    def __post_init__(self) -> None:
        texts = (self.vulnerability, self.name, self.version, self.purl, self.fixed)
        for each in (*texts, *self.aliases, *self.vulnerable_files, *self.component_files, *self.places):
            if not isinstance(each, str):
                raise TypeError(f"{each!r:.40} is no text")


def load_findings(path: Path) -> tuple[Finding, ...]:
    """A scan's findings, whichever scanner wrote it. Raises SlimmerError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SlimmerError(f"cannot read the scan {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SlimmerError(f"the scan {path} is not UTF-8 at byte {error.start}") from error
    try:
        if not text.lstrip().startswith("{"):
            return tuple(debsecan(text))
        value = json.loads(text)
        if "matches" in value:
            return tuple(grype(value))
        if "Results" in value or "SchemaVersion" in value:
            return tuple(trivy(value))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SlimmerError(
            f"the scan {path} is neither grype's nor trivy's JSON nor debsecan's text: {type(error).__name__}: {error}",
            "write one with `grype -o json`, `trivy image -f json` or `debsecan`",
        ) from error
    raise SlimmerError(f"the scan {path} is JSON, but neither grype's nor trivy's", "it has no matches and no Results")


def grype(value: dict[str, Any]) -> Iterator[Finding]:
    """`grype -o json`."""
    for match in value["matches"]:
        found, artifact = match["vulnerability"], match["artifact"]
        kind = _WORDS.get(artifact["type"])
        locations = [each["path"] for each in artifact.get("locations") or ()]
        related = sorted({each["id"] for each in match.get("relatedVulnerabilities") or ()} - {found["id"]})
        yield Finding(
            vulnerability=found["id"],
            name=_full_name(artifact["name"], artifact.get("purl", "")),
            version=artifact.get("version", ""),
            types=(kind,) if kind else (),
            purl=artifact.get("purl", ""),
            fixed=", ".join((found.get("fix") or {}).get("versions") or ()),
            aliases=tuple(related),
            component_files=tuple(locations) if kind in _FILES else (),
            severity=_severity(found.get("severity", "")),
            places=tuple(locations),
        )


def trivy(value: dict[str, Any]) -> Iterator[Finding]:
    """`trivy … -f json`."""
    for result in value.get("Results") or ():
        kind = _WORDS.get(result.get("Type", ""))
        for found in result.get("Vulnerabilities") or ():
            name = (found.get("PkgIdentifier") or {}).get("PURL", "")
            place = found.get("PkgPath") or (result.get("Target", "") if kind is PackageType.GOLANG else "")
            yield Finding(
                vulnerability=found["VulnerabilityID"],
                name=_full_name(found["PkgName"], name),
                version=found.get("InstalledVersion", ""),
                types=(kind,) if kind else (),
                purl=name,
                fixed=found.get("FixedVersion", ""),
                component_files=("/" + place.lstrip("/"),) if place and kind in _FILES else (),
                severity=_severity(found.get("Severity", "")),
                places=("/" + place.lstrip("/"),) if place else (),
            )


def _severity(word: str) -> Severity:
    return _SEVERITIES.get(word.lower(), Severity.UNKNOWN)


def _full_name(name: str, purl: str) -> str:
    """npm's scope and Maven's group, which some scanners only tell in the purl."""
    if purl:
        found = PackageURL.from_string(purl)
        if found.namespace and found.type == "npm" and not name.startswith("@"):
            return f"{found.namespace}/{found.name}"
        if found.namespace and found.type == "maven" and ":" not in name:
            return f"{found.namespace}:{found.name}"
    return name


def debsecan(text: str) -> Iterator[Finding]:
    """debsecan's simple and summary formats: a vulnerability and a binary package on each line."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        found = _DEBSECAN.match(line)
        if found is None:
            raise ValueError(f"line {number} is not debsecan's: {line[:60]!r}")
        urgency = _URGENCY.search(found[3] or "")
        severity = _severity(urgency[1]) if urgency else Severity.UNKNOWN
        yield Finding(found[1], found[2], types=(PackageType.DEB,), severity=severity)


def name_files(findings: Iterable[Finding], path: Path) -> tuple[Finding, ...]:
    """The findings with the vulnerable files that advisory data names: {"CVE-…": ["/usr/lib/…"]}.

    Raises SlimmerError.
    """
    hint = 'it is one JSON object: {"CVE-2024-0001": ["/usr/lib/x.so.1"]}'
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SlimmerError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SlimmerError(f"{path} is not JSON: {error}", hint) from error
    if not isinstance(value, dict):
        raise SlimmerError(f"{path} does not name files of vulnerabilities", hint)
    for name, files in value.items():
        if not isinstance(files, list) or not all(isinstance(each, str) and each.startswith("/") for each in files):
            raise SlimmerError(f"{path}: {name} has no list of absolute paths", hint)
    return tuple(
        replace(each, vulnerable_files=tuple(value[each.vulnerability])) if value.get(each.vulnerability) else each
        for each in findings
    )
