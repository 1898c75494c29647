"""Recorded again under another umask, zone, locale, hash seed, CPU and place: one image id, one set of statements.

The long form, with every fixture application, is `make reproduce`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.recipe import Recipe, Run, Source
from tests.bench.reproduce import vary
from tests.support import needs_root, plant, requires

BUSYBOX = Path("/bin/busybox")
SCRIPT = "#755 #!/bin/sh\nt=$(mktemp) && echo x > $t && cat /app/data $t && ls /app && date -u +%Y > /var/out.$$\n"


@needs_root
@requires("taskset", "busybox")
@pytest.mark.skipif(not BUSYBOX.exists(), reason="not installed: busybox-static")
def test_one_behaviour_is_one_image_and_one_set_of_statements(tmp_path: Path) -> None:
    root = plant(
        tmp_path / "rootfs",
        {
            "/etc/passwd": "root:x:0:0:root:/:/bin/sh\n",
            "/app/run": SCRIPT,
            "/app/data": "d\n",
            "/usr/share/doc/unused": "u",
            **{f"/bin/{name}": "-> busybox" for name in ("sh", "mktemp", "cat", "ls", "date", "echo")},
            "/tmp": None,
            "/var": None,
        },
    )
    (root / "bin/busybox").write_bytes(BUSYBOX.read_bytes())
    (root / "bin/busybox").chmod(0o755)
    (tmp_path / "home").mkdir()
    outcomes = list(vary(Recipe(Source(root=str(root)), (Run(("/app/run",)),)), tmp_path / "home"))
    assert len(outcomes) == 5
    assert {each.image for each in outcomes} == {outcomes[0].image}
    assert {each.statements for each in outcomes} == {outcomes[0].statements}
