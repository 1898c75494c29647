"""Where in a TOML text a key stands, for messages: tomllib keeps no positions."""

from __future__ import annotations

import re

Place = tuple[str | int, ...]  # ("keep", 2, "paths"): table, index into an array of tables, key

HEADER = re.compile(r"\s*(\[\[?)\s*([\w.\-\"' ]+?)\s*\]\]?\s*(?:#.*)?$")
KEY = re.compile(r"(\s*)([\w\-]+|\"[^\"]*\"|'[^']*')\s*(?:\.|=)")


def place_of(text: str, place: Place) -> tuple[int, int]:
    """Line and column, from 1, of a key, or of the innermost table around it that can be found."""
    best, depth = (1, 1), 0
    here: Place = ()
    counts: dict[str, int] = {}
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        if fence:
            fence = "" if fence in line else fence
            continue
        if (header := HEADER.match(line)) and not line.lstrip().startswith("[ "):
            here = _table(header, counts)
            if here == place[: len(here)] and len(here) > depth:
                best, depth = (number, header.start(1) + 1), len(here)
        elif key := KEY.match(line):
            word = key.group(2).strip("\"'")
            if (*here, word) == place[: len(here) + 1] and len(here) + 1 > depth:
                best, depth = (number, key.end(1) + 1), len(here) + 1
        for mark in ('"""', "'''"):
            if line.count(mark) % 2:
                fence = mark
    return best


def _table(header: re.Match[str], counts: dict[str, int]) -> Place:
    """The place that a [table] or [[table]] line opens."""
    words = [part.strip(" \"'") for part in header.group(2).split(".")]
    name = ".".join(words)
    if header.group(1) == "[[":
        counts[name] = counts.get(name, -1) + 1
    out: list[str | int] = []
    for depth, word in enumerate(words, 1):
        out.append(word)
        if (index := counts.get(".".join(words[:depth]))) is not None:
            out.append(index)
    return tuple(out)
