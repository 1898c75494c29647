"""A set of files by device and inode, in sixteen bytes each: a root may have a million names of linked files."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

_FIRST = 1 << 10  # places
_SPREAD = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio: neighbouring numbers go to distant places (Knuth, 6.4)
_WIDTH = (1 << 64) - 1


class Inodes:
    """Numbers in open addressing, a table for each device; zero means that a place is free."""

    def __init__(self) -> None:
        self._tables: dict[int, array[int]] = {}
        self._counts: dict[int, int] = {}

    def add(self, device: int, inode: int) -> bool:
        """Put it in; whether it was not in before."""
        table = self._tables.get(device)
        if table is None:
            table = self._tables[device] = _empty(_FIRST)
            self._counts[device] = 0
        number = (inode + 1) & _WIDTH or _WIDTH
        at = _place(table, number)
        if table[at]:
            return False
        table[at] = number
        self._counts[device] += 1
        if 2 * self._counts[device] > len(table):
            self._tables[device] = larger = _empty(2 * len(table))
            for each in table:
                if each:
                    larger[_place(larger, each)] = each
        return True

    def __contains__(self, identity: tuple[int, int]) -> bool:
        table = self._tables.get(identity[0])
        number = (identity[1] + 1) & _WIDTH or _WIDTH
        return table is not None and bool(table[_place(table, number)])

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Device and inode of each, in an order that means nothing."""
        for device, table in self._tables.items():
            yield from ((device, number - 1) for number in table if number)


def _empty(places: int) -> array[int]:
    return array("Q", bytes(8 * places))


def _place(table: array[int], number: int) -> int:
    """Where a number is, or would go."""
    last = len(table) - 1
    at = ((number * _SPREAD & _WIDTH) >> 32) & last
    while table[at] not in (0, number):
        at = (at + 1) & last
    return at
