"""Every pattern of slimmer, and texts that are made to hold a backtracking matcher up: one per repeat of a pattern."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import slimmer

HERE = Path(slimmer.__file__).parent
CALLS = frozenset({"compile", "search", "match", "fullmatch", "findall", "finditer", "sub", "split"})
FLAGS = {"M": re.M, "MULTILINE": re.M, "S": re.S, "DOTALL": re.S, "I": re.I, "IGNORECASE": re.I, "ASCII": re.A}
PREFERRED = [*b"a0 \n./'\"A_-:=,;(#", *range(1, 256)]  # what a class is filled with, the first that fits


@dataclass(frozen=True)
class Used:
    """A pattern, where it stands, and how it is asked: "match", "fullmatch", or "search" for all that move along."""

    where: str
    pattern: re.Pattern[Any]
    how: str


def patterns() -> list[Used]:
    """Values of modules and classes by the methods that are called on their names, and literals in calls of `re`."""
    found: dict[tuple[Any, int, str], Used] = {}
    trees = {file: ast.parse(file.read_bytes()) for file in sorted(HERE.rglob("*.py"))}
    asked: dict[str, set[str]] = {}
    for tree in trees.values():
        for node in ast.walk(tree):
            match node:
                case ast.Attribute(attr=method, value=ast.Name(id=name) | ast.Attribute(attr=name)):
                    asked.setdefault(name, set()).add(method)
    for module in pkgutil.walk_packages([str(HERE)], "slimmer."):
        loaded = importlib.import_module(module.name)
        for name, value in vars(loaded).items():
            for each in _within(value):
                methods = asked.get(name, set()) & CALLS
                anchored = methods and methods <= {"match", "fullmatch"}
                for how in methods if anchored else ["search"]:
                    found.setdefault((each.pattern, each.flags, how), Used(f"{module.name}:{name}", each, how))
    for file, tree in trees.items():
        for node in ast.walk(tree):
            match node:
                case ast.Call(
                    func=ast.Attribute(attr=name, value=ast.Name(id="re")),
                    args=[ast.Constant(value=str() | bytes() as text), *rest],
                ) if name in CALLS:
                    flags = 0
                    for part in ast.walk(ast.Tuple([*rest, *(word.value for word in node.keywords)], ast.Load())):
                        if isinstance(part, ast.Attribute):
                            flags |= FLAGS.get(part.attr, 0)
                    if name == "compile":
                        continue
                    how = name if name in ("match", "fullmatch") else "search"
                    each = re.compile(text, flags)
                    where = f"slimmer.{'.'.join(file.relative_to(HERE).with_suffix('').parts)}:{node.lineno}"
                    found.setdefault((each.pattern, each.flags, how), Used(where, each, how))
    return list(found.values())


def _within(value: object) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _within(each)
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _within(each)
    elif isinstance(value, type) and value.__module__.startswith("slimmer."):
        for each in vars(value).values():
            if isinstance(each, re.Pattern):
                yield each


def adversaries(pattern: re.Pattern[Any], size: int) -> Iterator[Any]:
    """Texts of about `size` characters: what leads to a repeat, the repeat's own text many times, and no end to it."""
    tree = parser.parse(pattern.pattern, pattern.flags & ~re.DEBUG)
    seen: set[str] = set()
    for lead, pump in _pumps(tree, ""):
        for text in (pump, lead + pump) if lead else (pump,):
            for body in (lead + pump * (size // len(pump)), text * (size // len(text))):
                for end in ("\x01", "", "\n\x01"):
                    whole = body + end
                    if whole not in seen:
                        seen.add(whole)
                        yield whole.encode("latin-1") if isinstance(pattern.pattern, bytes) else whole


def _pumps(tree: Any, lead: str) -> Iterator[tuple[str, str]]:
    """(a text that leads to it, a text that it takes) of every repeat that has no small bound."""
    for operation, argument in tree:
        if operation in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
            _, most, inner = argument
            if most > 8:
                for pump in _variants(inner):
                    yield lead, pump
            yield from _pumps(inner, lead)
        elif operation is codes.SUBPATTERN:
            yield from _pumps(argument[3], lead)
        elif operation is codes.ATOMIC_GROUP:
            yield from _pumps(argument, lead)
        elif operation is codes.BRANCH:
            for branch in argument[1]:
                yield from _pumps(branch, lead)
        lead += _sample([(operation, argument)])


def _variants(tree: Any) -> Iterator[str]:
    """Some texts that a part takes: for a class of characters, blanks and line ends too."""
    sample = _sample(tree)
    if sample:
        yield sample
    if len(tree) == 1:
        operation, argument = tree[0]
        for each in " \n\\":
            if each != sample and _takes(operation, argument, ord(each)):
                yield each


def _sample(tree: Any) -> str:
    """The shortest text, or nearly, that a part of a pattern takes."""
    text = ""
    for operation, argument in tree:
        if operation in (codes.LITERAL, codes.NOT_LITERAL, codes.IN, codes.ANY):
            text += next((chr(each) for each in PREFERRED if _takes(operation, argument, each)), "")
        elif operation in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
            text += _sample(argument[2]) * max(argument[0], 0)
        elif operation is codes.SUBPATTERN:
            text += _sample(argument[3])
        elif operation is codes.ATOMIC_GROUP:
            text += _sample(argument)
        elif operation is codes.BRANCH:
            text += _sample(argument[1][0])
    return text


def _takes(operation: Any, argument: Any, character: int) -> bool:
    if operation is codes.LITERAL:
        return bool(argument == character)
    if operation is codes.NOT_LITERAL:
        return bool(argument != character)
    if operation is codes.ANY:
        return character != 10
    if operation is not codes.IN:
        return False
    positive = argument[0][0] is not codes.NEGATE
    for kind, value in argument:
        if kind is codes.LITERAL and value == character:
            return positive
        if kind is codes.RANGE and value[0] <= character <= value[1]:
            return positive
        if kind is codes.CATEGORY and _category(value, chr(character)):
            return positive
    return not positive


def _category(category: Any, character: str) -> bool:
    name = str(category)
    kind = (
        character.isdigit()
        if name.endswith("DIGIT")
        else character.isspace()
        if name.endswith("SPACE")
        else character.isalnum() or character == "_"
    )
    return kind is not ("NOT_" in name)
