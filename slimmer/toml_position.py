"""Where in a TOML text a key stands, for messages: tomllib keeps no positions, tree-sitter's grammar does."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import cache

import tree_sitter
import tree_sitter_toml

Place = tuple[str | int, ...]  # ("keep", 2, "paths"): table, index into an array, key


@cache
def _parser() -> tree_sitter.Parser:
    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_toml.language()))


def place_of(text: str, place: Place) -> tuple[int, int]:
    """Line and column, from 1, of a key or value, or of the innermost table around it that can be found."""
    data = text.encode("utf-8", "replace")
    best, depth = (1, 1), 0
    for found, node in _places(_parser().parse(data).root_node):
        if found == place[: len(found)] and len(found) > depth:
            start = data.rfind(b"\n", 0, node.start_byte) + 1
            column = len(data[start : node.start_byte].decode("utf-8", "replace")) + 1
            best, depth = (node.start_point.row + 1, column), len(found)
    return best


def _places(document: tree_sitter.Node) -> Iterator[tuple[Place, tree_sitter.Node]]:
    counts: dict[Place, int] = {}
    for node in document.named_children:
        if node.type == "pair":
            yield from _pair((), node)
        elif node.type in ("table", "table_array_element") and node.named_children:
            words = _words(node.named_children[0])
            here: Place = ()
            for at, word in enumerate(words):
                here = (*here, word)
                if node.type == "table_array_element" and at + 1 == len(words):
                    counts[here] = counts.get(here, -1) + 1
                if here in counts:
                    here = (*here, counts[here])
            yield here, node
            for child in node.named_children[1:]:
                if child.type == "pair":
                    yield from _pair(here, child)


def _pair(here: Place, node: tree_sitter.Node) -> Iterator[tuple[Place, tree_sitter.Node]]:
    key, *values = (each for each in node.named_children if each.type != "comment")
    place = (*here, *_words(key))
    yield place, key
    for value in values:
        yield from _value(place, value)


def _value(here: Place, node: tree_sitter.Node) -> Iterator[tuple[Place, tree_sitter.Node]]:
    if node.type == "array":
        for at, child in enumerate(each for each in node.named_children if each.type != "comment"):
            yield (*here, at), child
            yield from _value((*here, at), child)
    elif node.type == "inline_table":
        for child in node.named_children:
            if child.type == "pair":
                yield from _pair(here, child)


def _words(key: tree_sitter.Node) -> list[str]:
    """A key's parts: bare, quoted or dotted; quotes and their escapes are TOML's own to read."""
    if key.type == "dotted_key":
        return [word for child in key.named_children for word in _words(child)]
    text = (key.text or b"").decode("utf-8", "replace")
    if key.type != "quoted_key":
        return [text]
    try:
        return [str(tomllib.loads(f"x = {text}")["x"])]
    except tomllib.TOMLDecodeError:
        return [text]
