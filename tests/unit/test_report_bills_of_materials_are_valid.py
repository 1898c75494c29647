"""SBOMs: valid by the libraries' own validators, complete, and the same bytes each time."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from slimmer.cli.sbom import command
from slimmer.image.compress import Compression
from slimmer.image.config import ImageConfig
from slimmer.image.layer import LayerOptions
from slimmer.image.layout import build_image
from slimmer.report.bill import bill, sha1_of_files
from slimmer.report.output import Output
from slimmer.root.directory import DirectoryRoot
from tests.report_outputs import make_output, with_parents
from tests.support import plant

STATUS = """\
Package: libssl
Status: install ok installed
Architecture: amd64
Source: openssl (3.0-1)
Version: 1:3.0-1+b2

Package: gone
Status: install ok installed
Version: 1
"""
TREE: dict[str, str | bytes | None] = {
    "etc/os-release": 'ID=debian\nVERSION_ID="12"\n',
    "usr/lib/libssl.so.3": "ssl",
    "usr/share/doc/libssl/copyright": "Format: https://x/copyright-format/1.0/\nLicense: Apache-2.0\n",
    "usr/bin/gone": "x",
    "var/lib/dpkg/status": STATUS,
    "var/lib/dpkg/info/libssl.list": "/usr/lib/libssl.so.3\n/usr/share/doc/libssl/copyright\n",
    "var/lib/dpkg/info/gone.list": "/usr/bin/gone\n",
    "app/package.json": '{"name": "@me/shop", "version": "1.0.0", "license": "SEE LICENSE IN x"}',
    "app/a \u00e9.js": "js",
    "app/node_modules/x/package.json": '{"name": "x", "version": "1.0.0", "license": "MIT"}',
    "app/node_modules/y/node_modules/x/package.json": '{"name": "x", "version": "1.0.0"}',
    "srv/data": "loose",
}
KEPT = [path for path in TREE if not path.startswith(("var", "usr/bin/gone"))]


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return packed(tmp_path, Compression.GZIP)


def packed(tmp_path: Path, compression: Compression) -> Output:
    fat = plant(tmp_path / "fat", TREE)
    kept = {f"/{path}": () for path in KEPT}
    directory = make_output(tmp_path / "out", fat, [*kept])
    options = LayerOptions(compression)
    build_image(
        DirectoryRoot(str(fat)), [*with_parents(kept)], ImageConfig(architecture="amd64"), directory / "image", options
    )
    return Output(directory)


def written(output: Output, *options: str) -> str:
    done = CliRunner().invoke(command, [str(output.directory), *options], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_cyclonedx_is_valid_complete_and_the_same_each_time(output: Output) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = written(output)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert text == written(output)
    value = json.loads(text)
    assert value["specVersion"] == "1.6"
    assert value["metadata"]["timestamp"].startswith("1970-01-01T00:00:00")
    packages = {each["purl"]: each for each in value["components"] if "purl" in each}
    assert sorted({each.split("?")[0] for each in packages}) == [
        "pkg:deb/debian/libssl@1:3.0-1%2Bb2",
        "pkg:npm/%40me/shop@1.0.0",
        "pkg:npm/x@1.0.0",
    ]
    ssl = packages["pkg:deb/debian/libssl@1:3.0-1%2Bb2?arch=amd64&distro=debian-12&upstream=openssl%403.0-1"]
    assert ssl["licenses"] == [{"expression": "Apache-2.0"}]
    assert {each["name"]: each["hashes"] for each in ssl["components"]}["/usr/lib/libssl.so.3"] == [
        {"alg": "SHA-256", "content": hashlib.sha256(b"ssl").hexdigest()}
    ]
    assert packages["pkg:npm/%40me/shop@1.0.0"]["licenses"] == [{"license": {"name": "SEE LICENSE IN x"}}]
    loose = [each["name"] for each in value["components"] if each["type"] == "file"]
    assert loose == ["/etc/os-release", "/srv/data"]
    assert [(each["name"], each["version"]) for each in value["components"] if each["type"] == "operating-system"] == [
        ("debian", "12")
    ]


def test_spdx_is_valid_complete_and_the_same_each_time(output: Output, tmp_path: Path) -> None:
    from spdx_tools.spdx.parser.parse_anything import parse_file
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    text = written(output, "--format", "spdx")
    assert text == written(output, "--format", "spdx")
    (tmp_path / "x.spdx.json").write_text(text)
    document = parse_file(str(tmp_path / "x.spdx.json"))
    assert validate_full_spdx_document(document) == []
    value = json.loads(text)
    files = {each["fileName"]: each["checksums"] for each in value["files"]}
    assert len(files) == len(KEPT)
    assert {each["algorithm"]: each["checksumValue"] for each in files["./srv/data"]} == {
        "SHA1": hashlib.sha1(b"loose").hexdigest(),
        "SHA256": hashlib.sha256(b"loose").hexdigest(),
    }
    names = [(each["name"], each.get("versionInfo", "")) for each in value["packages"]]
    assert ("libssl", "1:3.0-1+b2") in names
    assert "gone" not in {name for name, _ in names}


def test_only_packages_are_listed_without_files(output: Output) -> None:
    value = json.loads(written(output, "--no-files"))
    assert all(each["type"] != "file" and "components" not in each for each in value["components"])
    assert json.loads(written(output, "--no-files", "--format", "spdx")).get("files", []) == []


@pytest.mark.parametrize("compression", list(Compression))
def test_the_digests_are_read_from_layers_of_every_compression(tmp_path: Path, compression: Compression) -> None:
    found = sha1_of_files(packed(tmp_path, compression))
    assert found["/srv/data"] == hashlib.sha1(b"loose").hexdigest()
    assert len(found) == len(KEPT)


def test_hard_links_have_the_digest_of_their_file(tmp_path: Path) -> None:
    fat = plant(tmp_path / "fat", {"a": "one"})
    (fat / "b").hardlink_to(fat / "a")
    directory = make_output(tmp_path / "out", fat, ["/a", "/b"])
    build_image(DirectoryRoot(str(fat)), ["/", "/a", "/b"], ImageConfig(architecture="amd64"), directory / "image")
    digest = hashlib.sha1(b"one").hexdigest()
    assert sha1_of_files(Output(directory)) == {"/a": digest, "/b": digest}


def test_two_copies_of_a_package_are_two_components_and_one_purl(tmp_path: Path) -> None:
    directory = make_output(tmp_path / "out", plant(tmp_path / "fat", TREE), [f"/{path}" for path in KEPT])
    found = [item for item in bill(Output(directory)).items if item.package.name == "x"]
    assert [item.purl for item in found] == ["pkg:npm/x@1.0.0"] * 2
    assert len({item.package.location for item in found}) == 2
