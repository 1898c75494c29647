"""The platform that binaries are for, read from their ELF headers; nothing is executed, nothing of the host asked."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable

from slimmer.errors import SlimmerError
from slimmer.root.model import FileType, Root, sort_key

# (e_machine, 64 bits, little endian) → GOARCH, the names of image-spec; <elf.h>
ARCHITECTURES = {
    (3, False, True): "386",
    (62, True, True): "amd64",
    (62, False, True): "amd64",  # x32
    (40, False, True): "arm",
    (183, True, True): "arm64",
    (183, True, False): "arm64be",
    (20, False, False): "ppc",
    (21, True, False): "ppc64",
    (21, True, True): "ppc64le",
    (22, False, False): "s390",
    (22, True, False): "s390x",
    (243, False, True): "riscv",
    (243, True, True): "riscv64",
    (8, False, False): "mips",
    (8, False, True): "mipsle",
    (8, True, False): "mips64",
    (8, True, True): "mips64le",
    (43, True, False): "sparc64",
    (258, True, True): "loong64",
}
# What an image without any binary says: it runs nothing, but the format wants a word, the same on every machine.
FALLBACK = ("amd64", "")
HEADER = 64
ELF = b"\x7fELF"
SHT_ARM_ATTRIBUTES = 0x70000003
TAG_FILE = 1
TAG_CPU_ARCH = 6
TAG_CPU_RAW_NAME, TAG_CPU_NAME = 4, 5
# Addenda to the Arm ABI, "Tag_CPU_arch": 1…5 are v4 to v5TEJ, 6…9, 11, 12 v6 and its kin, 10 v7, 14 v8
ARM_VARIANTS = dict.fromkeys(range(1, 6), "v5") | {6: "v6", 7: "v6", 8: "v6", 9: "v6", 10: "v7", 14: "v8"}
EF_ARM_ABI_FLOAT_HARD = 0x400
MOST_SECTION_TABLE = 1 << 20


def platform_of(root: Root, paths: Iterable[str]) -> tuple[str, str]:
    """Architecture and variant, in OCI's names, of most of the binaries among canonical paths.

    A tie goes to the architecture of the first path in byte order. ("amd64", "") when there is no binary.
    """
    given = sorted(paths, key=sort_key)
    likely = [path for path in given if ".so" in path or ((entry := root.entry(path)) and entry.executable)]
    # Libraries are named so and programs are executable; the rest is only opened when that finds nothing.
    return _most(root, likely) or _most(root, given) or FALLBACK


def _most(root: Root, paths: Iterable[str]) -> tuple[str, str] | None:
    counts: Counter[str] = Counter()
    arm: Counter[str] = Counter()
    for path in paths:
        entry = root.entry(path)
        if entry is None or entry.type is not FileType.FILE or entry.size < 52:
            continue
        head = _head(root, path)
        architecture = architecture_of(head)
        if not architecture:
            continue
        counts[architecture] += 1
        if architecture == "arm":
            arm[_arm_variant(root, path, head)] += 1
    if not counts:
        return None
    architecture = counts.most_common(1)[0][0]
    if architecture == "arm":
        # The highest, not the most frequent: the image runs where its most demanding binary runs.
        return architecture, max(arm)
    return architecture, "v8" if architecture == "arm64" else ""


def architecture_of(head: bytes) -> str:
    """OCI's name for the machine of an ELF header; "" when it is none or not known."""
    if len(head) < 20 or not head.startswith(ELF) or head[4] not in (1, 2) or head[5] not in (1, 2):
        return ""
    little = head[5] == 1
    machine = int.from_bytes(head[18:20], "little" if little else "big")
    return ARCHITECTURES.get((machine, head[4] == 2, little), "")


def _head(root: Root, path: str) -> bytes:
    try:
        with root.open(path) as stream:
            return stream.read(HEADER)
    except (OSError, SlimmerError):
        return b""  # whoever packs the file will say that it cannot be read


def _arm_variant(root: Root, path: str, head: bytes) -> str:
    """What the build attributes say; else hard float is v7, as no distribution had it before, and the rest v5."""
    try:
        with root.open(path) as stream:
            offset, flags, _, _, _, size, count = struct.unpack_from("<IIHHHHH", head, 32)  # e_shoff … e_shnum
            if size >= 40 and size * count <= MOST_SECTION_TABLE:
                stream.seek(offset)
                table = stream.read(size * count)
                for at in range(0, len(table) - 39, size):
                    _, kind, _, _, start, length = struct.unpack_from("<6I", table, at)
                    if kind == SHT_ARM_ATTRIBUTES and length <= MOST_SECTION_TABLE:
                        stream.seek(start)
                        found = ARM_VARIANTS.get(_cpu_arch(stream.read(length)))
                        if found:
                            return found
    except (OSError, SlimmerError, struct.error, IndexError, ValueError):
        return "v5"
    return "v7" if flags & EF_ARM_ABI_FLOAT_HARD else "v5"


def _cpu_arch(section: bytes) -> int:
    """Tag_CPU_arch of an .ARM.attributes section; 0 when it is not there. IndexError when the section is cut off."""
    if section[:1] != b"A":
        return 0
    at = section.index(b"aeabi\0") + 6 if b"aeabi\0" in section else len(section)
    if at >= len(section) or section[at] != TAG_FILE:
        return 0
    end = at + int.from_bytes(section[at + 1 : at + 5], "little")
    at += 5
    while at < end:
        tag, at = _uleb128(section, at)
        if tag in (TAG_CPU_RAW_NAME, TAG_CPU_NAME) or (tag >= 32 and tag % 2):
            at = section.index(b"\0", at) + 1  # a text
            continue
        value, at = _uleb128(section, at)
        if tag == TAG_CPU_ARCH:
            return value
    return 0


def _uleb128(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
