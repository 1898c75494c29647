"""Files that have several names are known by device and inode, in little room; each counts once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slimmer.report.inodes import Inodes

NUMBERS = st.integers(0, 2**64 - 2) | st.integers(0, 40)


@given(st.lists(st.tuples(st.integers(0, 3), NUMBERS), max_size=200))
def test_it_is_a_set(identities: list[tuple[int, int]]) -> None:
    found, expected = Inodes(), set[tuple[int, int]]()
    for each in identities:
        assert (each in found) is (each in expected)
        assert found.add(*each) is (each not in expected)
        expected.add(each)
    assert sorted(found) == sorted(expected)


def test_it_grows() -> None:
    found = Inodes()
    assert all(found.add(1, number << 12) for number in range(20_000))
    assert not any(found.add(1, number << 12) for number in range(20_000))
    assert (1, 1) not in found
