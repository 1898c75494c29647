"""--chmod and --chown in a whole run: in the layers, the review and `slim why`, as root and as an ordinary user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.apps.conftest import HOUSE
from tests.running import NOBODY, own, readable_directory
from tests.support import needs_root, plant, requires

PASSWD = "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/srv:/bin/sh\n"


@needs_root
@requires("busybox")
@pytest.mark.parametrize("uid", [0, NOBODY])
def test_layers_review_and_why_agree(uid: int) -> None:
    with readable_directory() as place:
        tree = {"/bin/sh": "-> busybox", "/bin/cat": "-> busybox", "/srv/start": "#644 cat /srv/data\n"}
        root = plant(place / "root", {**tree, "/srv/data": "#600 x\n", "/etc/passwd": PASSWD, "/tmp": None})
        shutil.copy2("/bin/busybox", root / "bin/busybox")
        own(place, uid)

        def slim(*words: str | Path) -> str:
            done = subprocess.run(
                [sys.executable, "-m", "slimmer.cli.main", *map(str, words)],
                env={**os.environ, "PYTHONPATH": str(HOUSE), "HOME": str(place)},
                capture_output=True,
                text=True,
                user=uid,
                group=uid,
                extra_groups=[],
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        out = place / "out"
        how = ("--run", "sh /srv/start", "--chmod", "/srv/start=0755", "--chown", "/srv/data=app:0", "--no-challenge")
        slim("trace", "--root", root, *how, "-o", out, "--archive", place / "image.tar")
        manifest = {row["path"]: row for row in json.loads((out / "manifest.json").read_text())["paths"]}
        start, data = manifest["/srv/start"], manifest["/srv/data"]
        assert (start["mode"], start["was"]) == ("0755", f"0644 {uid}:{uid}")
        assert (data["uid"], data["gid"], data["was"]) == (1000, 0, f"0600 {uid}:{uid}")
        assert "was" not in manifest["/etc/passwd"]
        assert f"0600 {uid}:{uid} in the fat root" in slim("why", out, "/srv/data")
        assert any("/srv/start is 0755" in note for note in json.loads((out / "report.json").read_text())["notes"])
        members: dict[str, tarfile.TarInfo] = {}
        for layer in (out / "image/blobs/sha256").iterdir():
            if tarfile.is_tarfile(layer):
                with tarfile.open(layer) as tar:
                    members |= {f"/{each.name}": each for each in tar}
        assert members["/srv/start"].mode == 0o755
        assert (members["/srv/data"].uid, members["/srv/data"].gid) == (1000, 0)
        # The recipe of the output does the same again.
        slim("trace", "--recipe", out / "recipe.toml", "--no-challenge", "-o", place / "again")
        assert slim("diff", out, place / "again", "--fail-on", "any") is not None
