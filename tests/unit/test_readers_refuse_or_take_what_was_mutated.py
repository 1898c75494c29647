"""No reader of strangers' bytes crashes: on what once crashed one, and on a short run of the fuzzer.

The long run, a million inputs and more, is `python -m tests.bench fuzz`.
"""

from __future__ import annotations

import re
from itertools import islice

import pytest

from tests.fuzz import READERS, REGRESSIONS, crash, inputs, seeds


def test_what_once_crashed_a_reader_no_longer_does() -> None:
    kept = {path: crash(path.parent.name, path.read_bytes()) for path in REGRESSIONS.rglob("*") if path.is_file()}
    assert {str(path): trace for path, trace in kept.items() if trace} == {}


def test_a_reader_that_does_not_end_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(content: bytes) -> None:
        while True:
            try:
                re.match(rb"(?:a|a)*b", content)
            except Exception:
                continue

    monkeypatch.setitem(READERS, "rpm-bdb", hang)
    assert "rpm-bdb has not ended" in crash("rpm-bdb", b"a" * 10, 0.05)


def test_seeds_are_taken_by_their_readers() -> None:
    assert seeds().keys() == READERS.keys()
    for name, pool in seeds().items():
        for content in pool:
            assert crash(name, content) == ""


def test_mutated_inputs_are_taken_or_refused() -> None:
    tried = ((name, content, crash(name, content)) for name, content in islice(inputs(1), 5000))
    assert [(name, content[:80], trace) for name, content, trace in tried if trace] == []
