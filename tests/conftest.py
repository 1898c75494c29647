"""How tests run anywhere: without deadlines, which a loaded machine misses, and with what is slow marked as such."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

# Where CI is set an unproved image is refused by default; a test that is about it sets it.
os.environ.pop("CI", None)

HERE = Path(__file__).parent
# Modules that look at all that runs on the machine, use up what all share, or are about moments.
ALONE = tuple(
    f"test_{each}_"
    for each in ("recorder", "sandbox", "signals", "somebody", "bad_input", "a_run_in_place", "few_descriptors")
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`-m unit` are data in, data out; everything else starts real programs and is slow."""
    for item in items:
        room = item.path.relative_to(HERE).parts[0] if item.path.is_relative_to(HERE) else ""
        item.add_marker("unit" if room == "unit" else "slow")
        if room != "unit" and item.path.name.startswith(ALONE):
            item.add_marker("alone")
