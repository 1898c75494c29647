"""Recordings merge like sets, read back what they wrote, and refuse what does not belong together."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.errors import TracerError
from tracer.recording import Access, Execution, Kind, Recording, collect, load, merge_all

NAMES = st.text(st.characters(min_codepoint=1, max_codepoint=0xDCFF, exclude_categories=()), max_size=6).map(
    lambda name: "/" + "".join(each for each in name if not 0xD800 <= ord(each) < 0xDC80)
)
ACCESSES = st.builds(
    Access, NAMES, st.frozensets(st.sampled_from(Kind), min_size=1), st.frozensets(st.sampled_from(["", "/a", "/b"]))
)
EXECUTIONS = st.builds(
    Execution,
    NAMES,
    NAMES,
    st.dictionaries(st.sampled_from(["PATH", "LANG"]), st.text(max_size=3)).map(
        lambda each: tuple(sorted(each.items()))
    ),
)
RECORDINGS = st.builds(
    Recording,
    accesses=st.lists(ACCESSES, max_size=6).map(collect),
    executions=st.sets(EXECUTIONS, max_size=3).map(lambda each: tuple(sorted(each))),
    commands=st.sets(st.tuples(st.text(max_size=3)), max_size=2).map(lambda each: tuple(sorted(each))),
    architecture=st.just("x86_64"),
    recorder=st.sets(st.sampled_from(["notify", "ptrace"])).map(lambda each: tuple(sorted(each))),
    root=st.just("r"),
    notes=st.sets(st.text(max_size=3), max_size=2).map(lambda each: tuple(sorted(each))),
)


@given(RECORDINGS, RECORDINGS)
def test_merge_is_commutative(one: Recording, two: Recording) -> None:
    assert one.merge(two) == two.merge(one)


@given(RECORDINGS, RECORDINGS, RECORDINGS)
def test_merge_is_associative(one: Recording, two: Recording, three: Recording) -> None:
    assert one.merge(two).merge(three) == one.merge(two.merge(three))


@given(RECORDINGS)
def test_merge_is_idempotent(one: Recording) -> None:
    assert one.merge(one) == one


@given(st.lists(RECORDINGS, min_size=1, max_size=4))
def test_merging_keeps_every_access(many: list[Recording]) -> None:
    merged = {access.path: access for access in merge_all(many).accesses}
    for each in many:
        for access in each.accesses:
            assert access.kinds <= merged[access.path].kinds
            assert access.by <= merged[access.path].by


@given(RECORDINGS)
def test_what_is_written_is_read_back(one: Recording) -> None:
    text = one.dump()
    assert text.isascii()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch, "recording.json")
        place.write_text(text)
        assert load(place) == one
        assert load(place).dump() == text


def test_accesses_are_in_the_order_of_bytes() -> None:
    paths = ["/b", "/a/b", "/a", "/a.b", "/é", "/\udcff", "/\uffff", "/\U0001f600"]
    ordered = [access.path for access in collect(Access(path, frozenset({Kind.STAT}), frozenset()) for path in paths)]
    assert ordered == sorted(paths, key=lambda path: path.encode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("what", ["root", "architecture"])
def test_recordings_of_different_roots_or_architectures_do_not_merge(what: str) -> None:
    one = Recording((), root="r", architecture="x86_64")
    other = Recording((), **{"root": "r", "architecture": "x86_64", what: "other"})  # type: ignore[arg-type]
    with pytest.raises(TracerError, match=f"their {what} differs"):
        one.merge(other)


def test_nothing_does_not_merge() -> None:
    with pytest.raises(TracerError, match="no recording given"):
        merge_all([])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not a recording"),
        (b"\xff", "not UTF-8 at byte 0"),
        (b"[]", "not a recording of format"),
        (b'{"format": "other/1"}', "its format is 'other/1'"),
        (json.dumps({"format": "slimmer.recording/1", "accesses": 3}).encode(), "not a recording of format"),
    ],
)
def test_what_is_no_recording_is_refused_with_the_place(content: bytes, message: str, tmp_path: Path) -> None:
    place = tmp_path / "recording.json"
    place.write_bytes(content)
    with pytest.raises(TracerError, match=message) as caught:
        load(place)
    assert str(place) in str(caught.value)


def test_a_missing_recording_is_told(tmp_path: Path) -> None:
    with pytest.raises(TracerError, match="cannot read"):
        load(tmp_path / "none.json")
