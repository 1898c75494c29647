"""What `make dist` makes, installed into an empty environment, does the main job; and nothing else is in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.apps.conftest import HOUSE
from tests.support import needs_root, plant, requires

pytestmark = [needs_root, requires("busybox", "git"), pytest.mark.timeout(600)]
RUN = "/bin/busybox cat /etc/text"
OFFLINE = ("Could not find a version", "ConnectionError", "NewConnectionError", "Temporary failure in name resolution")


def pip(python: Path, *arguments: str | Path) -> None:
    """Install, or skip where no package index can be reached."""
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ""},
    )
    if done.returncode and any(sign in done.stderr for sign in OFFLINE):
        pytest.skip(f"no package index: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr


def empty_environment(place: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    return place / "bin"


def site_packages(binaries: Path) -> Path:
    return next(binaries.parent.glob("lib/python*/site-packages"))


def does_the_main_job(binaries: Path, work: Path) -> str:
    """Trace busybox as a stranger to this source tree would; the image's id."""
    out = work / "out"
    done = subprocess.run(
        [
            binaries / "slim",
            "trace",
            "--root",
            work / "root",
            "--run",
            "/bin/busybox cat /etc/text",
            "-o",
            out,
            "--json",
        ],
        cwd=work,
        env={"PATH": f"{binaries}:{os.environ['PATH']}", "HOME": str(work), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["check"] == "passed"
    assert (out / "report.html").stat().st_size > 10_000
    kept = [row["path"] for row in json.loads((out / "manifest.json").read_text())["paths"]]
    assert "/etc/text" in kept
    assert "/usr/other" not in kept
    code = "import slimmer, tracer; print(slimmer.__file__, tracer.__file__, slimmer.trace)"
    where = subprocess.run([binaries / "python", "-c", code], cwd=work, capture_output=True, text=True, check=True)
    assert where.stdout.count(f"{site_packages(binaries)}/") == 2
    shutil.rmtree(out)
    return str(summary["image_id"])


def test_both_archives_install_and_slim(tmp_path: Path) -> None:
    source = tmp_path / "source"  # what is under version control, as a clone has it, with what is not committed yet
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=HOUSE, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (HOUSE / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(HOUSE / name, source / name)
    made = tmp_path / "dist"
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", made, source], check=True, capture_output=True
    )
    (wheel,), (archive,) = made.glob("*.whl"), made.glob("*.tar.gz")

    inside = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in inside if ".dist-info/" not in name and ".data/" not in name}
    assert tops == {"slimmer", "tracer"}
    for name in listed.split("\0"):
        if name.startswith(("slimmer/", "tracer/")):
            assert name in inside
        elif name.startswith("profiles/"):
            assert f"slimmer/_{name}" in inside
    with tarfile.open(archive) as stream:
        held = {name.partition("/")[2] for name in stream.getnames()}
    assert {name for name in listed.split("\0") if name and (HOUSE / name).is_file()} - held <= {".gitignore"}

    root = plant(tmp_path / "root", {"etc/text": "hi\n", "usr/other": "other\n", "bin": None})
    shutil.copy(shutil.which("busybox") or "", root / "bin/busybox")

    first = empty_environment(tmp_path / "first")
    pip(first / "python", wheel)
    image = does_the_main_job(first, tmp_path)
    assert {"slim.1", "slim-trace.1"} <= {each.name for each in (first.parent / "share/man/man1").iterdir()}

    # The source archive's dependencies are the wheel's: they are lent, not fetched again.
    subprocess.run([first / "python", "-m", "pip", "uninstall", "--quiet", "--yes", "slimmer-oci"], check=True)
    second = empty_environment(tmp_path / "second")
    (site_packages(second) / "lent.pth").write_text(f"{site_packages(first)}\n")
    pip(second / "python", "--no-deps", archive)
    assert does_the_main_job(second, tmp_path) == image
