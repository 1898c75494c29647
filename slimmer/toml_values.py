"""Frozen dataclasses as the values that TOML has."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any


def plain(part: Any) -> dict[str, Any]:
    """A dataclass as TOML's values, without what is as by default."""
    plain: dict[str, Any] = {}
    for each in dataclasses.fields(part):
        value = getattr(part, each.name)
        default = each.default if each.default is not dataclasses.MISSING else None
        if each.default_factory is not dataclasses.MISSING:
            default = each.default_factory()
        if value != default and value is not None:
            plain[each.name] = _value(value)
    return plain


def _value(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value):
        return plain(value)
    if isinstance(value, Mapping):
        return {key: _value(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [_value(each) for each in value]
    return value
