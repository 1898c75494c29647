"""Where the data of a sparse file belongs: GNU's own headers and the three PAX forms.

Source: GNU tar's manual, "Storing Sparse Files" (old GNU format; PAX 0.0, 0.1, 1.0).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from slimmer.root.tarheader import BLOCK, Malformed, decimal, number

Region = tuple[int, int]  # offset in the file, length
_PAIR = struct.Struct("12s12s")


def checked(regions: Sequence[Region], size: int, stored: int) -> tuple[Region, ...]:
    """The map, when its regions ascend, lie within the file and make up the stored bytes. Raises Malformed."""
    end = total = 0
    for offset, length in regions:
        if offset < end or length < 0 or offset + length > size:
            raise Malformed("sparse map has regions that overlap or lie outside the file")
        end = offset + length
        total += length
    if total != stored:
        raise Malformed(f"sparse map wants {total} bytes, {stored} are stored")
    return tuple(region for region in regions if region[1])


def old_gnu(block: bytes, more: Callable[[], bytes]) -> tuple[list[Region], int]:
    """The map and the real size in an old GNU header; `more` gives each extension block."""
    regions = _pairs(block, 386, 4)
    size = number(block[483:495])
    extended = block[482] != 0
    while extended:
        block = more()
        regions += _pairs(block, 0, 21)
        extended = block[504] != 0
    return regions, size


def _pairs(block: bytes, start: int, count: int) -> list[Region]:
    regions: list[Region] = []
    for index in range(count):
        offset, length = _PAIR.unpack_from(block, start + index * _PAIR.size)
        if not offset[0]:
            break
        regions.append((number(offset), number(length)))
    return regions


def pax_map(records: Sequence[tuple[str, bytes]]) -> list[Region] | None:
    """The map in PAX 0.0 (repeated keys) or 0.1 (one list) records; None when there is none."""
    regions: list[Region] = []
    found = False
    offset = 0
    for key, value in records:
        if key == "GNU.sparse.map":
            numbers = [decimal(word, key) for word in value.split(b",")] if value else []
            if len(numbers) % 2:
                raise Malformed("sparse map with an odd count of numbers")
            return list(zip(numbers[::2], numbers[1::2], strict=True))
        if key == "GNU.sparse.offset":
            offset = decimal(value, key)
        elif key == "GNU.sparse.numbytes":
            regions.append((offset, decimal(value, key)))
        elif key == "GNU.sparse.numblocks":
            found = True
    return regions if found or regions else None


def leading_map(take: Callable[[], bytes], limit: int) -> tuple[list[Region], int]:
    """The map at the front of the data (PAX 1.0) and how many bytes it took; `take` gives the next block."""
    data = b""
    used = 0
    numbers: list[int] = []
    wanted = 1
    while len(numbers) < wanted:
        newline = data.find(b"\n")
        if newline < 0:
            if used >= limit:
                raise Malformed("sparse map is too long")
            data += take()
            used += BLOCK
            continue
        word, data = data[:newline], data[newline + 1 :]
        value = decimal(word, "sparse map")
        if not numbers:
            if not 0 <= value <= limit:
                raise Malformed("sparse map is too long")
            wanted = 1 + 2 * value
        numbers.append(value)
    pairs = numbers[1:]
    return list(zip(pairs[::2], pairs[1::2], strict=True)), used
