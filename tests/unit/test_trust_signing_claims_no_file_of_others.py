"""Signing an output changes its marker by the signed statements alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.errors import SlimmerError
from slimmer.pipeline.target import mark, mark_folder, refuse_foreign
from tests.support import plant


def test_what_somebody_laid_into_an_output_is_not_ours_after_signing(tmp_path: Path) -> None:
    out = plant(tmp_path / "out", {"/recipe.toml": "", "/attestations/old.json": "1"})
    mark(out)
    plant(out, {"/attestations/new.json": "2"})
    (out / "attestations/old.json").unlink()
    mark_folder(out, "attestations")
    refuse_foreign(out)
    plant(out, {"/notes.txt": "mine"})
    mark_folder(out, "attestations")
    with pytest.raises(SlimmerError, match=r"notes\.txt is not of it"):
        refuse_foreign(out)
