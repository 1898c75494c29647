"""rpm's three databases against rpm itself and syft; and the trimmed one that is written against syft.

Debian's rpm writes only sqlite; the other two forms are made from the same headers, Berkeley DB's by
its own loader, and syft is the judge.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from slimmer.packages.index import index
from slimmer.packages.purl import purl
from slimmer.packages.rpmdb import sqlite_blobs, write_sqlite
from slimmer.packages.scannerdata import generated
from slimmer.root.directory import DirectoryRoot
from tests.support import plant, requires
from tests.tools import syft

pytestmark = requires("rpm", "rpmbuild", "db5.3_load")

SPEC = """\
Name: one
Version: 1.2
Release: 3
Epoch: 2
Summary: one
License: MIT
Requires: two >= 1
%description
one
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/etc %{buildroot}/usr/share/two
echo one > %{buildroot}/usr/bin/one
echo c > %{buildroot}/etc/one.conf
for n in $(seq 400); do echo $n > %{buildroot}/usr/share/two/file-with-a-long-name-$n; done
%files
/usr/bin/one
%config /etc/one.conf
%package -n two
Summary: two
BuildArch: noarch
%description -n two
two
%files -n two
/usr/share/two
"""
DATABASE = "var/lib/rpm"


@pytest.fixture(scope="module")
def sqlite_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("rpm")
    (top / "one.spec").write_text(SPEC)
    run = ["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {top}/build", str(top / "one.spec")]
    subprocess.run(run, check=True, capture_output=True)
    root = top / "root"
    root.mkdir()
    rpm(root, "-i", "--nodeps", "--noscripts", *map(str, sorted((top / "build/RPMS").rglob("*.rpm"))))
    return root


def rpm(root: Path, *arguments: str) -> str:
    command = ["rpm", "--root", str(root), "--define", f"_dbpath /{DATABASE}", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def headers(root: Path) -> list[tuple[int, bytes]]:
    place = root / DATABASE
    wal = place / "rpmdb.sqlite-wal"
    return list(sqlite_blobs((place / "rpmdb.sqlite").read_bytes(), wal.read_bytes() if wal.exists() else b""))


def as_ndb(blobs: list[tuple[int, bytes]], place: Path) -> None:
    """Packages.db as rpmpkg.c lays it out: a page of slots, then blobs on blocks of 16 bytes."""
    slots, data, block = b"", b"", 4096 // 16
    for number, blob in blobs:
        body = struct.pack("<4sIII", b"BlbS", number, 0, len(blob)) + blob
        body += b"\0" * (-len(body) % 16)
        body += struct.pack("<III4s", number, 0, len(blob), b"BlbE")
        blocks = len(body) // 16
        slots += struct.pack("<4sIII", b"Slot", number, block, blocks)
        data += body
        block += blocks
    empty = struct.pack("<4sIII", b"Slot", 0, 0, 0)
    head = struct.pack("<4sIII", b"RpmP", 0, 1, 1) + b"\0" * 16
    slots += empty * ((4096 - len(head) - len(slots)) // 16)
    (place / "Packages.db").write_bytes(head + slots + data)


def as_bdb(blobs: list[tuple[int, bytes]], place: Path) -> None:
    """Packages as Berkeley DB's own loader writes it."""
    lines = ["VERSION=3", "format=bytevalue", "type=hash", "db_pagesize=4096", "HEADER=END"]
    for number, blob in [(0, struct.pack("<I", 9)), *blobs]:
        lines += [" " + struct.pack("<I", number).hex(), " " + blob.hex()]
    text = "\n".join([*lines, "DATA=END", ""])
    subprocess.run(["db5.3_load", str(place / "Packages")], input=text, text=True, check=True)


def as_sqlite(blobs: list[tuple[int, bytes]], place: Path) -> None:
    (place / "rpmdb.sqlite").write_bytes(write_sqlite(blobs))


FORMS = pytest.mark.parametrize("form", [as_sqlite, as_ndb, as_bdb], ids=["sqlite", "ndb", "bdb"])


def other_form(sqlite_root: Path, top: Path, form: Callable[[list[tuple[int, bytes]], Path], None]) -> Path:
    place = top / DATABASE
    place.mkdir(parents=True)
    form(headers(sqlite_root), place)
    return top


def listed(top: Path) -> dict[str, str]:
    environment = {**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false"}
    command = [syft(), "scan", f"dir:{top}", "-q", "-o", "json"]
    done = subprocess.run(command, capture_output=True, check=True, env=environment)
    return {each["name"]: each["purl"] for each in json.loads(done.stdout)["artifacts"]}


def test_rpms_own_database_reads_as_rpm_reads_it(sqlite_root: Path) -> None:
    found = index(DirectoryRoot(str(sqlite_root)))
    tags = "%{NAME} %{EPOCH}:%{VERSION}-%{RELEASE} %{ARCH} %{LICENSE}\n"
    assert sorted(rpm(sqlite_root, "-qa", "--qf", tags).splitlines()) == [
        f"{each.name} {each.version} {each.architecture} {each.license}" for each in found.packages()
    ]
    for each in found.packages():
        assert sorted(rpm(sqlite_root, "-ql", each.name).splitlines()) == list(found.files(each))
        assert sorted(rpm(sqlite_root, "-qc", each.name).splitlines()) == list(found.conffiles(each))
    assert [each.name for each in found.owners("/usr/bin/one")] == ["one"]
    assert found.depends(found.packages()[0]) == ("config(one)", "two")


@FORMS
def test_every_form_reads_as_syft_reads_it(
    sqlite_root: Path, tmp_path: Path, form: Callable[[list[tuple[int, bytes]], Path], None]
) -> None:
    top = other_form(sqlite_root, tmp_path, form)
    found = index(DirectoryRoot(str(top)))
    expected = index(DirectoryRoot(str(sqlite_root)))
    assert found.packages() == expected.packages()
    assert [found.files(each) for each in found.packages()] == [expected.files(each) for each in expected.packages()]
    mine = {each.name: purl(each).replace("pkg:rpm/redhat/", "pkg:rpm/") for each in found.packages()}
    assert listed(top) == mine


@FORMS
def test_the_trimmed_database_shows_only_kept_packages(
    sqlite_root: Path, tmp_path: Path, form: Callable[[list[tuple[int, bytes]], Path], None]
) -> None:
    kept = "/usr/share/two/file-with-a-long-name-7"
    top = plant(other_form(sqlite_root, tmp_path / "fat", form), {kept: "7"})
    root = DirectoryRoot(str(top))
    files = generated(root, index(root), [kept])
    assert files == generated(root, index(root), [kept])
    for path, content in files.items():
        place = tmp_path / "slim" / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    assert set(listed(tmp_path / "slim")) == {"two"}
