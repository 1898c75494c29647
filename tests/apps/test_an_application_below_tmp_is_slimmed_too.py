"""An application that lies in the root's own /tmp: the sandbox shows it, to fat and slim alike."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.apps.conftest import Slim
from tests.support import needs_root, plant, requires


@needs_root
@requires("busybox")
def test_what_lies_in_tmp_is_there(slim: Slim, tmp_path: Path) -> None:
    script = "#755 #!/bin/sh\nread line < /tmp/work/text\necho $line\n"
    root = plant(tmp_path / "root", {"bin/sh": "-> busybox", "tmp/work/run.sh": script, "tmp/work/text": "here\n"})
    shutil.copy(shutil.which("busybox") or "", root / "bin/busybox")
    done = slim(
        *("trace", "--root", root, "--run", "/tmp/work/run.sh", "--workdir", "/tmp/work"),
        *("-o", tmp_path / "out", "--json"),
    )
    assert json.loads(done.stdout)["check"] == "passed"
