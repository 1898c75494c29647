"""removed.json of a whole machine is compressed, and readers do not mind."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.errors import SlimmerError
from slimmer.report.growing import growing
from slimmer.report.model import RemovedPath
from slimmer.report.output import Output
from slimmer.report.read import read_removed
from slimmer.report.write import write_removed
from slimmer.root.model import Entry, FileType

ENTRIES = [Entry(f"/srv/{number:05}", FileType.FILE, 0o644, 0, 0, number, 0) for number in range(2500)]
ROWS = [RemovedPath(entry, None, ()) for entry in ENTRIES]


def written(top: Path, large: int) -> Output:
    top.mkdir()
    (top / "manifest.json").write_text("")
    with growing(top / "removed.json", large=large) as stream:
        assert write_removed(stream, ROWS) == len(ROWS)
    return Output(top)


def test_large_lists_are_compressed_and_read_as_small_ones_are(tmp_path: Path) -> None:
    small, large = written(tmp_path / "small", 1 << 30), written(tmp_path / "large", 100_000)
    assert [each.name for each in (small.removed_file, large.removed_file)] == ["removed.json", "removed.json.gz"]
    assert not (large.directory / "removed.json").exists()
    assert list(small.removed()) == list(large.removed()) == ROWS
    assert large.removed_file.stat().st_size < small.removed_file.stat().st_size / 5
    again = written(tmp_path / "again", 100_000)
    assert again.removed_file.read_bytes() == large.removed_file.read_bytes()


@pytest.mark.parametrize("share", [0, 10, 50, 99])
def test_a_damaged_one_is_one_clear_message(tmp_path: Path, share: int) -> None:
    place = written(tmp_path / "out", 100_000).removed_file
    data = place.read_bytes()
    place.write_bytes(data[: len(data) * share // 100])
    with pytest.raises(SlimmerError):
        list(read_removed(place))
