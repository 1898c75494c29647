"""A whole machine as fat root: the content of removed files is read for secrets only up to a number."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.report import risk
from slimmer.report.model import Mark, Risk
from slimmer.root.directory import DirectoryRoot
from tests.support import plant

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\n" + "b3BlbnNzaC1rZXktdjEA" * 8 + "\n"


def test_beyond_it_names_tell_where_to_look_and_kept_files_are_always_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path, {"one": KEY, "two": KEY, "store.p12": "x", "id_rsa": KEY})
    monkeypatch.setattr(risk, "SEARCHED", 1)
    root = DirectoryRoot(str(tmp_path))
    marker = risk.Marker(root)

    def found(path: str, *, removed: bool) -> tuple[Mark, ...]:
        entry = root.entry(path)
        assert entry is not None
        return marker.marks(entry, {}, removed=removed)

    secret = Mark(Risk.CREDENTIAL, "private-key")
    assert secret in found("/one", removed=True)
    assert secret not in found("/two", removed=True)
    assert secret in found("/two", removed=False)
    assert Mark(Risk.CREDENTIAL, "key-store") in found("/store.p12", removed=True)
    assert secret in found("/id_rsa", removed=True)  # secrets are looked for where secrets are
    assert marker.unsearched == 1
