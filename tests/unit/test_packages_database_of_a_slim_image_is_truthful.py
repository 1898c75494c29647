"""The generated package databases: only kept packages, only kept files, in the form scanners read."""

from __future__ import annotations

from pathlib import Path

from slimmer.packages.index import index
from slimmer.packages.scannerdata import generated, replaced
from slimmer.root.directory import DirectoryRoot
from slimmer.root.layered import GeneratedRoot
from tests.support import plant
from tests.unit.test_packages_answer_who_owns_a_path import DEBIAN

INSTALLED = """\
C:Q1abc=
P:musl
V:1.2.5-r0
A:x86_64
F:lib
M:0:0:755
R:ld-musl-x86_64.so.1
a:0:0:755
Z:Q1one=
R:libc.musl-x86_64.so.1
a:0:0:777
Z:Q1two=
F:usr/share/doc
R:readme
Z:Q1three=

C:Q1def=
P:curl
V:8.1
F:usr/bin
R:curl
Z:Q1four=

"""


def made(top: Path, tree: dict[str, str | bytes | None], kept: list[str]) -> dict[str, str]:
    root = DirectoryRoot(str(plant(top, tree)))
    return {path: content.decode() for path, content in generated(root, index(root), kept).items()}


def test_debian_packages_with_a_kept_file_get_a_stanza_and_the_sums_of_kept_files(tmp_path: Path) -> None:
    sums = (
        "11111111111111111111111111111111  bin/dash\n22222222222222222222222222222222  usr/share/doc/dash/copyright\n"
    )
    tree = {**DEBIAN, "var/lib/dpkg/info/dash.md5sums": sums, "etc/dash.rc": "x"}
    files = made(tmp_path, tree, ["/bin", "/etc/dash.rc", "/usr", "/usr/bin", "/usr/bin/dash", "/usr/bin/sh"])
    assert sorted(files) == ["/var/lib/dpkg/status.d/dash", "/var/lib/dpkg/status.d/dash.md5sums"]
    assert files["/var/lib/dpkg/status.d/dash.md5sums"] == ("11111111111111111111111111111111  usr/bin/dash\n")
    stanza = files["/var/lib/dpkg/status.d/dash"]
    assert stanza.startswith("Package: dash\nStatus: install ok installed\n")
    assert "Conffiles:" not in stanza  # /etc/dash.rc is no path of the list: it was never unpacked here
    assert stanza.endswith("Description: shell\n one\n .\n two\n")


def test_a_kept_configuration_file_keeps_its_line_and_its_sum(tmp_path: Path) -> None:
    listed = str(DEBIAN["var/lib/dpkg/info/dash.list"]) + "/etc\n/etc/dash.rc\n/etc/old file.rc\n"
    tree = {**DEBIAN, "var/lib/dpkg/info/dash.list": listed, "etc/dash.rc": "x"}
    files = made(tmp_path, tree, ["/etc", "/etc/dash.rc"])
    assert (
        "Conffiles:\n /etc/dash.rc 0123456789abcdef0123456789abcdef\nDescription:"
        in files["/var/lib/dpkg/status.d/dash"]
    )
    assert files["/var/lib/dpkg/status.d/dash.md5sums"] == "0123456789abcdef0123456789abcdef  etc/dash.rc\n"


def test_directories_and_links_in_place_of_directories_keep_no_package(tmp_path: Path) -> None:
    assert made(tmp_path, DEBIAN, ["/", "/bin", "/lib", "/usr", "/usr/share", "/usr/share/doc"]) == {}


def test_two_architectures_of_a_package_get_a_stanza_each(tmp_path: Path) -> None:
    files = made(tmp_path, DEBIAN, ["/usr/lib/amd/two.so", "/usr/lib/i386/two.so"])
    assert sorted(each for each in files if not each.endswith("sums")) == [
        "/var/lib/dpkg/status.d/libtwo:amd64",
        "/var/lib/dpkg/status.d/libtwo:i386",
    ]


def test_a_database_that_the_application_read_stays_what_it_was(tmp_path: Path) -> None:
    assert made(tmp_path, DEBIAN, ["/usr/bin/dash", "/var/lib/dpkg/status"]) == {}


def test_what_was_generated_reads_back_as_the_same_packages_and_files(tmp_path: Path) -> None:
    sums = "11111111111111111111111111111111  bin/dash\n"
    root = DirectoryRoot(str(plant(tmp_path, {**DEBIAN, "var/lib/dpkg/info/dash.md5sums": sums})))
    files = generated(root, index(root), ["/usr/bin/dash", "/usr/lib/amd/two.so"])
    slim = plant(tmp_path / "slim", dict(files))
    again = index(DirectoryRoot(str(slim)))
    assert [(each.name, each.version, each.architecture, each.source) for each in again.packages()] == [
        ("dash", "0.5.12-2", "amd64", "dash-src"),
        ("libtwo", "2", "amd64", ""),
    ]
    owner = again.owner("/usr/bin/dash")
    assert owner is not None
    assert owner.name == "dash"


def test_alpine_keeps_only_kept_packages_and_their_kept_files(tmp_path: Path) -> None:
    tree: dict[str, str | bytes | None] = {
        "lib/apk/db/installed": INSTALLED,
        "lib/ld-musl-x86_64.so.1": "x",
        "lib/libc.musl-x86_64.so.1": "-> ld-musl-x86_64.so.1",
        "usr/bin/curl": "x",
        "usr/share/doc/readme": "x",
    }
    files = made(tmp_path, tree, ["/lib", "/lib/ld-musl-x86_64.so.1", "/usr/bin"])
    assert files == {
        "/lib/apk/db/installed": "C:Q1abc=\nP:musl\nV:1.2.5-r0\nA:x86_64\nF:lib\nM:0:0:755\n"
        "R:ld-musl-x86_64.so.1\na:0:0:755\nZ:Q1one=\n\n"
    }


def test_the_same_kept_paths_in_any_order_give_the_same_database(tmp_path: Path) -> None:
    root = DirectoryRoot(str(plant(tmp_path, DEBIAN)))
    kept = ["/usr/bin/dash", "/usr/lib/amd/two.so", "/usr/bin/sh.distrib"]
    one = generated(root, index(root), kept)
    other = generated(root, index(root), kept[::-1])
    assert list(one.items()) == list(other.items())


def test_a_generated_database_reads_through_a_generated_root(tmp_path: Path) -> None:
    root = DirectoryRoot(str(plant(tmp_path, DEBIAN)))
    files = generated(root, index(root), ["/usr/bin/dash"])
    layered = GeneratedRoot(root, files, "/var/lib/dpkg/status")
    assert layered.read("/var/lib/dpkg/status.d/dash").startswith(b"Package: dash\n")


def test_the_real_databases_are_named_for_leaving_out(tmp_path: Path) -> None:
    found = index(DirectoryRoot(str(plant(tmp_path, DEBIAN))))
    assert replaced(found) == ["/var/lib/dpkg/info", "/var/lib/dpkg/status", "/var/lib/dpkg/status.d"]
