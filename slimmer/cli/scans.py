"""`--scan FILE`: what scanners found in the fat root, for the verbs that tell what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from slimmer.report.findings import Finding, load_findings
from slimmer.report.output import Output
from slimmer.report.vulnerabilities import Vulnerabilities, assess, load_vulnerabilities


def findings_of(scans: Iterable[str]) -> tuple[Finding, ...]:
    """All findings of scan files. Raises SlimmerError."""
    return tuple(finding for scan in scans for finding in load_findings(Path(scan)))


def vulnerabilities(output: Output, scans: Sequence[str]) -> Vulnerabilities | None:
    """Of the scans that were named; else those that the output holds; None without any. Raises SlimmerError."""
    return assess(output, findings_of(scans)) if scans else load_vulnerabilities(output)
