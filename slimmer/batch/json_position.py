"""In which column of a line of JSON a key stands, for messages: the json module tells where syntax is wrong only."""

from __future__ import annotations

import json
import re

from slimmer.toml_position import Place

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def column_of(text: str, place: Place) -> int:
    """The column, from 1, of a key or item, or of the innermost value around it that can be found. `text` is valid."""
    at = _skip(text, 0)
    best = at
    for part in place:
        found = _entry(text, at, part)
        if found is None:
            break
        best, at = found
    return best + 1


def _entry(text: str, at: int, part: str | int) -> tuple[int, int] | None:
    """Where a key and its value, or an item, begin in the value at `at`."""
    opening = text[at]
    if opening not in "{[" or (opening == "{") != isinstance(part, str):
        return None
    at = _skip(text, at + 1)
    count = 0
    while text[at] not in "}]":
        key: object = count
        begin = value = at
        if opening == "{":
            key, end = _DECODER.raw_decode(text, at)
            value = _skip(text, _skip(text, end) + 1)  # after the colon
        if key == part:
            return begin, value
        _, end = _DECODER.raw_decode(text, value)
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
        count += 1
    return None


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
