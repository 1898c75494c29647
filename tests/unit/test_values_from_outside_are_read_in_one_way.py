"""Numbers, URLs and texts from outside: read by one reader each, refused with one clear message, shown as text."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from slimmer.checks.compare import Comparison, Verdict
from slimmer.errors import SlimmerError, UsageProblem
from slimmer.exercise.discover import crawl
from slimmer.exercise.identity import account
from slimmer.exercise.model import Answer
from slimmer.packages.rpmdb import sqlite_blobs
from slimmer.recipe import Probe, parse, probe
from slimmer.report.findings import load_findings
from slimmer.report.table import _plain
from slimmer.root.directory import DirectoryRoot
from slimmer.values import masked, natural, printable
from tests.support import plant


@pytest.mark.parametrize("text", ["", "-1", "+1", "²", "٣", "1_0", " 1", "1.0", "9" * 5000, "65536"])
def test_what_is_no_number_within_bounds_is_none(text: str) -> None:
    assert natural(text, 65535) is None


@pytest.mark.parametrize("number", ["²", "9" * 5000, "-1", "4294967295", ""])
def test_accounts_with_odd_numbers_are_not_there(tmp_path: Path, number: str) -> None:
    passwd = f"odd:x:{number}:0::/:/bin/sh\nodder:x:5:{number}::/:/bin/sh\napp:x:7:8::/home:/bin/sh\n"
    groups = f"odd:x:{number}:app\nweb:x:9:app\n"
    root = DirectoryRoot(str(plant(tmp_path / "root", {"/etc/passwd": passwd, "/etc/group": groups})))
    found = account(root, "app")
    assert (found.identity.uid, found.identity.gid, found.identity.groups) == (7, 8, (9,))
    for user in ("odd", "odder", "app:odd", number or "odd", f"app:{number or 'odd'}"):
        with pytest.raises(UsageProblem):
            account(root, user)


@pytest.mark.parametrize(
    "text", ["http://[::1", "x", "http://h:99999/", "http://h:x/", "file:///x", "http://[x]/", "http:/x"]
)
def test_a_probe_that_is_no_url_is_told_once(text: str) -> None:
    with pytest.raises(UsageProblem, match="not a URL"):
        probe(text)
    with pytest.raises(UsageProblem, match="not a URL"):
        parse({"run": [{"command": ["app"], "probes": [{"url": text}]}]}, "slim.toml")
    with pytest.raises(UsageProblem, match="not a URL"):
        list(crawl(text, lambda each: Answer(each.url, None, b"")))


def test_links_that_lead_nowhere_are_skipped() -> None:
    page = b'<a href="http://[x">a</a><a href="/next">b</a><a href="//[">c</a>'

    def ask(each: Probe) -> Answer:
        return Answer(each.url, 200, page, "text/html")

    assert [each.probe for each in crawl("http://127.0.0.1/", ask)] == ["http://127.0.0.1/", "http://127.0.0.1/next"]


def test_a_repair_without_a_path_is_told() -> None:
    with pytest.raises(UsageProblem, match=r"repair 1: the key 'path' is missing"):
        parse({"repair": [{}]}, "slim.toml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET http://bob:hunter2@127.0.0.1:80/x", "GET http://bob:***@127.0.0.1:80/x"),
        ("GET http://h/?token=abc&page=2", "GET http://h/?token=***&page=2"),
        ("/x?a=1&api_key=k%20k&X-Amz-Signature=00ff", "/x?a=1&api_key=***&X-Amz-Signature=***"),
        ("http://127.0.0.1:8080/a@b", "http://127.0.0.1:8080/a@b"),
    ],
)
def test_credentials_in_urls_are_masked(text: str, expected: str) -> None:
    assert masked(text) == expected


def test_the_check_tells_no_credentials() -> None:
    compared = Comparison(
        "GET http://u:hunter2@h/?token=s3cret", "200", "500", "status 500 of http://u:hunter2@h/", False
    )
    text = Verdict(comparisons=(compared,)).dump()
    assert "hunter2" not in text
    assert "s3cret" not in text
    assert json.loads(text)["comparisons"][0]["what"] == "GET http://u:***@h/?token=***"


def test_terminal_escapes_are_shown_as_text() -> None:
    assert printable("a\x1b[31mb\x07\u202ec\udcff") == "a\\x1b[31mb\\x07\\u202ec\\xff"


def test_messages_carry_no_terminal_escapes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "slimmer.cli.main", "report", f"{tmp_path}/\x1b[2Jx"], capture_output=True, check=False
    )
    assert done.returncode == 1
    assert b"\x1b" not in done.stderr
    assert b"\\x1b[2Jx" in done.stderr


@pytest.mark.parametrize("number", [0, 1, 2])
def test_closed_streams_are_no_fault(number: int) -> None:
    words = f"{sys.executable} -m slimmer.cli.main profiles {number}>&-"
    done = subprocess.run(["/bin/sh", "-c", words], capture_output=True, check=False)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


def test_a_reader_that_is_gone_is_no_fault() -> None:
    words = f"{sys.executable} -m slimmer.cli.main profiles | true"
    done = subprocess.run(["/bin/sh", "-c", words], capture_output=True, check=False)
    assert done.stderr == b""


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-rf", "@x", "\t=1"])
def test_no_cell_begins_a_formula(cell: str) -> None:
    assert _plain(cell) == f"'{cell}"


def test_an_rpm_database_without_a_header_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "rpmdb.sqlite"
    with sqlite3.connect(place) as connection:
        connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)")
        connection.execute("INSERT INTO Packages VALUES (1, NULL)")
    connection.close()
    with pytest.raises(ValueError, match="no header"):
        list(sqlite_blobs(place.read_bytes(), b""))


def test_a_scan_with_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    scan = {"matches": [{"vulnerability": {"id": "CVE-1"}, "artifact": {"name": 5, "type": "deb", "version": "1"}}]}
    (tmp_path / "scan").write_text(json.dumps(scan))
    with pytest.raises(SlimmerError, match="no text"):
        load_findings(tmp_path / "scan")
