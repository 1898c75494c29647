"""Real applications do in their slim image what nobody trained them for. `python -m tests.bench.reach` has more."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.roots import RootUnavailable
from tests.reach import APPLICATIONS, Application, reach
from tests.support import needs_root, requires

SHOWN = ("nginx", "redis", "bash", "express", "flask", "postgres", "perl", "ruby", "tcl", "poppler", "java")


@needs_root
@requires("mmdebstrap")
@pytest.mark.parametrize(
    "application", [each for each in APPLICATIONS if each.name in SHOWN], ids=lambda each: each.name
)
def test_all_that_was_held_out_works_and_the_image_is_small(application: Application, tmp_path: Path) -> None:
    try:
        result, verdict = reach(application, tmp_path / "out")
    except RootUnavailable as error:
        pytest.skip(str(error))
    assert [f"{each.what}: {each.problem}" for each in verdict.comparisons if each.problem] == []
    assert len(verdict.comparisons) >= application.held_out_count
    assert not result.verdict.repaired, "the closure alone must be enough"
    report = result.report
    assert report.slim.bytes < application.share * report.fat.bytes
