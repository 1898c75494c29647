"""A run that a signal ends at any moment leaves the output whole, and nothing else."""

from __future__ import annotations

import pytest

from tests.bench.kills import kills
from tests.running import NOBODY
from tests.support import needs_root, requires

pytestmark = [needs_root, requires("mmdebstrap")]


@pytest.mark.parametrize("uid", [0, NOBODY])
def test_signals_at_any_moment_leave_the_output_whole_and_nothing_else(uid: int) -> None:
    assert kills(uid, 8) == []
