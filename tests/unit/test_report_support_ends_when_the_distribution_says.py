"""Age: until when a distribution is supported, and what a policy says of it; a root and a day in, a violation out."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import pytest

from slimmer.packages.purl import os_release
from slimmer.report.gate import judge
from slimmer.report.model import Subject
from slimmer.report.output import Output
from slimmer.report.policy import parse_policy
from slimmer.report.support import over, support_end, support_words
from slimmer.root.directory import DirectoryRoot
from tests.report_outputs import make_output
from tests.support import plant

CSV = "version,codename,series,created,release,eol,eol-lts\n99,Odd,odd,2020-01-01,2020-02-02,2023-03-03,2025-05-05\n"


@pytest.mark.parametrize(
    ("release", "end"),
    [
        ('ID=debian\nVERSION_ID="12"\n', "2028-06-30"),
        ('ID=ubuntu\nVERSION_ID="24.04"\n', "2029-05-31"),
        ("ID=alpine\nVERSION_ID=3.20.3\n", "2026-04-01"),
        ("ID=fedora\nVERSION_ID=42\nSUPPORT_END=2026-05-13\n", "2026-05-13"),
        ("ID=debian\nVERSION_ID=99\n", "2025-05-05"),  # from the root's own distro-info-data
        ("ID=debian\n", ""),
        ("ID=../../etc\nVERSION_ID=1\n", ""),
        ("ID=fedora\nVERSION_ID=42\nSUPPORT_END=soon\n", ""),
        ("", ""),
    ],
)
def test_the_end_comes_from_the_root_or_from_the_table(release: str, end: str, tmp_path: Path) -> None:
    root = DirectoryRoot(str(plant(tmp_path, {"/etc/os-release": release, "/usr/share/distro-info/debian.csv": CSV})))
    assert support_end(root, os_release(root)) == end


def test_the_last_day_is_still_supported() -> None:
    day = datetime.date(2028, 6, 30)
    assert not over("2028-06-30", day)
    assert over("2028-06-30", day + datetime.timedelta(1))
    assert not over("", day)
    subject = Subject(distribution="debian", release="12", support_end="2028-06-30")
    assert support_words(subject) == "debian 12, security updates until 2028-06-30"


def test_a_policy_refuses_old_outputs_and_unsupported_distributions(tmp_path: Path) -> None:
    plant(tmp_path / "fat", {"/bin/app": "x"})
    subject = Subject(distribution="debian", release="10", support_end="2024-06-30")
    out = Output(make_output(tmp_path / "out", tmp_path / "fat", ["/bin/app"], subject=subject))
    made = datetime.datetime(2024, 6, 1, tzinfo=datetime.UTC)
    os.utime(out.directory / "report.json", (made.timestamp(),) * 2)
    policy = parse_policy({"limits": {"age": 30}, "allow": {"unsupported": False}})

    def rules(days: int) -> list[str]:
        return [each.rule for each in judge(out, policy, made + datetime.timedelta(days)).violations]

    assert rules(29) == []
    assert rules(30) == ["allow.unsupported"]
    assert rules(31) == ["limits.age", "allow.unsupported"]
    lenient = parse_policy({"limits": {"size": "1 GB"}})
    assert judge(out, lenient, made + datetime.timedelta(9999)).violations == ()
