"""The platform of an image without a config: from ELF headers given as data, and from this machine's own."""

from __future__ import annotations

import struct
import sys

import pytest

from slimmer.image.platform import ARCHITECTURES, platform_of
from tests.image_trees import of_files


def elf(machine: int, bits: int = 64, little: bool = True, flags: int = 0, attributes: bytes = b"") -> bytes:
    """A header, and for 32 bits a section table with the attributes."""
    order = "<" if little else ">"
    ident = b"\x7fELF" + bytes((bits // 32, 1 if little else 2, 1)) + bytes(9)
    if bits == 64:
        return ident + struct.pack(order + "HHIQQQIHHHHHH", 3, machine, 1, 0, 0, 0, flags, 64, 0, 0, 0, 0, 0)
    head = ident + struct.pack(order + "HHIIIIIHHHHHH", 3, machine, 1, 0, 0, 52, flags, 52, 0, 0, 40, 1, 0)
    return head + struct.pack(order + "10I", 0, 0x70000003, 0, 0, 92, len(attributes), 0, 0, 1, 0) + attributes


def arm_attributes(number: int) -> bytes:
    """Section .ARM.attributes: vendor aeabi, a raw name and a name of the CPU before its number."""
    tags = b"\x04raw\0" + b"\x05CORTEX\0" + bytes((6, number))
    file = b"\x01" + (5 + len(tags)).to_bytes(4, "little") + tags
    vendor = b"aeabi\0" + file
    return b"A" + (4 + len(vendor)).to_bytes(4, "little") + vendor


@pytest.mark.parametrize(("key", "name"), ARCHITECTURES.items())
def test_every_machine_has_its_oci_name(key: tuple[int, bool, bool], name: str) -> None:
    machine, wide, little = key
    root = of_files({"/bin/x": elf(machine, 64 if wide else 32, little)})
    assert platform_of(root, ["/bin/x"])[0] == name


@pytest.mark.parametrize(
    ("binary", "variant"),
    [
        (elf(183), "v8"),
        (elf(62), ""),
        (elf(40, 32, attributes=arm_attributes(10)), "v7"),
        (elf(40, 32, attributes=arm_attributes(6)), "v6"),
        (elf(40, 32, flags=0x400, attributes=arm_attributes(6)), "v6"),
        (elf(40, 32, attributes=arm_attributes(4)), "v5"),
        (elf(40, 32, flags=0x400), "v7"),
        (elf(40, 32), "v5"),
        (elf(40, 32, attributes=arm_attributes(10)[:20]), "v5"),
        (elf(40, 32, attributes=b"A\xff\xff\xff\xffaeabi\0\x01"), "v5"),
    ],
)
def test_the_variant_is_what_the_binary_demands(binary: bytes, variant: str) -> None:
    assert platform_of(of_files({"/bin/x": binary}), ["/bin/x"])[1] == variant


def test_most_binaries_decide_and_byte_order_breaks_a_tie() -> None:
    root = of_files({"/a": elf(183), "/b": elf(62), "/c": elf(62), "/text": b"#!/bin/sh\n" * 9})
    assert platform_of(root, root.paths) == ("amd64", "")
    assert platform_of(root, ["/b", "/a"]) == ("arm64", "v8")


def test_without_a_binary_the_word_is_the_same_on_every_machine() -> None:
    assert platform_of(of_files({"/x": b"text" * 50, "/y": b"\x7fELF" + bytes(60)}), ["/x", "/y"]) == ("amd64", "")


@pytest.mark.skipif(sys.platform != "linux", reason="reads this interpreter")
def test_this_interpreter_is_for_this_machine() -> None:
    import os
    import platform

    from slimmer.root.directory import DirectoryRoot

    executable = os.path.realpath(sys.executable)
    names = {"x86_64": "amd64", "aarch64": "arm64"}
    if platform.machine() not in names:
        pytest.skip(f"no name for {platform.machine()} here")
    assert platform_of(DirectoryRoot("/"), [executable])[0] == names[platform.machine()]
