"""The accept table: who reads which form in which compression, each cell by the real program."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from slimmer.image.archive import write_archive
from slimmer.image.compress import Compression
from slimmer.image.config import ImageConfig
from slimmer.image.layer import LayerOptions
from slimmer.image.layout import Image, build_image
from slimmer.root.directory import DirectoryRoot
from tests import daemons, tools
from tests.support import needs_root, plant, requires

FORMS = list(Compression)
SAYS = "hello from an image without a distribution"
PROGRAM = f'#include <stdio.h>\nint main(void) {{ puts("{SAYS}"); return 0; }}\n'
RELEASE = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n'
STATUS = """Package: demo-package
Status: install ok installed
Maintainer: Nobody <nobody@example.org>
Architecture: amd64
Version: 1.2-3
Description: shows that scanners read what was packed
"""
NO_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"


@dataclass(frozen=True)
class Built:
    layout: Path
    archive: Path
    image: Image


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[Compression, Built]:
    """One small image that runs and names a package, in every compression."""
    top = tmp_path_factory.mktemp("consumers")
    (top / "hello.c").write_text(PROGRAM)
    (top / "root/bin").mkdir(parents=True)
    compiled = subprocess.run(
        ["gcc", "-static", "-Os", "-s", "-o", top / "root/bin/hello", top / "hello.c"], capture_output=True, text=True
    )
    if compiled.returncode:
        pytest.skip(f"gcc does not link a static program: {compiled.stderr[-200:]}")
    plant(
        top / "root",
        {
            "/etc/os-release": RELEASE,
            "/etc/debian_version": "12.5\n",
            "/var/lib/dpkg/status.d/demo-package": STATUS,
            "/var/lib/dpkg/status.d/demo-package.md5sums": "",
        },
    )
    root = DirectoryRoot(str(top / "root"))
    paths = [entry.path for entry in root.walk()]
    found = {}
    for form in FORMS:
        config = ImageConfig(entrypoint=("/bin/hello",), architecture="amd64")
        image = build_image(root, paths, config, top / form, LayerOptions(form))
        with open(top / f"{form}.tar", "wb") as stream:
            write_archive(top / form, stream, "consumers:1")
        found[form] = Built(top / form, top / f"{form}.tar", image)
    return found


def run(*command: object, env: dict[str, str] | None = None) -> str:
    done = subprocess.run([os.fspath(str(word)) for word in command], capture_output=True, text=True, env=env)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@requires("skopeo", "gcc")
@pytest.mark.parametrize("form", FORMS)
def test_skopeo_inspects_every_form(built: dict[Compression, Built], form: Compression) -> None:
    made = built[form]
    seen = json.loads(run("skopeo", "inspect", f"oci:{made.layout}"))
    assert (seen["Architecture"], seen["Os"], seen["Layers"]) == ("amd64", "linux", [made.image.layers[0].digest])
    for place in (f"oci-archive:{made.archive}", f"docker-archive:{made.archive}:consumers:1"):
        raw = json.loads(run("skopeo", "inspect", "--config", place))
        assert raw["rootfs"]["diff_ids"] == [made.image.layers[0].diff_id]
        assert raw["config"]["Entrypoint"] == ["/bin/hello"]


@requires("skopeo", "gcc")
@pytest.mark.parametrize("form", FORMS)
def test_skopeo_copies_to_every_place_with_the_same_digest(
    built: dict[Compression, Built], form: Compression, tmp_path: Path
) -> None:
    made = built[form]
    source = f"oci:{made.layout}"
    run("skopeo", "copy", "-q", source, f"dir:{tmp_path}/dir")
    run("skopeo", "copy", "-q", "--preserve-digests", source, f"oci:{tmp_path}/oci:x")
    run("skopeo", "copy", "-q", source, f"oci-archive:{tmp_path}/oci.tar:x")
    assert json.loads(run("skopeo", "inspect", f"oci:{tmp_path}/oci:x"))["Digest"] == made.image.manifest_digest
    run("skopeo", "copy", "-q", f"oci-archive:{made.archive}", f"dir:{tmp_path}/from-archive")
    command = ["skopeo", "copy", "-q", source, f"docker-archive:{tmp_path}/docker.tar:x:1"]
    done = subprocess.run(command, capture_output=True, text=True)
    if form is Compression.ZSTD and done.returncode:
        assert NO_ZSTD in done.stderr  # the table's "no": Debian 12's release knows no zstd here, and says just that
        return
    assert done.returncode == 0, done.stderr
    config = json.loads(run("skopeo", "inspect", "--config", f"docker-archive:{tmp_path}/docker.tar"))
    assert config["rootfs"]["diff_ids"] == [made.image.layers[0].diff_id]


@requires("skopeo", "gcc")
@pytest.mark.parametrize("form", FORMS)
def test_skopeo_copies_to_a_registry_and_back(
    built: dict[Compression, Built], form: Compression, tmp_path: Path
) -> None:
    made = built[form]
    with daemons.docker_registry(tmp_path / "registry") as server:
        place = f"docker://{server.host}/consumers:{form}"
        run("skopeo", "copy", "-q", "--preserve-digests", "--dest-tls-verify=false", f"oci:{made.layout}", place)
        seen = json.loads(run("skopeo", "inspect", "--tls-verify=false", place))
    assert seen["Digest"] == made.image.manifest_digest


@needs_root
@requires("podman", "runc", "gcc")
def test_podman_loads_every_form_as_one_image_and_runs_it(built: dict[Compression, Built]) -> None:
    with daemons.podman() as podman:
        for form in FORMS:
            assert "consumers:1" in run(*podman, "load", "-i", built[form].archive)
            listed = json.loads(run(*podman, "image", "inspect", "consumers:1"))
            assert f"sha256:{listed[0]['Id']}" == built[form].image.image_id
        assert run(*podman, "run", *daemons.PODMAN_RUN, "consumers:1").strip() == SAYS


@requires("umoci", "gcc")
@pytest.mark.parametrize("form", FORMS)
def test_umoci_unpacks_a_bundle(built: dict[Compression, Built], form: Compression, tmp_path: Path) -> None:
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    command = ["umoci", "unpack", *rootless, "--image", f"{built[form].layout}:latest", f"{tmp_path}/bundle"]
    done = subprocess.run(command, capture_output=True, text=True)
    if form is Compression.ZSTD and done.returncode:
        assert NO_ZSTD in done.stderr  # the table's "no": Debian 12's release knows no zstd here, and says just that
        return
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bundle/rootfs/etc/os-release").read_text() == RELEASE
    assert json.loads((tmp_path / "bundle/config.json").read_text())["process"]["args"] == ["/bin/hello"]


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with daemons.docker_daemon(tmp_path_factory.mktemp("docker")) as environ:
        yield environ


@needs_root
@requires("gcc")
def test_docker_loads_the_archive_and_runs_it(built: dict[Compression, Built], docker: dict[str, str]) -> None:
    for form in (Compression.GZIP, Compression.NONE):
        made = built[form]
        assert "Loaded image: consumers:1" in run("docker", "load", "-i", made.archive, env=docker)
        assert run("docker", "images", "-q", "--no-trunc", "consumers:1", env=docker).strip() == made.image.image_id
        assert run("docker", "run", "--rm", "--network=none", "consumers:1", env=docker).strip() == SAYS
        run("docker", "rmi", "-f", "consumers:1", env=docker)
    done = subprocess.run(["docker", "load", "-i", built[Compression.ZSTD].archive], env=docker, capture_output=True)
    major = int(run("docker", "version", "-f", "{{.Server.Version}}", env=docker).split(".")[0])
    assert done.returncode == 0 or major < 23  # Docker reads zstd from 23 on


@requires("gcc")
@pytest.mark.parametrize("form", FORMS)
def test_syft_names_the_package(built: dict[Compression, Built], form: Compression, tmp_path: Path) -> None:
    syft = tools.syft()
    places = [f"oci-dir:{built[form].layout}"]
    if form is Compression.GZIP:  # reading the archives differs from there on no more
        places += [f"oci-archive:{built[form].archive}", f"docker-archive:{built[form].archive}"]
    environ = {**os.environ, "HOME": str(tmp_path), "SYFT_CHECK_FOR_APP_UPDATE": "false", "TMPDIR": str(tmp_path)}
    for place in places:
        found = json.loads(run(syft, "scan", place, "-q", "-o", "json", env=environ))
        packages = [(each["name"], each["version"], each["type"]) for each in found["artifacts"]]
        assert ("demo-package", "1.2-3", "deb") in packages, place
        assert (found["distro"]["id"], found["distro"]["versionID"]) == ("debian", "12")


@requires("gcc")
@pytest.mark.parametrize(("form", "archived"), [("gzip", True), ("zstd", False)])
def test_trivy_names_the_package(built: dict[Compression, Built], form: str, archived: bool, tmp_path: Path) -> None:
    made = built[Compression(form)]
    environ = {**os.environ, "HOME": str(tmp_path), "TRIVY_CACHE_DIR": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}
    options = ["--format", "cyclonedx", "--offline-scan", "--skip-db-update", "--skip-java-db-update", "--quiet"]
    place = made.archive if archived else made.layout
    found = json.loads(run(tools.trivy(), "image", "--input", place, *options, env=environ))
    named = [(each["name"], each.get("version")) for each in found["components"]]
    assert ("demo-package", "1.2-3") in named
    assert ("debian", "12.5") in named
