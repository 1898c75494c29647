"""`[modules]` of a profile: what is known of a language's modules beforehand, because no source says it by name.

[modules]
language = "perl"
startup = ["strict", "warnings"]

[modules.families]
DBI = "DBD"                  # what loads DBI loads modules below DBD by names that it computes

[modules.implied]
bigrat = ["Math::BigRat"]    # the same, where the names are few
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from slimmer.closure.profiles.values import Values
from slimmer.toml_position import Place

LANGUAGES = ("perl", "prolog", "python", "r", "ruby")


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Modules:
    """Names of modules as the language writes them. Several profiles may speak of one language: their tables add up."""

    language: str = ""  # one of LANGUAGES; "" where a profile has no such table
    startup: tuple[str, ...] = ()  # loaded by the interpreter itself, before a program's first line or on an error
    startup_of_own: tuple[str, ...] = ()  # the same, once the application has sources of its own
    developer: tuple[str, ...] = ()  # the library's tools for developers: its own mention of them counts for nothing
    builders: tuple[str, ...] = ()  # of third parties, for builds and tests: what is optional of them is not reached
    build_scripts: tuple[str, ...] = ()  # files of an application that need builders and that no run of it reads
    desktop: tuple[str, ...] = ()  # the library's for a person at a screen: who is not the application does without
    words: tuple[str, ...] = ()  # names of modules that are common words in the interpreter's messages too
    # Bytes that one package may bring which others import if it is there, and none requires. 0: any.
    optional_limit: int = 0
    # A module → the module below which it loads others by names it computes.
    families: Mapping[str, str] = field(default_factory=_nothing)
    # The same where they are few; a last "*" stands for any end.
    implied: Mapping[str, tuple[str, ...]] = field(default_factory=_nothing)
    # A name that a finder answers from elsewhere once the finder's own module is there → that module, the target.
    redirected: Mapping[str, tuple[str, ...]] = field(default_factory=_nothing)
    # What makes an application → the interface that servers call it by.
    interfaces: Mapping[str, str] = field(default_factory=_nothing)


_MAPS = ("families", "implied", "redirected", "interfaces")
_SIZES = ("optional_limit",)
_LISTS = tuple(each.name for each in fields(Modules) if each.name not in (*_MAPS, *_SIZES, "language"))


def known_modules(tables: Iterable[Modules], language: str) -> Modules:
    """What the tables of all profiles together say of one language; where two disagree the later one counts."""
    found = [each for each in tables if each.language == language]
    lists = {name: tuple(dict.fromkeys(word for each in found for word in getattr(each, name))) for name in _LISTS}
    maps = {name: MappingProxyType({k: v for each in found for k, v in getattr(each, name).items()}) for name in _MAPS}
    sizes = {name: max((getattr(each, name) for each in found), default=0) for name in _SIZES}
    return Modules(language, **lists, **maps, **sizes)  # type: ignore[arg-type]


def read_modules(values: Values, value: Mapping[str, Any], at: Place) -> Modules:
    """The table of one profile. Raises SlimmerError that says where it is wrong."""
    values.only(value, at, {each.name for each in fields(Modules)})
    if not value:
        return Modules()
    if value.get("language") not in LANGUAGES:
        values.fail(
            (*at, "language") if "language" in value else at, f"language must be one of: {', '.join(LANGUAGES)}"
        )
    redirected = values.lists(value, at, "redirected")
    for name, both in redirected.items():
        if len(both) != 2:
            values.fail((*at, "redirected", name), f"{name} must be a finder's module and what it answers with")
    return Modules(
        value["language"],
        **{name: values.texts(value, at, name) for name in _LISTS},
        optional_limit=values.size(value, at, "optional_limit"),
        families=values.mapping(value, at, "families"),
        implied=values.lists(value, at, "implied"),
        redirected=redirected,
        interfaces=values.mapping(value, at, "interfaces"),
    )
