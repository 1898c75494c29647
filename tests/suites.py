"""All suites, by the name of the row that each is in the table of `tests.bench.suites`."""

from __future__ import annotations

from tests.suite_run import Score, Suite, measure
from tests.suites_of_libraries import LIBRARY_SUITES
from tests.suites_of_programs import PROGRAM_SUITES

__all__ = ["SUITES", "Score", "Suite", "measure"]

SUITES: tuple[Suite, ...] = (*LIBRARY_SUITES, *PROGRAM_SUITES)
