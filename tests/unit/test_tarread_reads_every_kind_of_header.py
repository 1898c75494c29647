from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimmer.errors import SlimmerError
from slimmer.root.limits import DEFAULT_LIMITS, Limits
from slimmer.root.tarread import ChunkFeed, FileFeed, ReadError, TarEntry, TarReader, TarType
from tests.support import requires
from tests.unit.imagemaker import END, Item, header, padded, pax, tar


def chunks_of(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def read(data: bytes, size: int = 700, limits: Limits = DEFAULT_LIMITS) -> list[tuple[TarEntry, bytes]]:
    """Every entry with its content, holes filled; pieces of odd size, so that nothing relies on borders."""
    found = []
    reader = TarReader(ChunkFeed(chunks_of(data, size)), "test", limits)
    for entry in reader:
        content = bytearray(entry.size)
        for offset, view in reader.data():
            content[offset : offset + len(view)] = view
        found.append((entry, bytes(content)))
    return found


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_tarfile_writes_is_read_as_it_was_meant(form: int) -> None:
    long = "d" * 90 + "/" + "e" * 90 + "/file"
    longer = "/".join(["component" * 9] * 6)
    items = [
        Item("dir/", "dir", mode=0o1777, uid=7, gid=8),
        Item("dir/file", content=b"hello" * 300, mode=0o4755, mtime=12345),
        Item("dir/hard", "link", target="dir/file"),
        Item("dir/soft", "symlink", target="../etc/passwd"),
        Item(long, content=b"x"),
        Item("pipe", "fifo", mode=0o600),
        Item("null", "char", device=(1, 3)),
        Item("disk", "block", device=(8, 1)),
        Item("empty"),
    ]
    if form != tarfile.USTAR_FORMAT:
        items += [Item(longer, "symlink", target=longer), Item("größe"), Item("big-owner", uid=3_000_000_000)]
    found = read(tar(*items, form=form))
    assert [entry.name.rstrip("/") for entry, _ in found] == [item.name.rstrip("/") for item in items]
    by_name = {entry.name: entry for entry, _ in found}
    assert by_name["dir/file"].mode == 0o4755
    assert by_name["dir/file"].mtime_ns == 12345 * 10**9
    assert by_name["dir/soft"].target == "../etc/passwd"
    assert by_name["dir/hard"].type is TarType.HARDLINK
    assert by_name["null"].device == os.makedev(1, 3)
    assert by_name["disk"].type is TarType.BLOCK
    assert (
        dict(zip((entry.name for entry, _ in found), (data for _, data in found), strict=True))["dir/file"]
        == b"hello" * 300
    )
    if form != tarfile.USTAR_FORMAT:
        assert by_name[longer].target == longer
        assert by_name["big-owner"].uid == 3_000_000_000


@given(
    st.lists(
        st.builds(
            Item,
            st.text("abcäß/.", min_size=1, max_size=150).map(lambda text: "n" + text.strip("/")),
            st.just("file"),
            st.binary(max_size=1500),
            mode=st.integers(0, 0o7777),
            uid=st.integers(0, 2**31),
            mtime=st.integers(-(10**9), 2**40 // 1000),
        ),
        max_size=6,
    ),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.integers(1, 5000),
)
def test_any_files_come_back_from_any_chunking(items: list[Item], form: int, size: int) -> None:
    found = read(tar(*items, form=form), size)
    assert [(entry.name, entry.mode, entry.uid, entry.mtime_ns, data) for entry, data in found] == [
        (item.name, item.mode, item.uid, item.mtime * 10**9, item.content) for item in items
    ]


def test_seconds_have_fractions_also_before_the_epoch() -> None:
    data = pax(("mtime", b"-1.25")) + header(b"a") + pax(("mtime", b"1.000000001999")) + header(b"b") + END
    assert [entry.mtime_ns for entry, _ in read(data)] == [-1_250_000_000, 1_000_000_001]


def test_extended_attributes_come_in_both_spellings() -> None:
    capability = b"\x01\x00\x00\x02\x00\x04\x00\x00"
    data = (
        pax(("SCHILY.xattr.security.capability", capability), ("LIBARCHIVE.xattr.user.a%20b", b"aGk"))
        + header(b"ping")
        + END
    )
    assert read(data)[0][0].xattrs == {"security.capability": capability, "user.a b": b"hi"}


def test_a_global_header_holds_until_it_is_taken_back_and_a_local_one_wins() -> None:
    data = (
        pax(("uid", b"5"), ("comment", b"c"), typeflag=b"g")
        + header(b"a")
        + pax(("uid", b"6"))
        + header(b"b")
        + header(b"c")
        + pax(("uid", b""), typeflag=b"g")
        + header(b"d")
        + END
    )
    assert [(entry.name, entry.uid) for entry, _ in read(data)] == [("a", 5), ("b", 6), ("c", 5), ("d", 0)]


def test_numbers_may_be_base_256() -> None:
    size = b"\x80" + (5).to_bytes(11, "big")
    before = b"\xff" * 11 + b"\xfe"
    data = header(b"a", size=size, uid=b"\x80" + (70000).to_bytes(7, "big"), mtime=before) + padded(b"12345") + END
    [(entry, content)] = read(data)
    assert (content, entry.uid, entry.mtime_ns) == (b"12345", 70000, -2_000_000_000)


def test_a_prefix_is_put_in_front_and_an_old_directory_is_told_by_its_slash() -> None:
    data = header(b"file", tail=b"some/where") + header(b"old/", typeflag=b"\0", magic=b"") + END
    assert [(entry.name, entry.type) for entry, _ in read(data)] == [
        ("some/where/file", TarType.FILE),
        ("old/", TarType.DIRECTORY),
    ]


def test_duplicates_are_all_given_in_their_order() -> None:
    data = tar(Item("a", content=b"1"), Item("a", content=b"2"))
    assert [content for _, content in read(data)] == [b"1", b"2"]


def test_an_archive_may_end_with_its_last_byte_as_umoci_leaves_it() -> None:
    data = header(b"a", size=b"00000000003\0") + b"abc"
    assert [content for _, content in read(data)] == [b"abc"]


@requires("tar")
@pytest.mark.parametrize(
    "form",
    [
        "--format=gnu",
        "--format=pax --sparse-version=0.0",
        "--format=pax --sparse-version=0.1",
        "--format=pax --sparse-version=1.0",
    ],
)
def test_sparse_files_of_gnu_tar_are_whole(tmp_path: Path, form: str) -> None:
    with open(tmp_path / "holes", "wb") as out:
        for place in range(60):  # more regions than an old GNU header holds
            out.seek(place * 131072)
            out.write(b"%05d" % place)
        out.truncate(60 * 131072 + 7)
    (tmp_path / "after").write_bytes(b"next")
    made = subprocess.run(
        ["tar", "-C", tmp_path, "-S", *form.split(), "-cf", "-", "holes", "after"], capture_output=True, check=True
    )
    assert len(made.stdout) < 2_000_000, "tar stored no holes"
    (entry, content), (_, after) = read(made.stdout, 10_000)
    assert entry.name == "holes"
    assert entry.sparse is not None
    assert content == (tmp_path / "holes").read_bytes()
    assert after == b"next"


@requires("tar")
@pytest.mark.parametrize("form", ["v7", "oldgnu", "gnu", "ustar", "posix"])
def test_every_format_of_gnu_tar_gives_the_same_names(tmp_path: Path, form: str) -> None:
    deep = tmp_path / "a" / ("b" * 30) / "c"
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"content")
    (deep / "soft").symlink_to("file")
    os.link(deep / "file", deep / "hard")
    made = subprocess.run(["tar", "-C", tmp_path, f"--format={form}", "-cf", "-", "a"], capture_output=True, check=True)
    ours = {entry.name.rstrip("/") for entry, _ in read(made.stdout)}
    with tarfile.open(fileobj=io.BytesIO(made.stdout)) as archive:
        assert ours == set(archive.getnames())


def test_what_is_skipped_in_a_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "t.tar"
    path.write_bytes(tar(Item("big", content=bytes(100_000)), Item("last", content=b"end")))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        entries = list(TarReader(FileFeed(descriptor), "t", Limits()))
        assert os.pread(descriptor, entries[1].stored, entries[1].data) == b"end"
    finally:
        os.close(descriptor)


HOSTILE = {
    "wrong checksum": header(b"a", checksum=b"000000\0 ") + END,
    "no checksum": b"rubbish" * 100,
    "negative size": header(b"a", size=b"\xff" * 12) + END,
    "letters for a number": header(b"a", size=b"00000zz0000\0") + END,
    "unknown type": header(b"a", typeflag=b"Q") + END,
    "multi-volume": header(b"a", typeflag=b"M") + END,
    "PAX length past its end": header(b"p", typeflag=b"x", size=b"00000000012\0")
    + padded(b"99 path=a\n")
    + header()
    + END,
    "PAX length of zero": header(b"p", typeflag=b"x", size=b"00000000012\0") + padded(b"0 path=abc") + header() + END,
    "PAX without key": header(b"p", typeflag=b"x", size=b"00000000006\0") + padded(b"6 =ab\n") + header() + END,
    "PAX size that is no number": pax(("size", b"1e9")) + header() + END,
    "PAX owner beyond all": pax(("uid", b"4294967295")) + header() + END,
    "PAX name with NUL": pax(("path", b"a\0b")) + header() + END,
    "global name": pax(("path", b"evil"), typeflag=b"g") + header() + END,
    "time beyond all": pax(("mtime", b"9" * 18 + b"99")) + header() + END,
    "extended header at the end": pax(("path", b"a")) + END,
    "zero block in the middle": bytes(512) + header() + END,
    "ends in a header": header()[:300],
    "ends in content": header(b"a", size=b"00000002000\0") + b"abc",
    "sparse beyond the file": pax(
        ("GNU.sparse.map", b"0,1,100,5"), ("GNU.sparse.size", b"50"), ("GNU.sparse.numblocks", b"2")
    )
    + header(b"a", size=b"00000000006\0")
    + padded(b"abcdef")
    + END,
    "sparse overlapping": pax(("GNU.sparse.map", b"0,4,2,2"), ("GNU.sparse.size", b"50"))
    + header(b"a", size=b"00000000006\0")
    + padded(b"abcdef")
    + END,
    "sparse map lies about its data": pax(("GNU.sparse.map", b"0,3"), ("GNU.sparse.size", b"50"))
    + header(b"a", size=b"00000000006\0")
    + padded(b"abcdef")
    + END,
    "sparse map without end": pax(("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"9"))
    + header(b"a", size=b"00000001000\0")
    + b"1" * 512
    + END,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_damaged_archive_is_refused_with_the_place(name: str) -> None:
    with pytest.raises(ReadError, match=r"^test: .*\(at byte [\d,]+ of the tar\)"):
        read(HOSTILE[name])


@pytest.mark.parametrize("cut", range(0, 3000, 97))
def test_a_cut_archive_never_gives_half_a_file(cut: int) -> None:
    whole = tar(Item("a", content=b"a" * 700), Item("long" * 60, content=b"b" * 300))
    try:
        found = read(whole[:cut])
    except ReadError:
        return
    assert all(len(data) in (700, 300) for _, data in found)


@given(st.binary(max_size=2000), st.integers(0, 4000))
def test_no_bytes_at_all_do_anything_but_read_or_refuse(noise: bytes, place: int) -> None:
    good = pax(("path", b"a"), ("mtime", b"1.5")) + header(b"x", size=b"00000001000\0") + bytes(512) + END
    data = good[:place] + noise + good[place + len(noise) :]
    limits = Limits(file_bytes=1 << 20)
    try:
        found = read(data, limits=limits)
    except SlimmerError:
        return
    assert all(len(content) == entry.size for entry, content in found)


def test_limits_stop_a_bomb_before_it_is_read() -> None:
    ten_terabytes = header(b"a", size=b"\x80" + (10 * 1000**4).to_bytes(11, "big")) + END
    with pytest.raises(SlimmerError, match="--limit file_bytes="):
        read(ten_terabytes)
    hole = pax(("GNU.sparse.map", b""), ("GNU.sparse.size", b"10000000000000")) + header(b"a") + END
    with pytest.raises(SlimmerError, match="--limit file_bytes="):
        read(hole)
    wide = header(b"p", typeflag=b"x", size=b"77777777777\0")
    with pytest.raises(SlimmerError, match="--limit header_bytes="):
        read(wide)
