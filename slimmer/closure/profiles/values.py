"""Values of a profile's tables, checked: what is wrong is told with file, line and column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from types import MappingProxyType
from typing import Any, NoReturn

from slimmer.closure.profiles import globs as path_globs
from slimmer.errors import SlimmerError
from slimmer.toml_position import Place, place_of


class Values:
    """Reads values of one file. Each method raises SlimmerError where a value is not what it must be."""

    def __init__(self, text: str, source: str) -> None:
        self.text = text
        self.source = source

    def only(self, value: Mapping[str, Any], at: Place, allowed: Set[str]) -> None:
        for key in value:
            if key not in allowed:
                self.fail((*at, key), f"{key!r} means nothing here; known: {', '.join(sorted(allowed))}")

    def table(self, value: Mapping[str, Any], at: Place, key: str) -> Mapping[str, Any]:
        found: object = value.get(key, {})
        if not isinstance(found, dict):
            self.fail((*at, key), f"{key} must be a table: [{key}]")
        return found

    def tables(self, value: Mapping[str, Any], at: Place, key: str) -> Sequence[Mapping[str, Any]]:
        found: object = value.get(key, [])
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            self.fail((*at, key), f"{key} must be an array of tables: [[{key}]]")
        return found

    def mapping(self, value: Mapping[str, Any], at: Place, key: str) -> Mapping[str, str]:
        found = self.table(value, at, key)
        for name, each in found.items():
            if not isinstance(each, str) or not each:
                self.fail((*at, key, name), f"{name} in {key} must be a text")
        return MappingProxyType(dict(found))

    def lists(self, value: Mapping[str, Any], at: Place, key: str) -> Mapping[str, tuple[str, ...]]:
        found = self.table(value, at, key)
        return MappingProxyType({name: self.texts(found, (*at, key), name) for name in found})

    def sentence(self, value: Mapping[str, Any], at: Place) -> str:
        if "why" not in value:
            self.fail(at, "why is missing: a reader of the report must learn why")
        found = value["why"]
        if not isinstance(found, str) or not found.strip():
            self.fail((*at, "why"), "why must be a text that says something")
        return str(found)

    def texts(self, value: Mapping[str, Any], at: Place, key: str) -> tuple[str, ...]:
        found = value.get(key, [])
        if not isinstance(found, list) or not all(isinstance(each, str) and each for each in found):
            self.fail((*at, key), f"{key} must be a list of texts")
        return tuple(found)

    def names(self, value: Mapping[str, Any], at: Place, key: str) -> tuple[str, ...]:
        found = self.texts(value, at, key)
        for each in found:
            if "/" in each:
                self.fail((*at, key), f"{each!r} in {key} is a path; a name has no /")
        return found

    def relative(self, value: Mapping[str, Any], at: Place, key: str) -> tuple[str, ...]:
        found = self.texts(value, at, key)
        for each in found:
            if each.startswith("/") or ".." in each.split("/"):
                self.fail((*at, key), f"{each!r} in {key} must be relative, and stay below")
        return found

    def globs(self, value: Mapping[str, Any], at: Place, key: str) -> tuple[str, ...]:
        found = value.get(key, [])
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            self.fail((*at, key), f"{key} must be a list of path globs")
        for each in found:
            if wrong := path_globs.problem(each):
                self.fail((*at, key), f"{each!r} in {key} is not a path glob: {wrong}")
        return tuple(found)

    def size(self, value: Mapping[str, Any], at: Place, key: str) -> int:
        found = value.get(key, 0)
        if isinstance(found, bool) or not isinstance(found, int) or found < 0:
            self.fail((*at, key), f"{key} must be a number of bytes")
        return int(found)

    def fail(self, at: Place, message: str) -> NoReturn:
        line, column = place_of(self.text, at)
        raise SlimmerError(
            f"{self.source}:{line}:{column}: {message}", "see `slim profiles nginx` for a profile that is right"
        )
