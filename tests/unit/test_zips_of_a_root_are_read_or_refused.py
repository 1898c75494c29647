"""Archives as they are found: whole, damaged, of odd methods, encrypted; readers go on without them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from slimmer.closure.languages.python.path import archive_members, archive_source
from slimmer.errors import SlimmerError
from slimmer.packages.java import artifacts
from slimmer.root.directory import DirectoryRoot
from slimmer.root.zips import unzipped

MANIFEST = "META-INF/MANIFEST.MF"


def _made(method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr(MANIFEST, "Manifest-Version: 1.0\n" * 400)
    return buffer.getvalue()


def _damaged(method: int) -> bytes:
    data = bytearray(_made(method))
    start = data.index(MANIFEST.encode()) + len(MANIFEST)
    data[start : start + 12] = b"\xff" * 12
    return bytes(data)


def _with(offset: int, value: int) -> bytes:
    """A byte of both headers of the member changed: flags or method."""
    data = bytearray(_made())
    data[offset] = value
    central = data.index(b"PK\1\2")
    data[central + offset + 2] = value
    return bytes(data)


BROKEN = {
    "no archive": b"PK\3\4 and nothing else",
    "empty": b"",
    "cut": _made()[:40],
    "deflate": _damaged(zipfile.ZIP_DEFLATED),
    "bzip2": _damaged(zipfile.ZIP_BZIP2),
    "lzma": _damaged(zipfile.ZIP_LZMA),
    "encrypted": _with(6, 1),
    "method": _with(8, 97),
}


def test_a_whole_one_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jar").write_bytes(_made())
    with unzipped(DirectoryRoot(str(tmp_path)), "/a.jar") as archive:
        assert archive.read(MANIFEST).startswith(b"Manifest-Version")


@pytest.mark.parametrize("kind", BROKEN)
def test_whatever_is_wrong_is_one_error_and_no_reader_stumbles(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.jar").write_bytes(BROKEN[kind])
    root = DirectoryRoot(str(tmp_path))
    with (
        pytest.raises(SlimmerError, match=r"/a\.jar cannot be read as a zip archive"),
        unzipped(root, "/a.jar") as archive,
    ):
        archive.read(MANIFEST)
    assert archive_source(root, "/a.jar", MANIFEST) == b""
    assert archive_members(root, "/a.jar") in ([], [MANIFEST])
    assert list(artifacts(root, "/a.jar")) == []


def test_a_missing_member_is_one_too(tmp_path: Path) -> None:
    (tmp_path / "a.jar").write_bytes(_made())
    with (
        pytest.raises(SlimmerError, match="no-such"),
        unzipped(DirectoryRoot(str(tmp_path)), "/a.jar") as archive,
    ):
        archive.read("no-such")
