"""Reads lists of images: TOML, lines of JSON, or a directory of slim.toml files.

    [[image]]
    name = "shop"                                   # default: of the recipe's directory
    recipe = "shop/slim.toml"                       # or the recipe itself, as a table
    source = { image = "docker://HOST/shop:7" }     # over the recipe's own
    output = "out/shop"
    push = "docker://HOST/slim/shop:7"
    policy = "policy.toml"

Places are relative to the list. Everything is read and tried before anything runs.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from slimmer import recipe as recipes
from slimmer.batch.json_position import column_of
from slimmer.errors import SlimmerError, UsageProblem
from slimmer.recipe import Recipe, Run
from slimmer.recipe_checks import FieldProblem
from slimmer.registry.reference import Reference
from slimmer.report.policy import load_policy
from slimmer.toml_position import Place, place_of

NAME = re.compile(r"(?=.{1,128}\Z)[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
KEYS = ("name", "recipe", "source", "output", "push", "policy")
RECIPE_FILE = "slim.toml"
TOML_PLACE = re.compile(r"^(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$", re.S)


@dataclass(frozen=True, slots=True)
class Listed:
    """One image of a list. `where` is FILE:LINE:COLUMN; `theirs` the file whose recipe it is, empty where the list
    itself holds it; `own_source`: the list, and so the caller, names the source."""

    name: str
    recipe: Recipe
    output: str = ""
    push: str = ""
    policy: str = ""  # the text of the policy's file
    where: str = ""
    theirs: str = ""
    own_source: bool = False
    lines: Mapping[str, str] = field(default_factory=dict)  # where each key stands, as `where`


def read_lists(places: Sequence[Path]) -> list[Listed]:
    """All images of all lists, in order. Raises UsageProblem with file, line and column."""
    found = [each for place in places for each in _read(place)]
    if not found:
        raise UsageProblem(
            f"there is no image in {', '.join(map(str, places))}",
            f"a list has [[image]] tables or lines of JSON, a directory {RECIPE_FILE} files",
        )
    return found


def refuse_twins(images: Sequence[Listed]) -> None:
    """Raises UsageProblem when two would write one output or one name, or are called the same."""
    for what in ("name", "output", "push"):
        seen: dict[str, Listed] = {}
        for each in images:
            value = getattr(each, what)
            key = str(Reference.parse(value)) if value and what == "push" else value
            first = seen.setdefault(key, each)
            if value and first is not each:
                raise UsageProblem(
                    f"{each.lines.get(what, each.where)}: the {what} {value!r} is that of {first.where} too",
                    "give each image its own",
                )


def _read(place: Path) -> Iterator[Listed]:
    if place.is_dir():
        yield from _directory(place)
        return
    try:
        text = place.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageProblem(f"cannot read the list {place}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageProblem(f"{place} is no list: not UTF-8 at byte {error.start}") from error
    yield from _lines(place, text) if text.lstrip()[:1] == "{" else _toml(place, text)


def _directory(place: Path) -> Iterator[Listed]:
    found = [
        Path(top) / RECIPE_FILE for top, folders, names in os.walk(place) if not folders.sort() and RECIPE_FILE in names
    ]
    for each in found:
        name = str(each.parent.relative_to(place))
        name = place.absolute().name if name == "." else name
        if not NAME.fullmatch(name):
            raise UsageProblem(f"{each}:1:1: {name!r} is no name of an image", "letters, digits, _ . - and /")
        yield Listed(name, recipes.load(each), where=f"{each}:1:1", theirs=str(each))


def _toml(place: Path, text: str) -> Iterator[Listed]:
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = TOML_PLACE.match(str(error))
        lines = text.split("\n")
        line, column = (said["line"], said["column"]) if said and said["line"] else (len(lines), len(lines[-1]) + 1)
        raise UsageProblem(f"{place}:{line}:{column}: {said['what'] if said else error}") from error
    except RecursionError:
        raise UsageProblem(f"{place} is no list: its values are nested too deeply") from None

    def at(where: Place) -> str:
        line, column = place_of(text, where)
        return f"{place}:{line}:{column}"

    if unknown := sorted(set(value) - {"image"}):
        raise UsageProblem(f"{at((unknown[0],))}: unknown key {unknown[0]!r}", "a list has [[image]] tables")
    rows = value.get("image", [])
    if not isinstance(rows, list):
        raise UsageProblem(f"{at(('image',))}: image is no list", "write [[image]], in double brackets")
    for number, row in enumerate(rows):
        yield _image(place, row, _below(at, ("image", number)))


def _below(at: Callable[[Place], str], prefix: Place) -> Callable[[Place], str]:
    return lambda where: at((*prefix, *where))


def _lines(place: Path, text: str) -> Iterator[Listed]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise UsageProblem(
                f"{place}:{number}:{error.colno}: {error.msg}", "each line is one object of JSON"
            ) from error
        except RecursionError:
            raise UsageProblem(f"{place}:{number}:1: its values are nested too deeply") from None
        yield _image(place, value, _in_line(place, number, line))


def _in_line(place: Path, number: int, line: str) -> Callable[[Place], str]:
    return lambda where: f"{place}:{number}:{column_of(line, where)}"


def _image(place: Path, value: Any, at: Callable[[Place], str]) -> Listed:
    try:
        return _parsed(place.absolute().parent, value, at)
    except FieldProblem as error:
        raise UsageProblem(f"{at(error.place)}: {error.message}", error.hint) from error


def _parsed(top: Path, value: Any, at: Callable[[Place], str]) -> Listed:
    if not isinstance(value, Mapping):
        raise FieldProblem(f"an image was expected, not {value!r:.40}", f"its keys are {', '.join(KEYS)}")
    if unknown := sorted(set(value) - set(KEYS)):
        raise FieldProblem(f"unknown key {unknown[0]!r}", f"known are {', '.join(KEYS)}", (unknown[0],))
    texts = {key: _text(value, key) for key in ("name", "output", "push", "policy") if key in value}
    recipe, theirs = _recipe(top, value, at)
    own = "source" in value or (not theirs and "source" in value.get("recipe", {}))
    if "source" in value:
        if not isinstance(value["source"], Mapping):
            hint = 'write { image = "docker://…" } or { root = "DIRECTORY" }'
            raise FieldProblem(f"a table was expected, not {value['source']!r:.40}", hint, ("source",))
        given = recipes.parse({"source": value["source"]}, "").source
        recipe = replace(recipe, source=replace(recipe.source, **{key: getattr(given, key) for key in value["source"]}))
        if "image" in value["source"] and "root" not in value["source"]:
            recipe = replace(recipe, source=replace(recipe.source, root="/"))
        if "root" in value["source"] and "image" not in value["source"]:
            recipe = replace(recipe, source=replace(recipe.source, image=""))
    if own and not recipe.source.image:
        recipe = replace(recipe, source=replace(recipe.source, root=os.path.join(top, recipe.source.root)))
    name = texts.get("name") or _named(theirs)
    if not NAME.fullmatch(name):
        where: Place = ("name",) if "name" in texts else ()
        raise FieldProblem(f"{name!r} is no name of an image", "write name = …: letters, digits, _ . - and /", where)
    if texts.get("push"):
        check_push(texts["push"])
    return Listed(
        name,
        replace(recipe, runs=recipe.runs or (Run(),)),  # as `slim trace` has it: what the image itself starts
        os.path.join(top, texts["output"]) if texts.get("output") else "",
        texts.get("push", ""),
        policy_text(top / texts["policy"]) if texts.get("policy") else "",
        at(()),
        theirs,
        own,
        {key: at((key,)) for key in texts},
    )


def _text(value: Mapping[str, Any], key: str) -> str:
    text = value[key]
    if not isinstance(text, str) or not text or "\0" in text:
        raise FieldProblem(f"{key}: a text was expected, not {text!r:.40}", place=(key,))
    return text


def _named(recipe_file: str) -> str:
    return Path(recipe_file).parent.name if recipe_file else ""


def _recipe(top: Path, value: Mapping[str, Any], at: Callable[[Place], str]) -> tuple[Recipe, str]:
    """The recipe, and the file that it is from."""
    given = value.get("recipe", {})
    if isinstance(given, str):
        file = top / given
        if not file.is_file():
            raise FieldProblem(f"there is no recipe {file}", "recipes are looked for beside the list", ("recipe",))
        return recipes.load(file), str(file)
    if not isinstance(given, Mapping):
        raise FieldProblem(f"recipe: a file or a table was expected, not {given!r:.40}", place=("recipe",))
    try:
        return recipes.parse(given, ""), ""
    except FieldProblem as error:
        raise FieldProblem(f"recipe: {error.message}", error.hint, ("recipe", *error.place)) from None


def check_push(reference: str) -> None:
    """Raises FieldProblem for what is no name in a registry, or one that a push cannot give."""
    try:
        parsed = Reference.parse(reference)
    except SlimmerError as error:
        raise FieldProblem(f"push: {error.message}", error.hint, ("push",)) from None
    if parsed.digest:
        raise FieldProblem(f"push: {reference} names a digest", "name a tag", ("push",))


def policy_text(place: Path) -> str:
    """A policy's text, once it has been read as one. Raises UsageProblem."""
    load_policy(place)
    return place.read_text(encoding="utf-8")
