"""Frozen values as plain JSON and back, by their types: nothing but data is ever read from a store.

Dataclasses are lists of their fields in order, sets are sorted lists, enumerations their values. What does not have
exactly the shape that the type says is refused.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import types
import typing
from collections.abc import Callable
from typing import Any


class Unfit(ValueError):
    """Plain data that is no such value, or a value that has no plain form."""


def dump(value: object) -> bytes:
    """A value as JSON. Raises Unfit."""
    return json.dumps(_plain(value), ensure_ascii=True, separators=(",", ":")).encode()


def load(kind: Any, data: bytes) -> Any:
    """The value of a type that `dump` wrote. Raises Unfit."""
    try:
        return _loader(kind)(json.loads(data))
    except (ValueError, TypeError, RecursionError) as error:
        raise Unfit(str(error)) from error


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | str) or type(value) is int:
        return value
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [_plain(getattr(value, each.name)) for each in dataclasses.fields(value)]
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    if isinstance(value, frozenset | set):
        return sorted(_plain(each) for each in value)  # type: ignore[type-var]  # texts and numbers
    raise Unfit(f"{type(value).__name__} has no plain form")


@functools.cache
def _loader(kind: Any) -> Callable[[Any], Any]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in (str, int, bool, type(None)):
        return functools.partial(_exactly, kind)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _fields(kind)
    if origin in (types.UnionType, typing.Union):
        return functools.partial(_any_of, tuple(_loader(each) for each in arguments))
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is ...):
        return functools.partial(_one_each, tuple(_loader(each) for each in arguments))
    if origin in (tuple, list, frozenset, set):
        return functools.partial(_many, origin, _loader(arguments[0]))
    raise Unfit(f"{kind} has no plain form")


def _exactly(kind: type, plain: object) -> object:
    if type(plain) is not kind:
        raise Unfit(f"{plain!r:.80} is no {kind.__name__}")
    return plain


def _any_of(loaders: tuple[Callable[[Any], Any], ...], plain: object) -> object:
    for each in loaders:
        try:
            return each(plain)
        except (ValueError, TypeError):
            continue
    raise Unfit(f"{plain!r:.80} is none of these")


def _one_each(loaders: tuple[Callable[[Any], Any], ...], plain: object) -> object:
    listed = _list(plain)
    if len(listed) != len(loaders):
        raise Unfit(f"{len(listed)} values instead of {len(loaders)}")
    return tuple(each(one) for each, one in zip(loaders, listed, strict=True))


def _many(kind: Callable[[list[Any]], Any], loader: Callable[[Any], Any], plain: object) -> object:
    return kind([loader(each) for each in _list(plain)])


def _fields(kind: type) -> Callable[[Any], Any]:
    hints = typing.get_type_hints(kind)
    loaders = tuple(_loader(hints[each.name]) for each in dataclasses.fields(kind))

    def fields(plain: object) -> object:
        return kind(*typing.cast(tuple[Any, ...], _one_each(loaders, plain)))

    return fields


def _list(plain: object) -> list[Any]:
    if type(plain) is not list:
        raise Unfit(f"{plain!r:.80} is no list")
    return plain
