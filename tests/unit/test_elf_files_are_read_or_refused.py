"""Parsing: what a file says is what is read; what it lies about is an ElfError in bounded time."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slimmer.elf.dlopen import notes, soname_texts
from slimmer.elf.file import Elf, ElfError, Tag, is_elf, parse
from slimmer.elf.machine import machine_of
from slimmer.elf.symbols import imports, versions
from slimmer.root.directory import DirectoryRoot
from tests.support import plant
from tests.support_elf import ARCHES, AUXILIARY, FILTER, FLAGS_1, NEEDED, RPATH, RUNPATH, SONAME, elf, program


def read(data: bytes) -> Elf:
    return parse(io.BytesIO(data), "test")


@pytest.mark.parametrize("name", ARCHES)
def test_every_class_and_byte_order_is_read(name: str) -> None:
    arch = ARCHES[name]
    file = read(program((NEEDED, "libé.so"), (FILTER, "f"), (NEEDED, "b"), (RPATH, "/r"), (FLAGS_1, 0x800), arch=arch))
    assert (file.bits, file.little, file.machine, file.interpreter) == (
        arch.bits,
        arch.little,
        arch.machine,
        arch.loader,
    )
    assert file.wants == ((Tag.NEEDED, "libé.so"), (Tag.FILTER, "f"), (Tag.NEEDED, "b"))
    assert (file.needed, file.rpath, file.flags_1, file.shared) == (("libé.so", "b"), "/r", 0x800, False)
    assert arch.loader in machine_of(file).loaders


def test_runpath_makes_rpath_void() -> None:
    file = read(elf((RPATH, "/r"), (RUNPATH, ""), (SONAME, "s")))
    assert (file.rpath, file.runpath, file.soname, file.shared) == (None, "", "s", True)


def test_names_that_are_not_utf8_survive() -> None:
    file = read(elf((NEEDED, "lib\udcff.so"), (AUXILIARY, "a")))
    assert file.needed == ("lib\udcff.so",)


def test_an_error_names_field_and_offset() -> None:
    with pytest.raises(ElfError) as error:
        read(b"\x7fELF\x07")
    assert (error.value.field, error.value.offset) == ("class", 4)
    assert not is_elf(b"#!/bin")


def test_no_prefix_of_a_file_breaks_the_parser() -> None:
    whole = program((NEEDED, "libx.so"), (RUNPATH, "/opt"))
    for length in range(len(whole) - 1):
        with suppress(ElfError):
            read(whole[:length])


def base_files() -> list[bytes]:
    real = [Path(path).read_bytes() for path in (os.path.realpath("/bin/ls"), sys.executable) if Path(path).exists()]
    return [program((NEEDED, "libx.so"), (RUNPATH, "$ORIGIN")), elf((SONAME, "x"), arch=ARCHES["s390x"]), *real]


BASES = [data for data in base_files() if len(data) < 1 << 22]


@settings(max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.too_slow])
@given(
    base=st.sampled_from(range(len(BASES))),
    changes=st.lists(st.tuples(st.integers(0, 4200), st.binary(min_size=1, max_size=9)), max_size=6),
    length=st.none() | st.integers(0, 5000),
)
def test_mutated_files_are_read_or_refused(
    base: int, changes: list[tuple[int, bytes]], length: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = bytearray(BASES[base][:length])
    for place, value in changes:
        data[place : place + len(value)] = value
    try:
        file = read(bytes(data))
    except ElfError:
        return
    assert all(len(name) <= 1 << 16 for _, name in file.wants)
    top = tmp_path_factory.getbasetemp() / "mutated"
    top.mkdir(exist_ok=True)
    (top / "f").write_bytes(data)
    root = DirectoryRoot(str(top))
    entry = root.entry("/f")
    assert entry is not None
    for reader in (imports, versions, notes, soname_texts):
        with suppress(ElfError):
            reader(root, entry, file)


def test_library_names_among_texts_are_seen_except_needed_ones(tmp_path: Path) -> None:
    data = elf(
        (NEEDED, "libneeded.so.1"), (SONAME, "libself.so.2"), (0x6000000D, "libmaybe.so.3"), (0x6000000D, "libc.so")
    )
    root = DirectoryRoot(str(plant(tmp_path, {"lib/x.so": data})))
    entry = root.entry("/lib/x.so")
    assert entry is not None
    assert soname_texts(root, entry, read(data)) == ("libmaybe.so.3",)
