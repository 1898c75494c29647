"""Same root, same paths, same bytes: golden digests, and everything that must not matter."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import random
import resource
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

import pytest
import zstandard

from slimmer.errors import SlimmerError
from slimmer.facts.remember import using
from slimmer.facts.store import FactStore
from slimmer.image import compress
from slimmer.image.compress import Compression
from slimmer.image.layer import Layer, LayerOptions, entries, kept_xattrs, write_layer
from slimmer.image.times import MtimePolicy, source_date_epoch
from slimmer.root.model import Entry, FileType
from tests.image_trees import MemoryRoot, directory, of_files, regular, symlink

PLAIN = LayerOptions(Compression.NONE)
# What these bytes are today they are for ever: a change here changes every image id.
GOLDEN_DIFF_ID = "sha256:4fdaf7c03bce5737fcfc3e833def2e6922107c58759c1e3f7e77ef2b00abd6f2"


def everything() -> MemoryRoot:
    return MemoryRoot(
        [
            directory("/a", 0o700, 5, uid=7),
            regular("/a/b", 3, 0o4755, 1_600_000_000, ns=999_999_999, gid=42),
            regular("/a.b", 0, 0o600, -1, ns=1),
            regular("/first", 4, inode=9, links=3),
            regular("/second", 4, inode=9, links=3),
            symlink("/\udcff", "/a/b", uid=1234),
            Entry("/pipe", FileType.FIFO, 0o622, 0, 0, 0, 0),
            Entry("/null", FileType.CHAR, 0o666, 0, 0, 0, 0, device=os.makedev(1, 3)),
            Entry("/disk", FileType.BLOCK, 0o660, 0, 6, 0, 0, device=os.makedev(8, 1)),
            Entry("/socket", FileType.SOCKET, 0o777, 0, 0, 0, 0),
            regular("/" + "n" * 150, 1),
        ],
        {"/a/b": b"abc", "/first": b"same", "/second": b"same", "/" + "n" * 150: b"x"},
        {
            "/a/b": {
                "user.note": b"\0",
                "security.selinux": b"no",
                "security.capability": b"cap",
                "user.overlay.x": b"no",
            }
        },
    )


def packed(root: MemoryRoot, paths: list[str], options: LayerOptions = PLAIN, **more: list[str]) -> tuple[Layer, bytes]:
    stream = io.BytesIO()
    layer = write_layer(root, paths, stream, options, **more)
    return layer, stream.getvalue()


def members(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as archive:
        return archive.getmembers()


def test_a_layer_of_everything_has_the_digest_that_it_always_had() -> None:
    root = everything()
    layer, data = packed(root, root.paths)
    assert layer.diff_id == layer.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert layer.size == layer.uncompressed_size == len(data)
    assert layer.diff_id == GOLDEN_DIFF_ID


def test_paths_stand_once_sorted_as_bytes_each_after_its_parents() -> None:
    root = of_files({"/a/b/c": b"", "/a.b": b"", "/a-b": b"", "/\udcff": b"", "/ä": b""})
    _, data = packed(root, ["/ä", "/\udcff", "/a/b/c", "/a.b", "/a-b"])
    assert [each.name for each in members(data)] == ["a", "a-b", "a.b", "a/b", "a/b/c", "ä", "\udcff"]


def test_the_order_and_the_number_of_threads_do_not_matter() -> None:
    root = of_files({f"/d{number % 7}/f{number}": random.Random(number).randbytes(40_000) for number in range(40)})
    paths = root.paths
    for compression in Compression:
        seen = set()
        for workers in (1, 2, 7):
            random.Random(workers).shuffle(paths)
            layer, data = packed(root, paths, LayerOptions(compression, workers=workers))
            assert layer.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
            seen.add((layer.digest, layer.diff_id, layer.size))
        assert len(seen) == 1, compression


def test_every_compression_unpacks_to_the_same_stream() -> None:
    size = 3 * compress.Zstd.block + 12_345
    content = (b"slimmer " * (size // 8 + 1))[:size]
    root = of_files({"/big": content, "/small": b"s"})
    plain_layer, plain = packed(root, ["/big", "/small"])
    gzip_layer, zipped = packed(root, ["/big", "/small"], LayerOptions(Compression.GZIP))
    zstd_layer, framed = packed(root, ["/big", "/small"], LayerOptions(Compression.ZSTD))
    assert gzip.decompress(zipped) == plain
    assert zipped[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    one = zlib.decompressobj(31)
    assert one.decompress(zipped) == plain
    assert one.eof
    assert not one.unused_data  # one member, for readers that stop after the first
    reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(framed), read_across_frames=True)
    assert reader.read() == plain
    assert zstandard.frame_content_size(framed) == compress.Zstd.block
    assert plain_layer.diff_id == gzip_layer.diff_id == zstd_layer.diff_id
    assert plain_layer.files == gzip_layer.files == zstd_layer.files


def test_blocks_know_the_one_before_so_cutting_costs_next_to_nothing() -> None:
    text = "".join(f"{number} {hashlib.sha256(str(number).encode()).hexdigest()[:9]}\n" for number in range(200_000))
    root = of_files({"/text": text.encode()})
    layer, _ = packed(root, ["/text"], LayerOptions(Compression.GZIP))
    assert layer.size < 1.01 * len(gzip.compress(text.encode(), compress.GZIP_LEVEL))


@pytest.mark.parametrize(("compression", "size"), [(Compression.GZIP, 40_000), (Compression.ZSTD, 400_000)])
def test_a_file_that_grows_leaves_most_blocks_known(
    compression: Compression, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"/d/{number:03}": random.Random(number).randbytes(size) for number in range(100)}
    grown = {**files, "/d/000": files["/d/000"] + bytes(700)}
    another = {**files, "/d/0001": b"new"}
    roots = [of_files(each) for each in (files, grown, another, files)]
    cold = [packed(root, root.paths, LayerOptions(compression, workers=1)) for root in roots]
    kind = type(compress.codec(compression))
    real, count = kind.compress, 0

    def counted(self: compress.Codec, block: bytes, before: bytes) -> bytes:
        nonlocal count
        count += 1
        return real(self, block, before)

    monkeypatch.setattr(kind, "compress", counted)
    asked = []
    store = FactStore(tmp_path / "facts")
    with using(store):
        for root, expected in zip(roots, cold, strict=True):
            assert packed(root, root.paths, LayerOptions(compression)) == expected
            asked.append(count)
            count = 0
    store.close()
    assert asked[0] > 8
    assert asked[1] < asked[0] / 3
    assert asked[2] < asked[0] / 3
    assert asked[3] == 0


def test_the_first_name_of_a_hard_link_is_the_file_and_only_names_in_the_layer_count() -> None:
    root = everything()
    layer, data = packed(root, ["/second", "/first"])
    first, second = members(data)
    assert (first.name, first.isreg(), second.name, second.linkname) == ("first", True, "second", "first")
    assert second.size == 0
    assert layer.files["/first"] == layer.files["/second"] == hashlib.sha256(b"same").hexdigest()
    _, alone = packed(root, ["/second"])
    assert members(alone)[0].isreg()


def test_each_name_of_a_hard_link_carries_the_capability() -> None:
    root = MemoryRoot(
        [regular("/x", 1, inode=5, links=2), regular("/y", 1, inode=5, links=2)],
        {"/x": b"1", "/y": b"1"},
        {path: {"security.capability": b"cap"} for path in ("/x", "/y")},
    )
    _, data = packed(root, ["/x", "/y"])
    assert [each.pax_headers for each in members(data)] == [{"SCHILY.xattr.security.capability": "cap"}] * 2


def test_only_attributes_of_the_file_itself_are_kept() -> None:
    given = {
        "user.z": b"1",
        "user.a": b"2",
        "security.capability": b"3",
        "security.selinux": b"",
        "trusted.overlay.opaque": b"",
        "user.overlay.opaque": b"",
        "user.rootlesscontainers": b"",
        "system.posix_acl_access": b"",
    }
    assert list(kept_xattrs(given)) == ["security.capability", "user.a", "user.z"]


def test_sockets_and_the_root_directory_are_left_out() -> None:
    root = everything()
    names = {entry.path for entry in entries(root, root.paths)}
    assert "/" not in names
    assert "/socket" not in names


def test_times_are_whole_seconds_towards_the_past() -> None:
    _, data = packed(everything(), ["/a/b", "/a.b"])
    assert {each.name: each.mtime for each in members(data)} == {"a": 5, "a.b": -1, "a/b": 1_600_000_000}


def test_a_clamp_lowers_only_later_times_and_a_set_time_is_everywhere() -> None:
    _, clamped = packed(everything(), ["/a/b", "/a.b"], LayerOptions(Compression.NONE, MtimePolicy.clamp(100)))
    assert {each.name: each.mtime for each in members(clamped)} == {"a": 5, "a.b": -1, "a/b": 100}
    _, fixed = packed(everything(), ["/a/b", "/a.b"], LayerOptions(Compression.NONE, MtimePolicy.set(0)))
    assert {each.mtime for each in members(fixed)} == {0}


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["/a/b", "/a/b"], "twice"),
        (["/.wh.a"], "means 'delete'"),
        (["/.wh.d/inside"], "means 'delete'"),
        (["a/b"], "no canonical path"),
        (["/a//b"], "no canonical path"),
        (["/a/../b"], "no canonical path"),
        (["/a/"], "no canonical path"),
        (["/a/\0"], "no canonical path"),
        (["/gone"], "there is nothing at /gone"),
        (["/" + "d/" * 2000 + "x"], "there is nothing at /d"),
    ],
)
def test_paths_that_cannot_stand_in_a_layer_are_refused(paths: list[str], message: str) -> None:
    root = of_files({"/a/b": b"", "/.wh.a": b"", "/.wh.d/inside": b""})
    with pytest.raises(SlimmerError, match=message):
        packed(root, paths)


@pytest.mark.parametrize("content", [b"ab", b"abcd"])
def test_a_file_that_changes_under_the_writer_is_an_error(content: bytes, tmp_path: Path) -> None:
    root = MemoryRoot([regular("/f", 3)], {"/f": content})
    with pytest.raises(SlimmerError, match="changed while it was being packed"):
        write_layer(root, ["/f"], tmp_path)
    assert list(tmp_path.iterdir()) == []  # and nothing half-written stays


def test_a_place_that_takes_no_more_is_one_clear_message_and_nothing_stays(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    root = of_files({"/f": random.Random(1).randbytes(100_000)})
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))  # as a full disk, for this process alone
    try:
        with pytest.raises(SlimmerError, match=r"cannot write into .*: File too large"):
            write_layer(root, ["/f"], tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_whose_time_a_later_layer_gives_stands_with_time_zero() -> None:
    root = MemoryRoot([directory("/d", mtime=77), directory("/e", mtime=88), regular("/d/f"), regular("/e/f")])
    _, data = packed(root, ["/d/f", "/e/f"], carried=["/d"])
    assert {each.name: each.mtime for each in members(data) if each.isdir()} == {"d": 0, "e": 88}


def test_a_blob_in_a_directory_bears_its_digest_and_is_readable_by_all(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        layer = write_layer(of_files({"/f": b"x"}), ["/f"], tmp_path)
    finally:
        os.umask(before)
    (blob,) = tmp_path.iterdir()
    assert f"sha256:{blob.name}" == layer.digest
    assert blob.stat().st_mode & 0o777 == 0o644


ONE_LAYER = """
import os, sys
os.umask(int(sys.argv[2], 8))
from pathlib import Path
from slimmer.image.layer import write_layer
from slimmer.root.directory import DirectoryRoot
root = DirectoryRoot(sys.argv[1])
print(write_layer(root, {entry.path for entry in root.walk()}, Path(sys.argv[3])).digest)
"""


def test_hash_seed_time_zone_locale_and_umask_do_not_matter(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name in ("ä", "b/c", "b.d", "b/e"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)
    seen = set()
    for seed, zone, locale, umask in (("0", "UTC", "C.UTF-8", "022"), ("77", "Asia/Tokyo", "C", "077")):
        environ = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": locale, "PYTHONUTF8": "1"}
        done = subprocess.run(
            [sys.executable, "-c", ONE_LAYER, tree, umask, tmp_path / umask],
            env=environ,
            capture_output=True,
            check=True,
        )
        seen.add(done.stdout)
    assert len(seen) == 1


@pytest.mark.parametrize("text", ["-1", "1.5", "soon", "9" * 5000, "٣", " 5", "253402300800"])
def test_a_source_date_epoch_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(SlimmerError, match="SOURCE_DATE_EPOCH"):
        source_date_epoch({"SOURCE_DATE_EPOCH": text})


def test_a_source_date_epoch_is_seconds_or_absent() -> None:
    assert source_date_epoch({}) is None
    assert source_date_epoch({"SOURCE_DATE_EPOCH": ""}) is None
    assert source_date_epoch({"SOURCE_DATE_EPOCH": "1700000000"}) == 1_700_000_000
