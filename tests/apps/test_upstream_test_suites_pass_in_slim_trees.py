"""What passes of a library's own test-suite in the fat root passes in a slim tree that one import trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.roots import RootUnavailable
from tests.suites import SUITES, measure


@pytest.mark.parametrize("name", ["jinja2", "PyYAML"])  # quick ones; `make bench` has the others
def test_a_suite_passes_in_slim_as_in_fat(name: str, tmp_path: Path) -> None:
    suite = next(each for each in SUITES if each.name == name)
    try:
        score = measure(suite, tmp_path)
    except RootUnavailable as error:
        pytest.skip(str(error))
    assert len(score.fat) > 500  # the suite ran, and nearly all of it passes
    assert not score.lost(suite), score.said[-3000:]
    assert score.result.report.slim.bytes < score.result.report.fat.bytes / 3
