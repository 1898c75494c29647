"""Two independent runs that differ in everything that must not matter, and diffoscope finds nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import needs_root, plant, requires

BUILD = """
import os, sys
from pathlib import Path
from slimmer.image.archive import write_archive
from slimmer.image.compress import Compression
from slimmer.image.config import ImageConfig
from slimmer.image.layer import LayerOptions
from slimmer.image.layout import build_image
from slimmer.image.split import split
from slimmer.image.times import MtimePolicy
from slimmer.root.directory import DirectoryRoot
fat, out, uid, umask = sys.argv[1:]
if int(uid):
    os.setgroups([]); os.setgid(int(uid)); os.setuid(int(uid))  # after the imports: the checkout may be closed
os.umask(int(umask, 8))
root = DirectoryRoot(fat)
paths = list({entry.path for entry in root.walk()})
config = ImageConfig(cmd=("/bin/a",), env=(("A", "b"),), labels=(("x", "y"), ("a", "b")), architecture="amd64")
policy = MtimePolicy.clamp(1_600_000_000)
for form in Compression:
    groups = split(root, paths, lambda path: "application" if "opt" in path else "os")
    for name, what in (("one", paths), ("split", groups)):
        place = Path(out, f"{form}-{name}")
        build_image(root, what, config, place, LayerOptions(form, policy))
        with open(f"{place}.tar", "wb") as stream:
            write_archive(place, stream, "x")
"""


def build(fat: Path, out: Path, uid: int, umask: str, command: tuple[str, ...] = (), **environ: str) -> None:
    out.mkdir()
    os.chown(out, uid, uid)
    done = subprocess.run(
        [*command, sys.executable, "-c", BUILD, str(fat), str(out), str(uid), umask],
        env={"PATH": os.environ["PATH"], "PYTHONUTF8": "1", "PYTHONPATH": os.getcwd(), **environ},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@contextmanager
def disordered(fat: Path, mount: Path) -> Iterator[Path]:
    """The same tree with its directories in another order, where fuse allows it."""
    mount.mkdir()
    if shutil.which("disorderfs") is None or not os.path.exists("/dev/fuse"):
        yield fat
        return
    options = ["--multi-user=yes", "--shuffle-dirents=yes", "--reverse-dirents=yes", "--pad-blocks=7"]
    done = subprocess.run(["disorderfs", "-q", *options, fat, mount], capture_output=True, text=True)
    if done.returncode:
        yield fat
        return
    try:
        yield mount
    finally:
        subprocess.run(["fusermount", "-u", mount], check=True)


@needs_root
@requires("diffoscope")
def test_user_umask_zone_locale_hash_seed_cores_and_directory_order_do_not_matter() -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        top.chmod(0o755)
        tree = {f"/{a}/{b}/{c}": f"{a}{b}{c}" * 99 for a in ("bin", "opt", "ä") for b in "xyz" for c in "321"}
        fat = plant(top / "fat", {**tree, "/bin/a": "#755 #!/bin/sh\n", "/lib": "-> bin"})
        os.link(fat / "bin/a", fat / "opt/a")
        build(fat, top / "1", 0, "022", TZ="UTC", LC_ALL="C.UTF-8", PYTHONHASHSEED="1")
        other = {"TZ": "Pacific/Auckland", "LC_ALL": "C", "PYTHONHASHSEED": "4242", "HOME": "/", "TMPDIR": str(top)}
        with disordered(fat, top / "disordered") as seen:
            build(seen, top / "2", 65534, "077", ("taskset", "1") if shutil.which("taskset") else (), **other)
        for place in sorted((top / "1").rglob("*")):
            if place.is_file():
                assert place.read_bytes() == (top / "2" / place.relative_to(top / "1")).read_bytes(), place
        # the directories themselves: names, types and contents; who ran it and when is not part of an output
        command = ["diffoscope", "--exclude-directory-metadata=yes", str(top / "1"), str(top / "2")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.skipif(shutil.which("diffoscope") is None, reason="not installed: diffoscope")
def test_diffoscope_does_find_a_difference(tmp_path: Path) -> None:
    plant(tmp_path, {"/1/a": "x", "/2/a": "y"})
    assert subprocess.run(["diffoscope", tmp_path / "1", tmp_path / "2"], capture_output=True).returncode == 1
