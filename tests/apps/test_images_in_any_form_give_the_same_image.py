"""One fat image in every form that an image has, through the real `slim`: always the same slim image."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slimmer.image.layout import read_layout
from tests.apps.conftest import HOUSE, Podman, Slim
from tests.daemons import docker_registry
from tests.fat_images import CONFIG, fat_image, fat_root
from tests.running import NOBODY, readable_directory
from tests.support import needs_root, requires
from tests.unit.imagemaker import Item, LayoutMaker, tar
from tracer.recording import Recording

pytestmark = [needs_root, requires("mmdebstrap", "skopeo", "setpriv")]
NAME = "localhost/fat:one"


@dataclass(frozen=True)
class Fat:
    """The image's directory: `oci` is a layout tagged app, `docker` and `archive` archives of it, `root` its tree."""

    home: Path

    @property
    def root(self) -> Path:
        return self.home / "root"

    @property
    def oci(self) -> str:
        return f"oci:{self.home}/oci:app"

    @property
    def archive(self) -> Path:
        return self.home / "oci.tar"

    @property
    def docker(self) -> Path:
        return self.home / "docker.tar"

    @property
    def cache(self) -> dict[str, str]:
        return {"XDG_CACHE_HOME": f"{self.home}/cache"}


@pytest.fixture(scope="module")
def fat() -> Iterator[Fat]:
    with readable_directory() as home:
        found = Fat(home)
        fat_image(home / "oci", fat_root(found.root))
        skopeo("copy", found.oci, f"oci-archive:{found.archive}:app")
        skopeo("copy", found.oci, f"docker-archive:{found.docker}:{NAME}")
        yield found


def skopeo(*words: str) -> bytes:
    return subprocess.run(["skopeo", *words], check=True, capture_output=True, timeout=60).stdout


def summary(slim: Slim, fat: Fat, *words: str | Path, **options: Any) -> dict[str, Any]:
    done = slim("trace", *words, "--json", "-q", env=fat.cache, **options)
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["check"] in ("passed", "not performed")
    return found


def config_of(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read_layout(out / "image").config_bytes)
    return found


def test_every_form_gives_the_same_image(slim: Slim, fat: Fat, tmp_path: Path) -> None:
    with docker_registry(tmp_path / "registry") as server:
        there = f"docker://{server.host}/team/fat:one"
        skopeo("copy", "--dest-tls-verify=false", fat.oci, there)
        digest = json.loads(skopeo("inspect", "--tls-verify=false", there))["Digest"]
        forms = [fat.oci, f"oci-archive:{fat.archive}:app", f"docker-archive:{fat.docker}", there]
        forms.append(f"docker://{server.host}/team/fat@{digest}")
        found = {
            form: summary(slim, fat, "--image", form, "-o", tmp_path / "out", "--no-check")["image_id"]
            for form in forms
        }
    assert len(set(found.values())) == 1, found
    tree = ("--root", fat.root, "--run", "/srv/app/run.sh", "--user", "www", "--workdir", "/srv/app")
    more = ("--image-env", "WHO=world", "--image-env", "PATH=/usr/bin:/bin", "--volume", "/srv/state")
    summary(slim, fat, *tree, *more, "-o", tmp_path / "tree", "--no-check")
    # A directory has no configuration; what is packed of it is the same.
    layers = [read_layout(tmp_path / name / "image").layers for name in ("out", "tree")]
    assert layers[0] == layers[1]


def test_an_image_runs_by_itself_and_its_configuration_is_carried_over_whole(
    slim: Slim, fat: Fat, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert summary(slim, fat, "--image", fat.oci, "-o", out)["check"] == "passed"
    recorded = json.loads((out / "recording.json").read_text())
    assert recorded["commands"] == [["/bin/cat", "/srv/app/settings"], ["/srv/app/run.sh"]]  # HEALTHCHECK too
    found = config_of(out)["config"]
    assert found == CONFIG
    assert any("ONBUILD" in note for note in json.loads((out / "report.json").read_text())["notes"])
    manifest = {row["path"]: row for row in json.loads((out / "manifest.json").read_text())["paths"]}
    assert manifest["/srv/state"]["type"] == "directory"
    assert "/srv/app/parts/b" in manifest
    assert "/srv/unused/big" not in manifest
    # An image without any package has a bill of materials, too, and nothing to complain about.
    for form in ("cyclonedx", "spdx"):
        done = slim("sbom", out, "--format", form)
        assert "/srv/app/run.sh" in done.stdout
        assert done.stderr == ""


def test_overrides_change_the_image_and_what_is_run(slim: Slim, fat: Fat, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = [
        "--entrypoint",
        "/bin/cat",
        "--cmd",
        "b a",
        "--image-env",
        "WHO=me",
        "--env",
        "PASSWORD=hunter2",
        "--user",
        "root",
    ]
    words += ["--workdir", "/srv/app/parts", "--expose", "99", "--label", "a=c", "--volume", "/srv/data"]
    done = slim("trace", "--image", fat.oci, "-o", out, *words, "--stop-signal", "QUIT", env=fat.cache)
    assert "two\none\n" in done.stderr
    assert config_of(out)["config"] == {
        **CONFIG,
        "Entrypoint": ["/bin/cat"],
        "Cmd": ["b", "a"],
        "Env": ["PATH=/usr/bin:/bin", "WHO=me", "EMPTY="],
        "User": "root",
        "WorkingDir": "/srv/app/parts",
        "ExposedPorts": {"53/udp": {}, "8080/tcp": {}, "99/tcp": {}},
        "Labels": {"a": "c", "maintainer": "somebody"},
        "Volumes": {"/srv/data": {}, "/srv/state": {}},
        "StopSignal": "SIGQUIT",
    }


def test_a_start_that_was_not_run_and_a_health_check_that_would_fail_are_warnings(
    slim: Slim, fat: Fat, tmp_path: Path
) -> None:
    words = ["--run", "cat settings", "--keep", "recorded", "--exclude", "/srv/app/run.sh"]
    slim("trace", "--image", fat.oci, "-o", tmp_path / "out", *words, env=fat.cache)
    warnings = {row["kind"]: row for row in json.loads((tmp_path / "out/report.json").read_text())["unsure"]}
    assert warnings["start"]["path"] == "/srv/app/run.sh"
    assert "healthcheck" not in warnings  # /bin/cat stays, as the run used it
    slim("trace", "--image", fat.oci, "-o", tmp_path / "out", "--run", "/usr/bin/true", "--keep", "recorded",
         env=fat.cache)  # fmt: skip
    warnings = {row["kind"]: row for row in json.loads((tmp_path / "out/report.json").read_text())["unsure"]}
    assert "HEALTHCHECK runs" in warnings["healthcheck"]["text"]


def test_an_ordinary_user_and_root_get_the_same_image_and_the_second_run_starts_at_once(
    slim: Slim, fat: Fat, tmp_path: Path
) -> None:
    mine = slim("trace", "--image", fat.oci, "-o", tmp_path / "mine", "--json", "--no-check", env=fat.cache)
    with readable_directory() as place:
        os.chown(place, NOBODY, NOBODY)
        command = [
            *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
            *(
                sys.executable,
                "-m",
                "slimmer.cli.main",
                "trace",
                "--no-challenge",
                "--image",
                fat.oci,
                "-o",
                f"{place}/out",
            ),
            *("--json", "--no-check"),
        ]
        env = {**os.environ, "PYTHONPATH": str(HOUSE), "HOME": str(place), "XDG_CACHE_HOME": f"{place}/cache"}
        first, second = (
            subprocess.run(command, env=env, cwd=place, capture_output=True, text=True, timeout=60) for _ in range(2)
        )
    if "permission denied" in first.stderr.lower() or "PermissionError" in first.stderr:
        pytest.skip("another user cannot read the interpreter of these tests")
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert json.loads(first.stdout)["image_id"] == json.loads(mine.stdout)["image_id"]
    assert json.loads(second.stdout)["image_id"] == json.loads(mine.stdout)["image_id"]
    assert "unpacking" in first.stderr
    assert "unpacking" not in second.stderr


def test_platform_picks_one_of_several(slim: Slim, tmp_path: Path, fat: Fat) -> None:
    maker = LayoutMaker(tmp_path / "several")
    for architecture in ("amd64", "arm64"):
        item = Item("app/name", content=architecture.encode())
        maker.image([tar(item)], platform={"os": "linux", "architecture": architecture})
    (tmp_path / "recording.json").write_text(Recording(()).dump())
    source = ("--image", f"oci:{tmp_path / 'several'}", "--include", "/app/name", "--no-check")
    for architecture in ("amd64", "arm64"):
        out = tmp_path / architecture
        done = slim("build", tmp_path / "recording.json", *source, "--platform", f"linux/{architecture}", "-o", out,
                    "--entrypoint", "/app/name", env=fat.cache, code=0)  # fmt: skip
        assert done.returncode == 0
        assert config_of(out)["architecture"] == architecture
        rows = json.loads((out / "manifest.json").read_text())["paths"]
        assert "/app/name" in {row["path"] for row in rows}
    with docker_registry(tmp_path / "registry") as server:
        slim("index", tmp_path / "amd64", tmp_path / "arm64", "-o", tmp_path / "joined", "--push",
             f"docker://{server.host}/team/app:both", env=fat.cache)  # fmt: skip
        raw = json.loads(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{server.host}/team/app:both"))
        assert [each["platform"]["architecture"] for each in raw["manifests"]] == ["amd64", "arm64"]
        joined = f"docker://{server.host}/team/app:both"
        words = ("--image", joined, "--platform", "linux/arm64", *source[2:], "--entrypoint", "/app/name")
        slim("build", tmp_path / "recording.json", *words, "-o", tmp_path / "again", env=fat.cache)
    found = [read_layout(tmp_path / name / "image").manifest.digest for name in ("arm64", "again")]
    assert found[0] == found[1]


def test_a_limit_can_be_set_and_says_how_to_raise_it(slim: Slim, fat: Fat, tmp_path: Path) -> None:
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    words = ("trace", "--image", fat.oci, "--no-check", "-o", tmp_path / "out")
    done = slim(*words, "--limit", "file_bytes=1000", env=env, code=1)
    assert "--limit file_bytes=" in done.stderr
    assert not (tmp_path / "out").exists()
    slim(*words, "--limit", "file_bytes=1G", env=env)


def test_trace_pushes_and_push_sends_the_same(slim: Slim, fat: Fat, tmp_path: Path) -> None:
    with docker_registry(tmp_path / "registry") as server:
        done = summary(slim, fat, "--image", fat.oci, "-o", tmp_path / "out", "--push", f"docker://{server.host}/a/b:1")
        slim("push", tmp_path / "out", f"docker://{server.host}/a/c:2")
        for name in ("a/b:1", "a/c:2"):
            found = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{server.host}/{name}"))
            assert found["Digest"] == done["manifest_digest"]


def test_a_stream_goes_in_and_a_stream_comes_out(fat: Fat, podman: Podman, tmp_path: Path) -> None:
    podman("load", "--input", str(fat.docker))
    command = [sys.executable, "-m", "slimmer.cli.main", "trace", "--no-challenge", "--image", "-", "--archive", "-"]
    command += ["--tag", "localhost/slim:one", "-o", f"{tmp_path}/out"]
    with podman.popen("save", NAME) as saver, open(tmp_path / "stream", "wb") as stream:
        done = subprocess.run(
            command,
            stdin=saver.stdout,
            stdout=stream,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(HOUSE), **fat.cache},
            timeout=100,
        )
    assert done.returncode == 0, done.stderr
    podman("load", "--input", str(tmp_path / "stream"))
    ran = podman("run", "--rm", "--network", "none", *Podman.LIMITS, "localhost/slim:one")
    assert ran.stdout == b"hello world in /srv/app as 33\none\ntwo\n"
