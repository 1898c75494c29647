"""Path globs, as profiles and --include write them: compiled for matching, expanded over a root.

`*` and `?` stay inside one component, `[…]` and `[!…]` are classes, `{a,b}` are
alternatives (either may be empty), and `**` as a whole component stands for any
number of components, none included. A pattern is absolute.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator

from slimmer.root.model import FileType, Root

MAGIC = re.compile(r"[*?\[]")


def problem(pattern: str) -> str:
    """What is wrong with a pattern; empty when nothing is."""
    if not pattern.startswith(("/", "**/")):
        return "it does not begin with / (or **/)"
    if pattern.count("{") != pattern.count("}"):
        return "its braces do not match"
    try:
        for each in alternatives(pattern):
            for part in each.split("/"):
                if part in (".", ".."):
                    return "it holds . or .. as a component"
                if "**" in part and part != "**":
                    return "** is not a whole component"
                if "[" in part:  # all else is escaped, and compiling a thousand expressions takes a second
                    _compiles(part)
    except (re.error, ValueError) as error:
        return str(error)
    return ""


@functools.cache
def _compiles(part: str) -> None:
    """Raises re.error for a component that is no expression."""
    re.compile(_component(part))


def alternatives(pattern: str) -> tuple[str, ...]:
    """A pattern without braces for each choice, in the order written."""
    start = pattern.find("{")
    if start < 0:
        return (pattern,)
    depth, at, choices = 0, start + 1, []
    for place in range(start, len(pattern)):
        if pattern[place] == "{":
            depth += 1
        elif pattern[place] == "}":
            depth -= 1
            if not depth:
                choices.append(pattern[at:place])
                break
        elif pattern[place] == "," and depth == 1:
            choices.append(pattern[at:place])
            at = place + 1
    else:
        raise ValueError("its braces do not match")
    head, tail = pattern[:start], pattern[place + 1 :]
    return tuple(dict.fromkeys(whole for choice in choices for whole in alternatives(head + choice + tail)))


def _translate(pattern: str) -> str:
    parts = _parts(pattern)
    out = ""
    for place, part in enumerate(parts):
        last = place == len(parts) - 1
        if part == "**":
            out += "/.+" if last else "(?:/[^/]+)*"
        else:
            out += "/" + _component(part)
    return out


def _parts(pattern: str) -> list[str]:
    """The components of a pattern; an empty alternative leaves none behind."""
    return [part for part in pattern.split("/") if part]


def _component(part: str) -> str:
    out, at = "", 0
    while at < len(part):
        char = part[at]
        at += 1
        if char == "*":
            out += "[^/]*"
        elif char == "?":
            out += "[^/]"
        elif char == "[" and (end := part.find("]", at + 1)) > 0:
            body = part[at:end].replace("\\", "\\\\")
            out += f"[^/{body[1:]}]" if body.startswith("!") else f"[{body}]"
            at = end + 1
        else:
            out += re.escape(char)
    return out


class Globs:
    """Whether any of some globs matches: literals by a look into a set, the rest by the directory that they begin in.

    Expressions are compiled when something comes that they might match: of a thousand globs a root asks for a few.
    """

    __slots__ = ("_compiled", "_literals", "_sources")

    def __init__(self) -> None:
        self._literals: set[str] = set()
        self._sources: dict[str, list[str]] = {}  # the literal beginning, up to a slash → expressions
        self._compiled: dict[str, re.Pattern[str]] = {}

    def add_path(self, pattern: str) -> None:
        """One more path glob."""
        for each in alternatives(pattern):
            parts = _parts(each)
            plain = next((place for place, part in enumerate(parts) if MAGIC.search(part)), len(parts))
            begins = "".join(f"/{part}" for part in parts[:plain])
            if plain == len(parts):
                self._literals.add(begins)
            else:
                self._sources.setdefault(begins, []).append(each)

    def add_name(self, pattern: str) -> None:
        """One more glob over a name."""
        for each in alternatives(pattern):
            if MAGIC.search(each):
                self._sources.setdefault("", []).append(each)
            else:
                self._literals.add(each)

    def fullmatch(self, text: str) -> bool:
        """Whether a path (or a name) as a whole is what one of them means."""
        if text in self._literals:
            return True
        sources = self._sources
        if not sources:
            return False
        if "" in sources and self._expression("").fullmatch(text):
            return True
        cut = text.find("/", 1)
        while cut > 0:
            begins = text[:cut]
            if begins in sources and self._expression(begins).fullmatch(text):
                return True
            cut = text.find("/", cut + 1)
        return False

    def _expression(self, begins: str) -> re.Pattern[str]:
        found = self._compiled.get(begins)
        if found is None:
            # A glob over a path begins with a slash, or with **/; what does not is one over a name.
            sources = (
                _translate(each) if each.startswith(("/", "**/")) else _component(each)
                for each in self._sources[begins]
            )
            found = self._compiled[begins] = re.compile("|".join(f"(?:{each})" for each in sources), re.DOTALL)
        return found


@functools.lru_cache(maxsize=4096)
def _matcher(patterns: tuple[str, ...]) -> Globs:
    found = Globs()
    for each in patterns:
        found.add_path(each)
    return found


@functools.lru_cache(maxsize=4096)
def _names(patterns: tuple[str, ...]) -> Globs:
    found = Globs()
    for each in patterns:
        found.add_name(each)
    return found


def matcher(patterns: Iterable[str]) -> Globs:
    """What any of the patterns matches; nothing when there is none."""
    return _matcher(tuple(patterns))


def whole(patterns: Iterable[str]) -> Globs:
    """The same for lists of what stays away: `X/**` takes X itself too, so that no empty directory is left."""
    known = tuple(patterns)
    return matcher((*known, *(each[: -len("/**")] for each in known if each.endswith("/**") and each != "/**")))


def names(patterns: Iterable[str]) -> Globs:
    """The same for globs over one name: a base name, a package's name."""
    return _names(tuple(patterns))


def expand(root: Root, pattern: str) -> Iterator[str]:
    """The paths of a root that a pattern names, as spelled by it (links on the way not resolved), each once.

    A `**` does not descend through links. Order: as bytes within each alternative.
    """
    seen: set[str] = set()
    for each in alternatives(pattern):
        for path in _expand(root, "", "/", _parts(each)):
            if path not in seen:
                seen.add(path)
                yield path


def _expand(root: Root, spelled: str, here: str, parts: list[str]) -> Iterator[str]:
    part, rest = parts[0], parts[1:]
    if part == "**":
        if rest:
            yield from _expand(root, spelled, here, rest)
        for name in root.children(here):
            below = _join(here, name)
            found = root.entry(below)
            if found is None:
                continue
            if not rest:
                yield f"{spelled}/{name}"
            if found.type is FileType.DIRECTORY:
                yield from _expand(root, f"{spelled}/{name}", below, parts)
        return
    if MAGIC.search(part):
        known = names((part,))
        found_names: Iterable[str] = [name for name in root.children(here) if known.fullmatch(name)]
    else:
        found_names = (part,)
    for name in found_names:
        below = _join(here, name)
        if not rest:
            if root.entry(below) is not None:
                yield f"{spelled}/{name}"
            continue
        there = root.resolve(below)
        if there.entry is not None and there.entry.type is FileType.DIRECTORY:
            yield from _expand(root, f"{spelled}/{name}", there.path, rest)


def _join(directory: str, name: str) -> str:
    return f"/{name}" if directory == "/" else f"{directory}/{name}"
