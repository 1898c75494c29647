"""PEP 552: where times are rewritten, a .pyc that was valid stays valid, and a stale one stale."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from slimmer.image.layer import LayerOptions, write_layer
from slimmer.image.pyc import rewrite, source_path
from slimmer.image.times import MtimePolicy
from slimmer.image.unpack import write_rootfs
from slimmer.root.directory import DirectoryRoot
from slimmer.root.model import Root
from tests.image_trees import MemoryRoot, regular, symlink

MAGIC = {"3.6": 3379, "3.7": 3394, "3.11": 3495, "3.14": 3627, "2.7": 62211, "pypy": 256}
CACHED = "/lib/__pycache__/module.cpython-311.pyc"


def stamped(version: str, mtime: int, size: int, flags: int = 0) -> bytes:
    head = struct.pack("<H", MAGIC[version]) + b"\r\n"
    if version == "2.7":
        return head + struct.pack("<I", mtime) + b"code of python 2"
    if version == "3.6":
        return head + struct.pack("<II", mtime, size) + b"code of python 3"
    return head + struct.pack("<III", flags, mtime, size) + b"code"


def beside(path: str, source: str, mtime: int = 1000, size: int = 50, ns: int = 0) -> Root:
    return MemoryRoot([regular(path, 30), regular(source, size, mtime=mtime, ns=ns)])


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (CACHED, "/lib/module.py"),
        ("/lib/__pycache__/module.cpython-311.opt-2.pyc", "/lib/module.py"),
        ("/lib/__pycache__/a.b.cpython-39.pyc", "/lib/a.b.py"),
        ("/lib/__pycache__/module.pyc", None),
        ("/lib/module.pyc", "/lib/module.py"),
        ("/__pycache__/m.cpython-311.pyc", "/m.py"),
    ],
)
def test_a_pyc_is_found_to_its_source(path: str, source: str | None) -> None:
    assert source_path(path) == source


@pytest.mark.parametrize(
    ("version", "path"),
    [
        ("3.11", CACHED),
        ("3.14", CACHED),
        ("3.7", CACHED),
        ("3.6", CACHED),
        ("2.7", "/lib/module.pyc"),
        ("pypy", "/lib/__pycache__/module.pypy39.pyc"),
    ],
)
def test_the_recorded_time_is_the_packed_time_of_the_source_in_every_version(version: str, path: str) -> None:
    root = beside(path, "/lib/module.py")
    assert rewrite(root, path, stamped(version, 1000, 50), MtimePolicy.set(7)) == stamped(version, 7, 50)
    assert rewrite(root, path, stamped(version, 1000, 50), MtimePolicy.clamp(999)) == stamped(version, 999, 50)
    assert rewrite(root, path, stamped(version, 1000, 50), MtimePolicy.clamp(2000)) == stamped(version, 1000, 50)


def test_a_hash_based_pyc_and_what_is_none_are_left_alone() -> None:
    root = beside(CACHED, "/lib/module.py")
    for header in (stamped("3.11", 1000, 50, flags=1), stamped("3.11", 1000, 50, flags=3), b"", b"text that is none"):
        assert rewrite(root, CACHED, header, MtimePolicy.set(7)) == header


def test_a_stale_pyc_stays_stale() -> None:
    root = beside(CACHED, "/lib/module.py")
    assert rewrite(root, CACHED, stamped("3.11", 1000, 51), MtimePolicy.set(7)) == stamped("3.11", 1000, 51)
    assert rewrite(root, CACHED, stamped("3.11", 999, 50), MtimePolicy.set(7)) == stamped("3.11", 999, 50)
    assert rewrite(root, CACHED, stamped("3.11", 7, 50), MtimePolicy.set(7)) == stamped("3.11", 6, 50)


def test_without_a_source_the_policy_alone_counts() -> None:
    root = MemoryRoot([regular(CACHED, 30)])
    assert rewrite(root, CACHED, stamped("3.11", 1000, 50), MtimePolicy.clamp(7)) == stamped("3.11", 7, 50)


def test_a_source_behind_a_link_is_the_file_that_the_link_leads_to() -> None:
    root = MemoryRoot(
        [regular(CACHED, 30), symlink("/lib/module.py", "/src/m.py"), regular("/src/m.py", 50, mtime=1000)]
    )
    assert rewrite(root, CACHED, stamped("3.11", 1000, 50), MtimePolicy.set(7)) == stamped("3.11", 7, 50)


def test_seconds_are_counted_as_python_counts_them() -> None:
    late = beside(CACHED, "/lib/module.py", mtime=1_700_000_000, ns=999_999_999)  # a float rounds it up
    recorded = int(1_700_000_000 + 1e-9 * 999_999_999)
    assert rewrite(late, CACHED, stamped("3.11", recorded, 50), MtimePolicy.set(7)) == stamped("3.11", 7, 50)
    old = beside(CACHED, "/lib/module.py", mtime=-2, ns=500_000_000)  # -1.5 is cut to -1, floored to -2
    assert rewrite(old, CACHED, stamped("3.11", 2**32 - 1, 50), MtimePolicy.clamp(0)) == stamped("3.11", 2**32 - 2, 50)


@pytest.mark.parametrize("policy", [MtimePolicy.set(0), MtimePolicy.clamp(1_000_000_000), MtimePolicy.keep()])
def test_python_itself_does_not_recompile_what_was_packed(policy: MtimePolicy, tmp_path: Path) -> None:
    fat = tmp_path / "fat"
    fat.mkdir()
    source = fat / "answer.py"
    source.write_text("VALUE = 42\n")
    os.utime(source, ns=(0, 1_700_000_000_250_000_000))
    py_compile.compile(str(source), invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP)
    root = DirectoryRoot(str(fat))
    slim = tmp_path / "slim"
    paths = [entry.path for entry in root.walk()]
    write_rootfs(root, paths, slim, mtime=policy)
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-v", "-c", "import answer; print(answer.VALUE)"],
        cwd=slim, env=environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "42\n"
    cached = importlib.util.cache_from_source("answer.py")
    assert f"matches {slim}/answer.py" in done.stderr
    layer = write_layer(root, paths, tmp_path / "blobs", LayerOptions(mtime=policy))
    (name,) = (path for path in layer.files if path.endswith(".pyc"))
    assert name == f"/{cached}"
