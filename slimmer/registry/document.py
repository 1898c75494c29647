"""JSON that comes from outside, read with suspicion; JSON that goes out, always the same bytes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, BinaryIO, NoReturn

from slimmer.errors import SlimmerError

# The limit that the distribution-spec sets registries for manifests; a config is never larger in earnest.
LARGEST = 4 * 1024 * 1024
DEEPEST = 64
# A whole text, so that brackets inside it do not count, or one bracket.
_MARKS = re.compile(r'"(?:[^"\\]++|\\.)*+"|[][{}]', re.DOTALL)


def load(data: bytes, what: str, *, secret: bool = False, largest: int = LARGEST) -> Node:
    """The JSON text as a node. Raises SlimmerError: not JSON, too large, too deep, a key given twice.

    `what` names it in messages; with `secret` they never quote its values.
    """
    if len(data) > largest:
        raise SlimmerError(f"{what} is {len(data)} bytes large; {largest} is the most that is read")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise SlimmerError(f"{what} is not JSON: not UTF-8 at byte {error.start}") from error
    _measure(text, what)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise SlimmerError(f"{what} is ambiguous: it gives one key twice")
        return found

    try:
        return Node(json.loads(text, object_pairs_hook=unique, parse_constant=_refuse), what, secret)
    except (ValueError, RecursionError) as error:
        raise SlimmerError(f"{what} is not JSON: {error}") from error


def dump(value: object) -> bytes:
    """Compact, keys sorted, UTF-8: one value, one text. Raises SlimmerError for text that UTF-8 cannot hold."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        raise SlimmerError(f"{error.object!r} holds bytes that are not UTF-8 and cannot stand in JSON") from error


def digest(data: bytes) -> str:
    """A blob's name: "sha256:HEX"."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def digest_of(stream: BinaryIO) -> str:
    """The same of what a stream holds, memory flat."""
    return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"  # type: ignore[arg-type]


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _measure(text: str, what: str) -> None:
    """Refuse deep nesting before a recursive parser meets it."""
    depth = 0
    for mark in _MARKS.finditer(text):
        if mark[0] in "[{":
            depth += 1
            if depth > DEEPEST:
                raise SlimmerError(f"{what} is nested more than {DEEPEST} deep")
        elif mark[0] in "]}":
            depth -= 1


class Node:
    """A JSON value and where it stands. Each reader of it checks the type and raises SlimmerError when it is another.

    A key that is missing and one that is null are the same, as Go's encoders write either.
    """

    __slots__ = ("_secret", "_value", "where")

    def __init__(self, value: Any, where: str, secret: bool = False) -> None:
        self._value = value
        self._secret = secret
        self.where = where

    def get(self, key: str) -> Node:
        return Node(self._object().get(key), f"{self.where}: {key}", self._secret)

    def raw(self) -> object:
        """The value as it is, to be written again unchanged."""
        return self._value

    @property
    def missing(self) -> bool:
        return self._value is None

    def text(self, default: str | None = None) -> str:
        if self._value is None and default is not None:
            return default
        if not isinstance(self._value, str):
            raise self._unlike("a text")
        if "\0" in self._value or any("\ud800" <= character <= "\udfff" for character in self._value):
            raise self._unlike("a text without NUL and lone surrogates")
        return self._value

    def number(self, default: int | None = None) -> int:
        if self._value is None and default is not None:
            return default
        if not isinstance(self._value, int) or isinstance(self._value, bool) or abs(self._value) >= 2**63:
            raise self._unlike("a whole number")
        return self._value

    def texts(self) -> tuple[str, ...]:
        """A list of texts; empty when missing."""
        return tuple(node.text() for node in self.items())

    def items(self) -> tuple[Node, ...]:
        """A list; empty when missing."""
        if self._value is None:
            return ()
        if not isinstance(self._value, list):
            raise self._unlike("a list")
        return tuple(Node(value, f"{self.where}[{index}]", self._secret) for index, value in enumerate(self._value))

    def names(self) -> tuple[str, ...]:
        """An object's keys, sorted; empty when missing."""
        return tuple(sorted(Node(key, f"{self.where}: a key", self._secret).text() for key in self._object()))

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """An object whose values are texts, sorted by key; empty when missing."""
        return tuple((key, self.get(key).text()) for key in self.names())

    def _object(self) -> Mapping[str, Any]:
        if self._value is None:
            return {}
        if not isinstance(self._value, dict):
            raise self._unlike("an object")
        return self._value

    def _unlike(self, wanted: str) -> SlimmerError:
        if self._secret:
            return SlimmerError(f"{self.where} is not {wanted}")
        shown = json.dumps(self._value)
        return SlimmerError(f"{self.where} is {shown if len(shown) < 60 else shown[:60] + '…'}, not {wanted}")
