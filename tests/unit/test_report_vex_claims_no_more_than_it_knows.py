"""VEX: what each scanner's finding becomes for removed, partly kept, whole and unknown packages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from slimmer.cli.vex import command
from slimmer.errors import SlimmerError
from slimmer.report.findings import Finding, load_findings, name_files
from slimmer.report.output import Output
from slimmer.report.vex import Status, decide, openvex
from tests.report_outputs import make_output
from tests.support import plant

STATUS = "\n".join(
    f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1-{name}\n"
    for name in ("gone", "part", "whole")
)
SITE = "usr/lib/python3.11/site-packages"
TREE: dict[str, str | bytes | None] = {
    "usr/bin/gone": "x",
    "usr/bin/part": "x",
    "usr/bin/part-extra": "x",
    "usr/bin/whole": "x",
    "opt/app.jar": "no zip",
    "var/lib/dpkg/status": STATUS,
    "var/lib/dpkg/info/gone.list": "/usr/bin/gone\n",
    "var/lib/dpkg/info/part.list": "/usr/bin/part\n/usr/bin/part-extra\n",
    "var/lib/dpkg/info/whole.list": "/usr/bin/whole\n",
    f"{SITE}/markupsafe/x.py": "x",
    f"{SITE}/MarkupSafe-2.0.dist-info/METADATA": "Name: MarkupSafe\nVersion: 2.0\n",
    f"{SITE}/MarkupSafe-2.0.dist-info/RECORD": "markupsafe/x.py,,\nMarkupSafe-2.0.dist-info/METADATA,,\n"
    "MarkupSafe-2.0.dist-info/RECORD,,\n",
    "app/node_modules/a/package.json": '{"name": "left", "version": "1.0.0"}',
    "app/node_modules/b/node_modules/left/package.json": '{"name": "left", "version": "1.0.0"}',
    "app/node_modules/b/package.json": '{"name": "@s/b", "version": "3.0.0"}',
}
KEPT = ["/usr/bin/part", "/usr/bin/whole", "/app/node_modules/a/package.json"]


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return Output(make_output(tmp_path / "out", plant(tmp_path / "fat", TREE), KEPT))


def scanned(top: Path, value: Any) -> tuple[Finding, ...]:
    path = top / "scan"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return load_findings(path)


def verdicts(output: Output, findings: tuple[Finding, ...]) -> dict[str, str]:
    return {f"{each.finding.vulnerability} {each.finding.name}": str(each.status) for each in decide(output, findings)}


GRYPE = {
    "matches": [
        {
            "vulnerability": {"id": "CVE-1", "fix": {"versions": ["2"], "state": "fixed"}},
            "relatedVulnerabilities": [{"id": "CVE-1"}, {"id": "GHSA-x"}],
            "artifact": {
                "name": name,
                "version": version,
                "type": kind,
                "purl": purl,
                "locations": [{"path": "/var/lib/dpkg/status"}],
            },
        }
        for name, version, kind, purl in [
            ("gone", "1-gone", "deb", "pkg:deb/debian/gone@1-gone?arch=amd64"),
            ("part", "1-part", "deb", "pkg:deb/debian/part@1-part"),
            ("whole", "1-whole", "deb", "pkg:deb/debian/whole@1-whole"),
            ("gone", "9", "deb", "pkg:deb/debian/gone@9"),
            ("never", "1", "deb", "pkg:deb/debian/never@1"),
            ("markupsafe", "2.0", "python", "pkg:pypi/markupsafe@2.0"),
            ("left", "1.0.0", "npm", "pkg:npm/left@1.0.0"),
            ("b", "3.0.0", "npm", "pkg:npm/%40s/b@3.0.0"),
        ]
    ]
}


def test_grypes_findings_are_decided_by_what_became_of_the_package(tmp_path: Path, output: Output) -> None:
    found = scanned(tmp_path, GRYPE)
    assert [str(each.status) for each in decide(output, found)] == [
        "component_not_present",
        "affected",  # kept in part, and nobody names the vulnerable files
        "affected",
        "undecided",  # another version than the fat root had
        "undecided",
        "component_not_present",  # whatever the case of its name
        "affected",  # one of its two copies stays
        "component_not_present",  # its scope is only in the purl
    ]
    assert found[0].fixed == "2"
    assert found[0].aliases == ("GHSA-x",)


def test_trivys_findings_are_decided_too_and_jars_by_their_own_file(tmp_path: Path, output: Output) -> None:
    value = {
        "SchemaVersion": 2,
        "Results": [
            {
                "Target": "fat (debian 12)",
                "Class": "os-pkgs",
                "Type": "debian",
                "Vulnerabilities": [
                    {"VulnerabilityID": "CVE-1", "PkgName": "gone", "InstalledVersion": "1-gone", "FixedVersion": "2"},
                    {"VulnerabilityID": "CVE-2", "PkgName": "whole", "InstalledVersion": "1-whole"},
                ],
            },
            {
                "Target": "Java",
                "Type": "jar",
                "Vulnerabilities": [
                    {
                        "VulnerabilityID": "CVE-3",
                        "PkgName": "org.x:lib",
                        "PkgPath": "opt/app.jar",
                        "InstalledVersion": "1",
                        "PkgIdentifier": {"PURL": "pkg:maven/org.x/lib@1"},
                    },
                ],
            },
            {"Target": "clean", "Type": "node-pkg"},
        ],
    }
    assert verdicts(output, scanned(tmp_path, value)) == {
        "CVE-1 gone": "component_not_present",
        "CVE-2 whole": "affected",
        "CVE-3 org.x:lib": "component_not_present",
    }


def test_debsecans_lines_are_decided_without_a_version(tmp_path: Path, output: Output) -> None:
    text = "CVE-2024-0001 gone (remotely exploitable, high urgency)\nTEMP-0000001-ABCDEF part\n"
    text += "CVE-2024-0002 never (low urgency)\n\n"
    assert verdicts(output, scanned(tmp_path, text)) == {
        "CVE-2024-0001 gone": "component_not_present",
        "TEMP-0000001-ABCDEF part": "affected",
        "CVE-2024-0002 never": "undecided",
    }


@pytest.mark.parametrize(
    ("files", "status"),
    [
        (["/usr/bin/part-extra"], Status.CODE_NOT_PRESENT),
        (["/usr/bin/part-extra", "/usr/bin/part"], Status.AFFECTED),  # one of them stays
        (
            ["/usr/bin/part-extra", "/usr/lib/elsewhere"],
            Status.AFFECTED,
        ),  # one was never there: the data is of another build
        ([], Status.AFFECTED),
    ],
)
def test_a_partly_kept_package_is_cleared_only_when_all_named_files_are_gone(
    tmp_path: Path, output: Output, files: list[str], status: Status
) -> None:
    (tmp_path / "files").write_text(json.dumps({"CVE-2024-0001": files}))
    findings = name_files(scanned(tmp_path, "CVE-2024-0001 part\n"), tmp_path / "files")
    assert [each.status for each in decide(output, findings)] == [status]


@pytest.mark.parametrize("value", ['{"x": 1}', "[]", "not debsecan\n", '{"matches": [{}]}', '{"Results": [1]}'])
def test_a_scan_of_an_unknown_form_is_an_error(tmp_path: Path, value: str) -> None:
    with pytest.raises(SlimmerError, match="scan"):
        scanned(tmp_path, value)


@pytest.mark.parametrize("value", ["[]", '{"CVE-1": "x"}', '{"CVE-1": ["relative"]}', "{"])
def test_named_files_of_an_unknown_form_are_an_error(tmp_path: Path, value: str) -> None:
    (tmp_path / "files").write_text(value)
    with pytest.raises(SlimmerError, match=r"JSON|name files|absolute"):
        name_files([], tmp_path / "files")


def test_the_document_has_what_openvex_asks_for_and_is_the_same_each_time(tmp_path: Path, output: Output) -> None:
    decisions = decide(output, scanned(tmp_path, GRYPE))
    value = openvex(decisions, "pkg:oci/x@sha256%3Aab", author="me", epoch=0)
    assert value == openvex(reversed(decisions), "pkg:oci/x@sha256%3Aab", author="me", epoch=0)
    assert value["@context"] == "https://openvex.dev/ns/v0.2.0"
    assert value["timestamp"] == "1970-01-01T00:00:00Z"
    assert len(value["statements"]) == 6
    for statement in value["statements"]:
        assert statement["products"][0]["@id"] == "pkg:oci/x@sha256%3Aab"
        assert statement["products"][0]["subcomponents"]
        if statement["status"] == "not_affected":
            assert statement["justification"] == "component_not_present"
        else:
            assert statement["status"] == "affected"
            assert statement["action_statement"].startswith("Update ")
    assert "in_execute_path" not in json.dumps(value)


def test_the_command_writes_the_document_and_tells_what_is_undecided(tmp_path: Path, output: Output) -> None:
    scanned(tmp_path, GRYPE)
    done = CliRunner().invoke(
        command,
        [str(output.directory), "--scan", str(tmp_path / "scan")],
        env={"SOURCE_DATE_EPOCH": "86400"},
        catch_exceptions=False,
    )
    assert json.loads(done.stdout)["timestamp"] == "1970-01-02T00:00:00Z"
    assert "8 findings: 3 not present, 0 without the vulnerable code, 3 affected, 2 undecided" in done.stderr
    assert "undecided: CVE-1 never: the fat root had no package never" in done.stderr
