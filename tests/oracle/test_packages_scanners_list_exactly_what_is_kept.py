"""Real syft and trivy on slim trees and a traced image: they list exactly the packages that have a kept file.

Every kind of thing a slim tree can be is in it: packages kept whole, in part, not at all; debs that
ship Python and Node packages; wheels and node modules that no deb knows.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from packageurl import PackageURL

from slimmer.closure.model import Application, Level
from slimmer.closure.ownership.scanner_metadata import ScannerRule
from slimmer.closure.recorded import IncludeRule
from slimmer.closure.worklist import grow
from slimmer.packages.index import Index, index
from slimmer.packages.model import Package
from slimmer.packages.purl import purl
from slimmer.packages.scannerdata import generated
from slimmer.report.read import read_manifest
from slimmer.root.directory import DirectoryRoot
from slimmer.root.layered import GeneratedRoot
from slimmer.root.model import FileType, Root
from tests.support import needs_root, plant, root_of
from tests.tools import syft, trivy
from tests.unit.test_packages_answer_who_owns_a_path import NODE, PYTHON, SITE
from tracer.recording import Recording

RELEASES = ("/etc/debian_version", "/etc/os-release", "/usr/lib/os-release")


@pytest.fixture(scope="module")
def fat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Debian root with Python and Node from debs, and a venv and an application beside them."""
    base = root_of("python3-flask", "nodejs")
    top = tmp_path_factory.mktemp("fat") / "root"
    subprocess.run(["cp", "-al", os.fspath(base), os.fspath(top)], check=True)  # hard links: only new files are added
    planted = {path: content for path, content in {**PYTHON, **NODE}.items() if path.startswith(("opt/", "app/"))}
    return plant(top, planted)


def choose(found: Index, seed: int) -> list[str]:
    """Up to three files of about half the packages, as a trace would leave them: some, not all."""
    dice = random.Random(seed)
    chosen: list[str] = list(RELEASES)
    for package in found.packages():
        if dice.random() < 0.5:
            files = [path for path in found.files(package) if is_file(found.root, path)]
            chosen += dice.sample(files, min(len(files), dice.choice((1, 2, 3))))
    return chosen


def is_file(root: Root, path: str) -> bool:
    entry = root.entry(path)
    return entry is not None and entry.type is not FileType.DIRECTORY


def write_tree(root: Root, paths: Iterable[str], top: Path) -> Path:
    for path in sorted(paths, key=str.encode):
        entry = root.entry(path)
        place = top / path.lstrip("/")
        assert entry is not None, path
        if entry.type is FileType.DIRECTORY:
            place.mkdir(parents=True, exist_ok=True)
        elif entry.type is FileType.SYMLINK:
            place.symlink_to(entry.target)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(root.read(path))
    return top


def slim_tree(fat: Path, top: Path, seed: int) -> tuple[Path, set[Package]]:
    """A slim tree as the closure and the generated database make it, and the packages with a kept file."""
    root = DirectoryRoot(os.fspath(fat))
    found = index(root)
    rules = [IncludeRule(choose(found, seed)), ScannerRule()]
    closure = grow(root, Recording(()), found, Application(), rules, highest=Level.RECORDED)
    kept = list(closure.at(Level.RECORDED))
    files = generated(root, found, kept)
    tree = write_tree(GeneratedRoot(root, files), [*kept, *files], top)
    return tree, {package for path in kept if is_file(root, path) for package in found.owners_of_file(path)}


def names(packages: Iterable[Package]) -> set[str]:
    """purls without qualifiers: what both scanners and we can spell."""
    return {bare(PackageURL.from_string(purl(package))) for package in packages}


def bare(found: PackageURL) -> str:
    version = found.version
    qualifiers = found.qualifiers if isinstance(found.qualifiers, dict) else {}
    if qualifiers.get("epoch"):
        version = f"{qualifiers['epoch']}:{version}"
    namespace = found.namespace if found.type == "npm" else None
    return PackageURL(found.type, namespace, found.name, version).to_string()


@pytest.mark.parametrize("seed", [2])
def test_syft_lists_exactly_the_packages_with_a_kept_file(fat: Path, tmp_path: Path, seed: int) -> None:
    tree, kept = slim_tree(fat, tmp_path / "slim", seed)
    command = [syft(), "scan", f"dir:{tree}", "-q", "-o", "json", "--override-default-catalogers", "image"]
    environment = {**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false"}
    done = subprocess.run(command, capture_output=True, check=True, env=environment)
    value = json.loads(done.stdout)
    assert value["distro"]["id"] == "debian"
    listed = {bare(PackageURL.from_string(each["purl"])) for each in value["artifacts"]}
    assert listed == names(kept)
    assert {each.type.value for each in kept} == {"deb", "npm", "pypi"}


@pytest.mark.parametrize("seed", [1])
def test_trivy_lists_exactly_the_packages_with_a_kept_file(fat: Path, tmp_path: Path, seed: int) -> None:
    tree, kept = slim_tree(fat, tmp_path / "slim", seed)
    command = [trivy(), "rootfs", "--format", "cyclonedx", "--offline-scan", "-q"]
    command += ["--cache-dir", os.fspath(tmp_path / "cache"), os.fspath(tree)]
    done = subprocess.run(command, capture_output=True, check=True)
    components = json.loads(done.stdout)["components"]
    systems = [each for each in components if each["type"] == "operating-system"]
    assert [each["name"] for each in systems] == ["debian"]
    listed = {bare(PackageURL.from_string(each["purl"])) for each in components if "purl" in each}
    assert listed == names(kept)


def test_syft_reads_the_files_of_a_package_from_its_sums(fat: Path, tmp_path: Path) -> None:
    tree, _ = slim_tree(fat, tmp_path / "slim", 1)
    sums = {path.name.removesuffix(".md5sums"): path for path in (tree / "var/lib/dpkg/status.d").glob("*.md5sums")}
    done = subprocess.run([syft(), "scan", f"dir:{tree}", "-q", "-o", "json"], capture_output=True, check=True)
    for each in json.loads(done.stdout)["artifacts"]:
        if each["type"] == "deb":
            listed = {file["path"] for file in each["metadata"]["files"]}
            expected = {"/" + line.split("  ", 1)[1] for line in sums[each["name"]].read_text().splitlines()}
            assert expected <= listed
            assert all((tree / path.lstrip("/")).exists() for path in expected)


RUN = f"python3 -c 'import flask' && node -e 1 && cat /{SITE}/requests/__init__.py /app/server.js"


@needs_root
def test_both_list_exactly_what_the_manifest_of_a_traced_image_says(fat: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    slim = [
        sys.executable,
        "-m",
        "slimmer.cli.main",
        "trace",
        "--no-challenge",
        "--root",
        os.fspath(fat),
        "--run",
        f'sh -c "{RUN}"',
    ]
    subprocess.run([*slim, "--keep", "recorded", "--no-check", "-o", os.fspath(out)], check=True, capture_output=True)
    kept = {
        package
        for row in read_manifest(out / "manifest.json")
        if row.entry.type is not FileType.DIRECTORY
        for package in (row.package, *row.also)
        if package is not None
    }
    assert {("pypi", "requests"), ("npm", "shop"), ("pypi", "Flask"), ("deb", "python3-flask"), ("deb", "nodejs")} <= {
        (each.type.value, each.name) for each in kept
    }
    assert len(kept) < len(index(DirectoryRoot(os.fspath(fat))).packages())
    environment = {**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false"}
    command = [syft(), "scan", f"oci-dir:{out}/image", "-q", "-o", "json"]
    done = subprocess.run(command, capture_output=True, check=True, env=environment)
    listed = {bare(PackageURL.from_string(each["purl"])) for each in json.loads(done.stdout)["artifacts"]}
    assert listed == names(kept)
    command = [trivy(), "image", "--input", f"{out}/image", "--format", "cyclonedx", "--offline-scan", "-q"]
    done = subprocess.run([*command, "--cache-dir", os.fspath(tmp_path / "cache")], capture_output=True, check=True)
    components = json.loads(done.stdout)["components"]
    assert {bare(PackageURL.from_string(each["purl"])) for each in components if "purl" in each} == names(kept)
