"""Roots of other architectures from `slim trace` to the checked image: guest paths only, of the guest's platform."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest

from tests.apps.conftest import Slim
from tests.support import needs_root, requires, root_of

pytestmark = [
    needs_root,
    requires("qemu-aarch64-static", "qemu-arm-static", "qemu-riscv64-static"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="names architectures that are foreign to x86-64"),
]


@pytest.mark.parametrize(
    ("architecture", "suite", "variant"),
    [("arm64", "bookworm", "v8"), ("armhf", "bookworm", "v7"), ("riscv64", "trixie", None)],
)
def test_the_image_of_a_foreign_root_works_and_knows_no_emulator(
    slim: Slim, tmp_path: Path, architecture: str, suite: str, variant: str | None
) -> None:
    packages = ("coreutils", "busybox", *(("base-files",) if suite != "bookworm" else ()))
    root = root_of(*packages, architecture=architecture, variant="extract", suite=suite)
    out = tmp_path / "out"
    script = "/bin/ls -d /etc; /usr/bin/id -u; /bin/date -u -d @0 +%F"
    done = slim(
        *("trace", "--root", root, "--platform", f"linux/{architecture}"),
        *("--run", f"busybox sh -c '{script}'", "-o", out, "--json"),
    )
    assert json.loads(done.stdout)["check"] == "passed"
    recorded = (out / "recording.json").read_text()
    assert "/bin/ls" in recorded
    assert "qemu" not in recorded
    kept = {each["path"] for each in json.loads((out / "manifest.json").read_text())["paths"]}
    assert not [path for path in kept if "qemu" in path]
    assert [path for path in kept if path.endswith("/libc.so.6")]
    (image,) = json.loads((out / "image/index.json").read_text())["manifests"]
    wanted = {"arm64": "arm64", "armhf": "arm", "riscv64": "riscv64"}[architecture]
    assert (image["platform"]["architecture"], image["platform"].get("variant")) == (wanted, variant)
