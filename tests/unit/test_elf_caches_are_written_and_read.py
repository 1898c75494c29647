"""ld.so.cache: any order in, one file out; found as loaders find; only what is kept stays."""

from __future__ import annotations

import random
import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimmer.elf.ldcache import PATH, CacheEntry, CacheError, compare, fresh, read, write
from slimmer.root.directory import DirectoryRoot
from tests.support import plant

ENTRIES = (
    CacheEntry("libx.so.10", "/lib/libx.so.10", 0x303),
    CacheEntry("libx.so.9", "/lib/libx.so.9", 0x303),
    CacheEntry("libx.so.9", "/lib32/libx.so.9", 3),
    CacheEntry("libx.so.9", "/lib/glibc-hwcaps/x86-64-v3/libx.so.9", 0x303, 0, "x86-64-v3", 2),
    CacheEntry("libx.so.9", "/lib/glibc-hwcaps/x86-64-v2/libx.so.9", 0x303, 0, "x86-64-v2", 1),
    CacheEntry("liba.so", "/lib/sse2/liba.so", 3, 1),
    CacheEntry("liba.so", "/lib/liba.so", 3),
)


@pytest.mark.parametrize("little", [True, False])
def test_what_is_written_is_read_whatever_the_order(little: bool) -> None:
    shuffled = list(ENTRIES)
    random.Random(7).shuffle(shuffled)
    data = write(shuffled, little=little)
    assert data == write(ENTRIES, little=little)
    cache = read(data, little=little)
    assert set(cache.entries) == set(ENTRIES)
    assert [each.path for each in cache.find("libx.so.9")] == [
        "/lib/glibc-hwcaps/x86-64-v2/libx.so.9",
        "/lib/glibc-hwcaps/x86-64-v3/libx.so.9",
        "/lib/libx.so.9",
        "/lib32/libx.so.9",
    ]
    assert [each.hwcap for each in cache.find("liba.so")] == [1, 0]
    assert cache.find("libz.so") == ()
    with pytest.raises(CacheError):
        read(data, little=not little)


def test_the_old_format_and_the_new_one_inside_it_are_read() -> None:
    texts = b"libx.so.1\0/lib/libx.so.1\0"
    old = b"ld.so-1.7.0\0" + struct.pack("<I", 1) + struct.pack("<iII", 3, 0, 10)
    cache = read(old + texts)
    assert cache.old
    assert cache.entries == (CacheEntry("libx.so.1", "/lib/libx.so.1", 3),)
    padded = old + bytes(-len(old) % 8)
    new = bytearray(write([CacheEntry("liby.so", "/lib/liby.so", 3)]))
    assert read(bytes(padded) + bytes(new)).entries == (CacheEntry("liby.so", "/lib/liby.so", 3),)


def test_digits_compare_as_numbers() -> None:
    assert compare("libx.so.10", "libx.so.9") > 0
    assert compare("libx.so.01", "libx.so.1") == 0
    assert compare("libx.so", "libx1.so") < 0
    assert compare("a", "a1") < 0 < compare("a1", "a")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 60), st.binary(min_size=1, max_size=8))
def test_no_cache_breaks_the_reader(tail: bytes, place: int, change: bytes) -> None:
    whole = bytearray(write(ENTRIES))
    whole[place : place + len(change)] = change
    for data in (bytes(whole), bytes(whole[:48]) + tail, b"ld.so-1.7.0" + tail):
        with suppress(CacheError):
            read(data).find("libx.so.9")


def test_a_fresh_cache_holds_what_is_kept_with_its_links(tmp_path: Path) -> None:
    entries = [CacheEntry(f"lib{name}.so", f"/lib/lib{name}.so", 3) for name in ("kept", "linked", "lost", "gone")]
    tree: dict[str, str | bytes | None] = {
        "usr/lib/libkept.so": "k", "usr/lib/linked.1": "l", "usr/lib/liblinked.so": "-> linked.1",
        "usr/lib/liblost.so": "x", "lib": "-> usr/lib", PATH: write(entries, little=False),
    }  # fmt: skip
    root = DirectoryRoot(str(plant(tmp_path, tree)))
    kept = {"/lib", "/usr/lib/libkept.so", "/usr/lib/linked.1", "/usr/lib/liblinked.so"}
    data = fresh(root, kept)
    assert data is not None
    assert [each.name for each in read(data, little=False).entries] == ["liblinked.so", "libkept.so"]
    without_link = fresh(root, kept - {"/usr/lib/liblinked.so"})
    assert without_link is not None
    assert [each.name for each in read(without_link, little=False).entries] == ["libkept.so"]


def test_a_root_without_a_cache_gets_none(tmp_path: Path) -> None:
    assert fresh(DirectoryRoot(str(tmp_path)), set()) is None
