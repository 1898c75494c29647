"""Fat root → `slim trace` → umoci: each mode, owner, link, attribute, time and byte as it was and as the manifest says.

The application opens, stats and lists everything of the fidelity fixture.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import fidelity
from tests.apps.conftest import Slim
from tests.running import NOBODY, own, photograph, readable_directory, small_root
from tests.support import needs_root, plant, requires

pytestmark = [needs_root, requires("mmdebstrap", "umoci")]

# Opens what can be opened without waiting, stats the sparse file only, lists every directory.
APP = r"""#!/usr/bin/perl
use strict;
sub visit {
    my ($path) = @_;
    my @status = lstat $path or die "$path: $!";
    if (-l _) { readlink $path; return }
    if (-d _) {
        opendir(my $handle, $path) or return;
        visit("$path/$_") for grep { !/^\.\.?$/ } readdir $handle;
    }
    elsif (-f _ && $status[7] < 1 << 20) {
        if (open(my $file, "<", $path)) { read($file, my $content, 1 << 20) }
    }
}
visit($_) for @ARGV;
"""


def _root(top: Path) -> Path:
    """A small Debian with the fixture in /opt, where its names meet none of Debian's."""
    root = small_root(top / "root")
    plant(root, {"app/visit": f"#755 {APP}", "opt/all": None})
    fidelity.make(root / "opt/all")
    return root


@pytest.fixture
def place() -> Iterator[Path]:
    with readable_directory() as directory:
        yield directory


def state(root: Path) -> dict[str, tuple[object, ...]]:
    """All that lstat says; but readlink(2) cannot leave a symbolic link's access time alone."""
    return {path: row[:-1] if os.path.islink(path) else row for path, row in photograph(root).items()}


def test_everything_is_in_the_unpacked_image_as_in_the_root(slim: Slim, place: Path) -> None:
    root = _root(place)
    before = state(root)
    out = place / "out"
    done = slim("trace", "--root", root, "--run", "/app/visit /opt/all", "-o", out, "--keep", "recorded", "--json")
    assert json.loads(done.stdout)["check"] == "passed"
    assert state(root) == before, "the fat root is as it was, access times included"

    bundle = place / "bundle"
    subprocess.run(["umoci", "unpack", "--image", f"{out}/image:latest", bundle], check=True, capture_output=True)
    unpacked = bundle / "rootfs"
    assert fidelity.listing(unpacked / "opt/all") == fidelity.listing(root / "opt/all")
    assert (unpacked / "opt/all/var/sparse").stat().st_size == fidelity.SPARSE
    agrees(out, unpacked)


def agrees(out: Path, tree: Path) -> None:
    """The manifest names exactly what the tree holds, and describes it."""
    rows = json.loads((out / "manifest.json").read_text())["paths"]
    found = {os.fsdecode(path[len(os.fsencode(tree)) :]) for path in fidelity._paths(os.fsencode(tree))}
    assert {row["path"] for row in rows} - {"/"} == found
    for row in rows:
        if row["path"] == "/":
            continue  # no layer has it: an unpacker makes it as it likes
        path = f"{tree}{row['path']}"
        status = os.lstat(path)
        said = (int(row["mode"], 8), row["uid"], row["gid"], int(row["mtime"]))
        assert (status.st_mode & 0o7777, status.st_uid, status.st_gid, status.st_mtime_ns // 10**9) == said, row
        if row["type"] == "file":
            assert status.st_size == row["size"]
            with open(path, "rb") as stream:
                assert hashlib.file_digest(stream, "sha256").hexdigest() == row["sha256"].removeprefix("sha256:")
        elif row["type"] == "symlink":
            assert os.readlink(path) == row["target"]
        names = set(os.listxattr(path, follow_symlinks=False)) if row["type"] != "symlink" else set()
        assert {name for name in names if not name.startswith(("trusted.", "user.overlay."))} == set(
            row.get("xattrs") or ()
        ), row


def test_an_ordinary_user_gets_the_image_that_root_gets_and_changes_nothing(slim: Slim, place: Path) -> None:
    root = small_root(place / "root")
    script = "#!/bin/sh\ncat /app/text; echo x >/var/lib/app/data; ls /etc\n"
    plant(root, {"app/run.sh": f"#755 {script}", "app/text": "hi\n"})
    own(root, NOBODY)
    before = state(root)
    ids = []
    for user in (0, NOBODY):
        scratch = place / f"scratch{user}"
        scratch.mkdir()
        os.chown(scratch, user, user)
        done = slim(
            *("trace", "--root", root, "--run", "/app/run.sh", "-o", scratch / "out", "--json"),
            env={
                "HOME": str(scratch),
                "TMPDIR": str(scratch),
                "XDG_STATE_HOME": str(place / f"state{user}"),
                "XDG_CACHE_HOME": str(place / f"cache{user}"),
            },
            cwd=scratch,
            user=user,
            group=user,
            extra_groups=[],
        )
        summary = json.loads(done.stdout)
        assert summary["check"] == "passed"
        ids.append((summary["image_id"], summary["manifest_digest"]))
        assert state(root) == before
        assert sorted(each.name for each in scratch.iterdir()) == ["out"]
    assert ids[0] == ids[1]
