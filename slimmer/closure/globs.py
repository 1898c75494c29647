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
        re.compile(translate(pattern))
    except (re.error, ValueError) as error:
        return str(error)
    return ""


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


@functools.cache
def translate(pattern: str) -> str:
    """The regular expression, for fullmatch over a path, of a pattern."""
    return "|".join(_translate(each) for each in alternatives(pattern))


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


def matcher(patterns: Iterable[str]) -> re.Pattern[str]:
    """One expression, for fullmatch, that any of the patterns satisfies; nothing does when there is none."""
    return re.compile("|".join(f"(?:{translate(each)})" for each in patterns) or r"(?!)", re.DOTALL)


def whole(patterns: Iterable[str]) -> re.Pattern[str]:
    """The same for lists of what stays away: `X/**` takes X itself too, so that no empty directory is left."""
    known = tuple(patterns)
    return matcher((*known, *(each[: -len("/**")] for each in known if each.endswith("/**") and each != "/**")))


def names(patterns: Iterable[str]) -> re.Pattern[str]:
    """The same for globs over one name: a base name, a package's name."""
    return re.compile(
        "|".join(f"(?:{_component(each)})" for pattern in patterns for each in alternatives(pattern)) or r"(?!)",
        re.DOTALL,
    )


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
