"""Headers byte by byte, against what POSIX pax(1) says, and read back by tarfile."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimmer.errors import SlimmerError
from slimmer.image.tar import END, Member, TarType, header, padding


def member(name: bytes = b"etc/passwd", kind: TarType = TarType.FILE, **fields: object) -> Member:
    return Member(name, kind, **({"mode": 0o644, "uid": 0, "gid": 0, "mtime": 0} | fields))  # type: ignore[arg-type]


def read(data: bytes) -> tarfile.TarInfo:
    with tarfile.open(fileobj=io.BytesIO(data + END), encoding="utf-8", errors="surrogateescape") as archive:
        found = archive.next()
        assert found is not None
        return found


def test_a_plain_file_is_one_block_with_every_field_in_its_place() -> None:
    block = header(member(mode=0o4755, uid=1000, gid=42, mtime=1_700_000_000, size=1234))
    assert len(block) == 512
    assert block[:100] == b"etc/passwd".ljust(100, b"\0")
    assert block[100:148].split(b"\0") == [b"0004755", b"0001750", b"0000052", b"00000002322", b"14524770400", b""]
    assert block[148:156] == b"%06o\0 " % (sum(block) - sum(block[148:156]) + 8 * 32)
    assert block[156:157] == b"0"
    assert block[157:257] == bytes(100)
    assert block[257:265] == b"ustar\x0000"
    assert block[265:329] == bytes(64)  # no names of users
    assert block[329:345] == b"0000000\0" * 2
    assert block[345:] == bytes(167)


@pytest.mark.parametrize(
    ("fields", "record"),
    [
        ({"mtime": -1}, b"12 mtime=-1\n"),
        ({"mtime": 8**11}, b"20 mtime=8589934592\n"),
        ({"uid": 8**7}, b"15 uid=2097152\n"),
        ({"gid": 4_294_967_294}, b"18 gid=4294967294\n"),
        ({"size": 8**11}, b"19 size=8589934592\n"),
        ({"name": b"n" * 101}, b"111 path=" + b"n" * 101 + b"\n"),
        ({"kind": TarType.SYMLINK, "target": b"t" * 101}, b"115 linkpath=" + b"t" * 101 + b"\n"),
        ({"xattrs": ((b"user.a", b"\0\xff\n="),)}, b"28 SCHILY.xattr.user.a=\0\xff\n=\n"),
        ({"name": b"\xff" * 101}, b"21 hdrcharset=BINARY\n111 path=" + b"\xff" * 101 + b"\n"),
    ],
)
def test_what_ustar_cannot_hold_is_a_pax_record_and_nothing_else_is(fields: dict[str, Any], record: bytes) -> None:
    data = header(member(**fields))
    assert data[:13] == b"././@PaxHeade"
    assert data[156:157] == b"x"
    numbers = [b"0000644", b"0000000", b"0000000", b"%011o" % len(record), b"00000000000", b""]
    assert data[100:148].split(b"\0") == numbers
    assert data[512:-512] == record + padding(len(record))


@pytest.mark.parametrize(
    "fields",
    [
        {"mtime": 8**11 - 1},
        {"uid": 8**7 - 1},
        {"size": 8**11 - 1},
        {"name": b"n" * 100},
        {"name": b"\xff" * 100},
        {"name": "ü".encode() * 50},
        {"kind": TarType.LINK, "target": b"t" * 100},
    ],
)
def test_what_ustar_can_hold_to_the_last_digit_needs_no_record(fields: dict[str, Any]) -> None:
    assert len(header(member(**fields))) == 512


def test_records_stand_in_the_order_of_their_keys() -> None:
    data = header(member(name=b"n" * 200, uid=8**8, mtime=-5, xattrs=((b"user.b", b"2"), (b"user.a", b"1"))))
    text = data[512:-512].rstrip(b"\0")
    assert [line.split(b"=")[0].split()[1] for line in text.splitlines()] == [
        b"SCHILY.xattr.user.a",
        b"SCHILY.xattr.user.b",
        b"mtime",
        b"path",
        b"uid",
    ]


def test_an_attribute_name_that_a_record_cannot_hold_is_refused() -> None:
    with pytest.raises(SlimmerError, match="has a '=' in its name"):
        header(member(xattrs=((b"user.a=b", b""),)))


def test_a_device_carries_its_numbers() -> None:
    found = read(header(member(b"dev/x", TarType.BLOCK, major=259, minor=70_000)))
    assert (found.isblk(), found.devmajor, found.devminor) == (True, 259, 70_000)


NAMES = st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name and not name.endswith(b"/"))


@given(
    name=NAMES,
    target=NAMES,
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32 - 1),
    mtime=st.integers(-(2**40), 2**40),
    size=st.integers(0, 2**50),
    value=st.binary(max_size=200),
)
def test_tarfile_reads_back_what_was_said(
    name: bytes, target: bytes, mode: int, uid: int, mtime: int, size: int, value: bytes
) -> None:
    found = read(
        header(Member(name, TarType.SYMLINK, mode, uid, 7, mtime, target=target, xattrs=((b"user.x", value),)))
    )
    assert found.name.encode("utf-8", "surrogateescape") == name
    assert found.linkname.encode("utf-8", "surrogateescape") == target
    assert (found.mode, found.uid, found.gid, found.mtime) == (mode, uid, 7, mtime)
    assert found.pax_headers["SCHILY.xattr.user.x"].encode("utf-8", "surrogateescape") == value
    assert read(header(Member(b"f", TarType.FILE, mode, uid, 7, mtime, size))).size == size
