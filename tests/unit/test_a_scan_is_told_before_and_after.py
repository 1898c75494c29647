"""Scans of the fat root, as grype and trivy write them: what is gone, what stays and why, and what a gate says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner

from slimmer.cli.gate import command as gate
from slimmer.cli.report import command as report
from slimmer.errors import SlimmerError, UsageProblem
from slimmer.report import read
from slimmer.report.findings import Severity, load_findings
from slimmer.report.output import Output
from slimmer.report.policy import parse_policy
from slimmer.report.vex import Status as Decided
from slimmer.report.vex import decide
from slimmer.report.vulnerabilities import FILE, Fate, assess, load_vulnerabilities, write_vulnerabilities
from tests.report_outputs import make_output
from tests.support import plant

SCHEMA = Path(read.__file__).with_name("schemas") / "vulnerabilities.schema.json"
STATUS = "\n".join(
    f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1-{name}\n"
    for name in ("gone", "part", "whole")
)
TREE: dict[str, str | bytes | None] = {
    "usr/bin/gone": "x",
    "usr/bin/part": "x",
    "usr/lib/libpart.so.1": "longer",
    "usr/share/part/extra": "x",
    "usr/bin/whole": "x",
    "opt/app.jar": "no zip",
    "opt/old.jar": "no zip",
    "var/lib/dpkg/status": STATUS,
    "var/lib/dpkg/info/gone.list": "/usr/bin/gone\n",
    "var/lib/dpkg/info/part.list": "/usr/bin/part\n/usr/lib/libpart.so.1\n/usr/share/part/extra\n",
    "var/lib/dpkg/info/whole.list": "/usr/bin/whole\n",
}
KEPT = ["/usr/bin/part", "/usr/lib/libpart.so.1", "/usr/bin/whole", "/opt/app.jar"]


def _vulnerability(name: str, package: str, severity: str, fixed: str = "", **more: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "VulnerabilityID": name,
        "PkgName": package,
        "InstalledVersion": more.pop("version", f"1-{package}"),
        "Severity": severity,
        "Status": "fixed" if fixed else "affected",
        "PkgIdentifier": {"PURL": f"pkg:deb/debian/{package}@1-{package}"},
        **more,
    }
    return row | ({"FixedVersion": fixed} if fixed else {})


# As `trivy image -f json` writes it (SchemaVersion 2): operating system packages, then one result for all jars.
TRIVY = {
    "SchemaVersion": 2,
    "ArtifactName": "app:1",
    "ArtifactType": "container_image",
    "Results": [
        {
            "Target": "app:1 (debian 12.5)",
            "Class": "os-pkgs",
            "Type": "debian",
            "Vulnerabilities": [
                _vulnerability("CVE-2024-1", "gone", "CRITICAL", "2"),
                _vulnerability("CVE-2024-1", "gone", "CRITICAL", "2"),  # told twice
                _vulnerability("CVE-2024-2", "part", "HIGH", "1-part+deb12u1"),
                _vulnerability("CVE-2024-3", "whole", "LOW"),
                _vulnerability("CVE-2024-4", "never", "MEDIUM"),
            ],
        },
        {
            "Target": "Java",
            "Class": "lang-pkgs",
            "Type": "jar",
            "Vulnerabilities": [
                {
                    "VulnerabilityID": "CVE-2021-44228",
                    "PkgName": "org.apache.logging.log4j:log4j-core",
                    "PkgPath": path,
                    "InstalledVersion": "2.14.1",
                    "FixedVersion": "2.15.0",
                    "Severity": "CRITICAL",
                    "PkgIdentifier": {"PURL": "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1"},
                }
                for path in ("opt/app.jar", "opt/old.jar")
            ],
        },
    ],
}
GRYPE = {
    "matches": [
        {
            "vulnerability": {"id": "CVE-2024-9", "severity": severity, "fix": {"versions": [], "state": "wont-fix"}},
            "relatedVulnerabilities": [],
            "artifact": {
                "name": name,
                "version": f"1-{name}",
                "type": "deb",
                "purl": f"pkg:deb/debian/{name}@1-{name}",
            },
        }
        for name, severity in (("part", "Negligible"), ("gone", "Unknown"))
    ]
}


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return Output(make_output(tmp_path / "out", plant(tmp_path / "fat", TREE), KEPT))


@pytest.fixture
def scan(tmp_path: Path) -> str:
    place = tmp_path / "trivy.json"
    place.write_text(json.dumps(TRIVY))
    return str(place)


def test_each_finding_has_its_fate_and_what_keeps_it(output: Output, scan: str) -> None:
    found = assess(output, load_findings(Path(scan)))
    rows = {(each.vulnerability, each.package, each.path): each for each in found.found}
    assert len(found.found) == 6
    gone = rows["CVE-2024-1", "gone", ""]
    assert (gone.fate, gone.severity) == (Fate.GONE, Severity.CRITICAL)
    assert gone.evidence == "gone 1-gone is not in the image: its only file was removed"
    part = rows["CVE-2024-2", "part", "/usr/lib/libpart.so.1"]  # the largest of its files that stay
    assert (part.fate, part.fixed) == (Fate.STAYS, "1-part+deb12u1")
    assert part.reason
    assert "kept in part" in part.evidence
    assert rows["CVE-2024-3", "whole", "/usr/bin/whole"].fate is Fate.STAYS
    assert rows["CVE-2024-4", "never", ""].fate is Fate.UNDECIDED
    log4j = [each for each in found.found if each.vulnerability == "CVE-2021-44228"]
    assert {(each.fate, each.path) for each in log4j} == {(Fate.STAYS, "/opt/app.jar"), (Fate.GONE, "")}


def test_counts_are_by_severity_and_what_nobody_knows_stays(output: Output, scan: str) -> None:
    counts = {
        each.severity: (each.fat, each.slim, each.fixable)
        for each in assess(output, load_findings(Path(scan))).counts()
    }
    assert counts == {"critical": (3, 1, 1), "high": (1, 1, 1), "medium": (1, 1, 0), "low": (1, 1, 0)}
    assert list(counts) == ["critical", "high", "medium", "low"]


def test_grypes_words_are_understood_too(output: Output, tmp_path: Path) -> None:
    place = tmp_path / "grype.json"
    place.write_text(json.dumps(GRYPE))
    found = assess(output, load_findings(place)).found
    assert [(each.severity, each.package, each.fate) for each in found] == [
        ("negligible", "part", Fate.STAYS),
        ("unknown", "gone", Fate.GONE),
    ]


def test_what_is_left_in_an_output_reads_back_and_satisfies_the_schema(output: Output, scan: str) -> None:
    assert load_vulnerabilities(output) is None
    written = write_vulnerabilities(output, load_findings(Path(scan)))
    assert load_vulnerabilities(output) == written
    schema = json.loads(SCHEMA.read_text())
    jsonschema.validate(json.loads((output.directory / FILE).read_text()), schema)
    (output.directory / FILE).write_text('{"format": "slimmer.vulnerabilities/1", "found": [{}]}')
    with pytest.raises(SlimmerError, match=r"is not of format slimmer\.vulnerabilities/1"):
        load_vulnerabilities(output)


def test_the_review_tells_it_in_every_form(output: Output, scan: str, tmp_path: Path) -> None:
    words = ["6 findings before, 4 after; 2 of these have a fix", "CVE-2021-44228"]
    runner, out = CliRunner(), str(output.directory)
    for form in ([], ["--markdown"]):
        told = runner.invoke(report, [out, "--scan", scan, *form])
        assert told.exit_code == 0, told.output
        assert words[1] in told.output.replace("\\", "")
    page = tmp_path / "page.html"
    assert runner.invoke(report, [out, "--scan", scan, "--html", str(page)]).exit_code == 0
    assert all(each in page.read_text() for each in words)
    assert 'id="tab-vulnerabilities"' in page.read_text()
    value = json.loads(runner.invoke(report, [out, "--scan", scan, "--json"]).output)
    assert value["counts"][0] == {"severity": "critical", "fat": 3, "slim": 1, "fixable": 1}


def test_a_review_without_a_scan_says_nothing_of_it(output: Output, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    told = CliRunner().invoke(report, [str(output.directory), "--html", str(page)])
    assert told.exit_code == 0
    assert (
        "ulnerabilit" not in page.read_text().split('<script type="application/octet-stream"')[0].split("</style>")[1]
    )


POLICIES = {
    "max_critical = 0": ["1 critical stay, at most 0 are allowed", "CVE-2021-44228"],
    "max_critical = 1": [],
    "max_high = 0\nfixable_only = true": ["1 high with a fix stay", "mended in 1-part+deb12u1"],
    "max_low = 0\nfixable_only = true": [],
    "max_total = 3": ["4 in all stay, at most 3 are allowed"],
    'max_critical = 0\nignored = ["CVE-2021-44228"]': [],
}


@pytest.mark.parametrize("table", POLICIES)
def test_a_gate_limits_what_stays(table: str, output: Output, scan: str, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(f"[vulnerabilities]\n{table}\n")
    told = CliRunner().invoke(gate, [str(output.directory), "--policy", str(policy), "--scan", scan])
    assert told.exit_code == (3 if POLICIES[table] else 0), told.output
    for words in POLICIES[table]:
        assert words in told.output


def test_a_gate_without_a_scan_takes_the_outputs_own_or_says_what_is_missing(
    output: Output, scan: str, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("[vulnerabilities]\nmax_critical = 0\n")
    arguments = [str(output.directory), "--policy", str(policy)]
    told = CliRunner().invoke(gate, arguments)
    assert isinstance(told.exception, UsageProblem)
    assert "there is no scan" in told.exception.message
    assert "--scan FILE" in told.exception.hint
    write_vulnerabilities(output, load_findings(Path(scan)))
    assert CliRunner().invoke(gate, arguments).exit_code == 3


@pytest.mark.parametrize("table", [{"max_critical": "0"}, {"max_all": 1}, {"fixable_only": 1}, {"ignored": "CVE"}])
def test_a_policy_that_is_wrong_is_refused(table: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="vulnerabilities"):
        parse_policy({"vulnerabilities": table})


def test_of_two_copies_of_a_release_each_finding_is_of_the_copy_at_its_path_and_vex_speaks_of_both(
    tmp_path: Path,
) -> None:
    copies = ("app/node_modules/lodash/package.json", "app/node_modules/grunt/node_modules/lodash/package.json")
    tree: dict[str, str | bytes | None] = dict.fromkeys(copies, '{"name": "lodash", "version": "4.17.20"}')
    fat = plant(tmp_path / "fat", {**tree, "app/node_modules/grunt/package.json": '{"name": "g", "version": "1"}'})
    output = Output(make_output(tmp_path / "out", fat, [f"/{copies[0]}"]))
    found = [
        {
            "VulnerabilityID": "CVE-2021-23337",
            "PkgName": "lodash",
            "PkgPath": place,
            "PkgIdentifier": {"PURL": "pkg:npm/lodash@4.17.20"},
            "InstalledVersion": "4.17.20",
            "FixedVersion": "4.17.21",
            "Severity": "HIGH",
        }
        for place in copies
    ]
    result = {"Target": "Node.js", "Class": "lang-pkgs", "Type": "node-pkg", "Vulnerabilities": found}
    scan = tmp_path / "trivy.json"
    scan.write_text(json.dumps({"SchemaVersion": 2, "Results": [result]}))
    findings = load_findings(scan)
    assert sorted(str(each.fate) for each in assess(output, findings).found) == ["gone", "stays"]
    assert {each.status for each in decide(output, findings)} == {Decided.AFFECTED}
