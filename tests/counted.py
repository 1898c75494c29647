"""How often something of slimmer is called: the function itself is, each time."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest


def calls_of(module: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Count what a module calls by this name; the answer is how often since it was asked last."""
    called: Callable[..., object] = getattr(module, name)
    count = 0

    def counted(*args: object, **kwargs: object) -> object:
        nonlocal count
        count += 1
        return called(*args, **kwargs)

    def asked() -> int:
        nonlocal count
        was, count = count, 0
        return was

    monkeypatch.setattr(module, name, counted)
    return asked
