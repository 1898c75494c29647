"""slimmer's own image, made by slimmer: it slims others in a container that has no privilege at all.

`podman run` here drops every capability, forbids new privileges and is an ordinary user's; its seccomp profile is
podman's own, the one of docs/kubernetes, or what docker and containerd have, which refuses namespaces.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.reference import HERE
from slimmer.harden.seccomp import Profile
from slimmer.harden.table import DEFAULT
from tests.apps.conftest import HOUSE, Podman, Slim
from tests.documented import application_archive
from tests.support import needs_root, requires

pytestmark = [needs_root, requires("podman", "runc", "mmdebstrap"), pytest.mark.timeout(600)]
IMAGE = "localhost/slimmer:0.1.0"
CONFINED = ("--cap-drop=all", "--security-opt", "no-new-privileges", "--user", "1000")
PROBE = ("--probe", "http://127.0.0.1:8080/healthz")
LIMIT = 60e6  # bytes that a registry carries


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make image` leaves, without the check: here the image is run by podman."""
    place = tmp_path_factory.mktemp("image")
    done = subprocess.run(
        [sys.executable, "-m", "fixtures.container", "--place", str(place), "--check=off"],
        cwd=HOUSE,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=500,
    )
    if "no fat root can be made here" in done.stderr:
        pytest.skip(done.stderr.strip()[-500:])
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="module")
def loaded(built: Path, podman: Podman) -> Iterator[Podman]:
    podman("load", "-i", str(built / "slimmer.tar"))
    yield podman
    podman("volume", "rm", "--force", "out", "work", "cache", check=False)
    podman("rmi", "--force", IMAGE)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return application_archive(tmp_path)


def run(podman: Podman, options: tuple[str, ...], *words: str, code: int = 0) -> subprocess.CompletedProcess[bytes]:
    """`podman run OPTIONS IMAGE WORDS`."""
    done = podman("run", "--rm", "--network=none", *Podman.LIMITS, *options, IMAGE, *words, check=False)
    assert done.returncode == code, f"exit {done.returncode}, not {code}:\n{done.stdout!r}\n{done.stderr!r}"
    assert b"Traceback" not in done.stderr
    return done


def test_it_is_small_and_an_ordinary_users(built: Path) -> None:
    index = json.loads((built / "slimmer/image/index.json").read_text())
    manifest = blob(built, index["manifests"][0]["digest"])
    assert sum(layer["size"] for layer in manifest["layers"]) < LIMIT
    config = blob(built, manifest["config"]["digest"])["config"]
    assert config["User"] == "1000:1000"
    assert config["Entrypoint"] == ["slim"]


@requires("qemu-aarch64-static", "umoci")
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the other architecture is the emulated one")
def test_the_one_for_arm64_is_beside_it_and_reads_what_this_one_made(built: Path, tmp_path: Path) -> None:
    if not (built / "slimmer-arm64").exists():
        pytest.skip("no arm64 packages are to be had here")
    found = json.loads((built / "index/index.json").read_text())["manifests"]
    inner = json.loads((built / "index/blobs/sha256" / found[0]["digest"].removeprefix("sha256:")).read_text())
    assert [each["platform"]["architecture"] for each in inner["manifests"]] == ["amd64", "arm64"]
    layout = built / "slimmer-arm64/image"
    manifest = json.loads((layout / "index.json").read_text())["manifests"][0]
    layers = json.loads((layout / "blobs/sha256" / manifest["digest"].removeprefix("sha256:")).read_text())["layers"]
    assert sum(layer["size"] for layer in layers) < LIMIT
    (tag,) = umoci("list", "--layout", layout).split()
    umoci("raw", "unpack", "--image", f"{layout}:{tag}", tmp_path / "tree")
    tree = tmp_path / "tree"
    magic = {path: path.read_bytes()[:20] for path in tree.rglob("*") if path.is_file() and not path.is_symlink()}
    machines = {struct.unpack("<H", head[18:20])[0] for head in magic.values() if head[:4] == b"\x7fELF"}
    assert machines == {183}  # EM_AARCH64
    # Its own program, started by an emulator that neither slimmer nor its sandbox chose.
    shutil.copy2(str(shutil.which("qemu-aarch64-static")), tree / "emulator")
    shutil.copytree(built / "work/input/app", tree / "out/app")
    words = ("chroot", tree, "/emulator", "/usr/bin/python3.11", "/usr/local/bin/slim", "why", "/out/app", "/bin/sh")
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert "/usr/bin/dash" in done.stdout, done.stderr


def umoci(*words: str | Path) -> str:
    return subprocess.run(["umoci", *words], check=True, capture_output=True, text=True).stdout


def blob(built: Path, digest: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(
        (built / "slimmer/image/blobs/sha256" / digest.removeprefix("sha256:")).read_text()
    )
    return value


def test_an_image_is_slimmed_as_it_is_outside(loaded: Podman, archive: Path, slim: Slim, tmp_path: Path) -> None:
    mounts = ("-v", f"{archive}:/in.tar:ro", "-v", "out:/out")
    words = ("trace", "--image", "docker-archive:/in.tar", *PROBE, "--check=required", "--json", "-o", "/out/slim")
    inside = json.loads(run(loaded, (*CONFINED, *mounts), *words).stdout)
    asked = ("--image", f"docker-archive:{archive}", *PROBE, "--check=required", "--json", "-o", tmp_path / "slim")
    outside = json.loads(slim("trace", "--challenge", *asked).stdout)
    assert inside["check"] == outside["check"] == "passed"
    assert inside["image_id"] == outside["image_id"]
    assert inside["challenge"] == outside["challenge"]
    assert b"busybox" in run(loaded, (*CONFINED, *mounts), "why", "/out/slim", "/bin/busybox").stdout
    assert json.loads(run(loaded, (*CONFINED, *mounts), "sbom", "/out/slim", "--format", "spdx").stdout)["spdxVersion"]
    run(loaded, (*CONFINED, *mounts), "harden", "/out/slim", "-q")


def test_it_works_as_any_user_of_group_0(loaded: Podman, archive: Path) -> None:
    """As OpenShift runs images."""
    options = ("--cap-drop=all", "--security-opt", "no-new-privileges", "--user", "12345:0")
    words = ("trace", "--image", "docker-archive:/in.tar", *PROBE, "--no-challenge", "--check=required")
    assert b"passed: 1 of 1 comparisons" in run(loaded, (*options, "-v", f"{archive}:/in.tar:ro"), *words).stderr


@pytest.mark.parametrize("name", ["job", "cronjob"])
def test_it_does_so_as_the_manifests_for_clusters_say(name: str, loaded: Podman, archive: Path, tmp_path: Path) -> None:
    """A read-only root, and the profile for runtimes whose own refuses namespaces; the images are in files here."""
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    (recipes / "app.toml").write_text(f'[[run]]\nprobes = ["{PROBE[1]}"]\n')
    (recipes / "images.toml").write_text(
        '[[image]]\nrecipe = "app.toml"\nsource = { image = "docker-archive:/in.tar" }\n'
    )
    spec = yaml.safe_load((HERE / f"kubernetes/{name}.yaml").read_text(encoding="utf-8"))["spec"]
    (container,) = spec.get("jobTemplate", {"spec": spec})["spec"]["template"]["spec"]["containers"]
    given = {"--image=": "--image=docker-archive:/in.tar", "--push=": f"--probe={PROBE[1]}"}
    words = [next((new for old, new in given.items() if each.startswith(old)), each) for each in container["args"]]
    environment = (word for each in container["env"] for word in ("-e", f"{each['name']}={each['value']}"))
    options = (
        *(*CONFINED, "--security-opt", f"seccomp={HERE / 'kubernetes/seccomp.json'}", "--read-only", *environment),
        *("-v", "work:/work", "--tmpfs", "/tmp", "-v", f"{recipes}:/recipes:ro", "-v", f"{archive}:/in.tar:ro"),
        *("-v", "cache:/cache"),
    )
    done = run(loaded, options, *words)
    said = b'"check": "passed"' in done.stdout if name == "cronjob" else b"passed: 1 of 1 comparisons" in done.stderr
    assert said, done


def test_where_namespaces_are_refused_it_says_what_is_missing(loaded: Podman, archive: Path, tmp_path: Path) -> None:
    profile = tmp_path / "refusing.json"
    profile.write_text(Profile("amd64", dict.fromkeys(DEFAULT, ()), ()).dump())
    options = ("--security-opt", f"seccomp={profile}", "-v", f"{archive}:/in.tar:ro")
    words = ("trace", "--image", "docker-archive:/in.tar", *PROBE, "-o", "/tmp/slim-out")
    said = run(loaded, (*CONFINED, *options), *words, code=1).stderr.decode()
    assert "cannot make the namespaces of a sandbox" in said
    assert "docs/kubernetes/seccomp.json" in said
    # Root may enter a chroot, for an image that it vouches for; then the slim tree is tried in one too.
    root = ("--user", "0", *options)
    assert "--trust-root" in run(loaded, root, *words, code=1).stderr.decode()
    said = run(loaded, root, *words, "--trust-root", "--check=required").stderr.decode()
    assert "passed: 1 of 1 comparisons equal" in said
