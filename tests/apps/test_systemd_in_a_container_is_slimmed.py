"""systemd as process 1, with what a container must be given for it: its service runs in the slim image too."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.apps.conftest import Slim
from tests.support import needs_root, plant, requires, root_of

pytestmark = [needs_root, requires("mmdebstrap")]
UNIT = """[Service]
ExecStart=/bin/sh -c 'cat /srv/app > /run/app.state; while :; do sleep 1; done'
"""
ASK = "until [ -e /run/app.state ]; do sleep 0.2; done; cat /run/app.state; systemctl is-active app"


def test_a_service_of_systemd_runs_in_the_slim_image(slim: Slim, tmp_path: Path) -> None:
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", "--reflink=auto", root_of("systemd-sysv"), root], check=True)
    wants = "/etc/systemd/system/multi-user.target.wants/app.service"
    files = {"/etc/systemd/system/app.service": UNIT, wants: "-> ../app.service", "/srv/app": "up\n"}
    plant(root, {**files, "/etc/systemd/system/default.target": "-> /lib/systemd/system/multi-user.target"})
    start = ("trace", "--root", root, "--run", "/sbin/init", "--env", "container=oci", "--stop-signal", "SIGRTMIN+3")
    ask = ("--exec", f"sh -c '{ASK}'")
    refused = slim(*start, *ask, "-o", tmp_path / "refused", code=1)
    assert "--allow-nested --cap-add SYS_ADMIN" in refused.stderr
    slim(*start, *ask, "--allow-nested", "--cap-add", "SYS_ADMIN", "-o", tmp_path / "out")
    verdict = json.loads((tmp_path / "out/check.json").read_text())
    assert verdict["verdict"] == "passed"
    assert len(verdict["comparisons"]) == 1
    assert (tmp_path / "out/image/index.json").exists()
