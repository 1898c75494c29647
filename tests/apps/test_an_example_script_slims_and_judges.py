"""docs/examples: the script does what its text says, by nothing but `import slimmer`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.apps.conftest import HOUSE
from tests.support import needs_root, plant, requires

pytestmark = [needs_root, requires("busybox")]
SCRIPT = HOUSE / "docs/examples/slim_and_judge.py"


def run(root: Path, out: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, root, out, *command],
        env={**os.environ, "PYTHONPATH": str(HOUSE)},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_the_example_judges_an_image_by_its_own_rules(tmp_path: Path) -> None:
    root = plant(tmp_path / "root", {"etc/text": "hi\n", "usr/other": "other\n", "bin": None})
    shutil.copy(shutil.which("busybox") or "", root / "bin/busybox")
    shutil.copy(root / "bin/busybox", root / "bin/tool")
    out = tmp_path / "out"

    done = run(root, out, "/bin/busybox", "cat", "/etc/text")
    assert done.returncode == 3, done.stderr
    assert "a shell stays: /bin/busybox" in done.stdout
    assert "check passed" in done.stdout
    report = json.loads((out / "report.json").read_text())
    assert f"{report['slim']['bytes']} of {report['fat']['bytes']} bytes stay" in done.stdout

    failed = run(root, tmp_path / "none", "/bin/busybox", "false")
    assert failed.returncode == 1
    assert not (tmp_path / "none").exists()
