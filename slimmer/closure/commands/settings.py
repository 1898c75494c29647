"""Values of configuration files as command lines that they may be: JSON, TOML, and line by line whatever else it is."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator

from slimmer.closure.commands.literals import CommandLine

KEY = re.compile(r"[\"']?[\w./-]{1,60}+[\"']?[ \t]{0,20}+[:=]")


def values(text: str, path: str) -> Iterator[CommandLine]:
    """Texts and lists of texts of a configuration file; a file that is none of its format is read line by line."""
    try:
        if path.endswith(".json"):
            yield from _inside(json.loads(text))
            return
        if path.endswith(".toml"):
            yield from _inside(tomllib.loads(text))
            return
    except (ValueError, RecursionError):
        pass
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith(("#", ";", "//")):
            continue
        value = line.strip().removesuffix(",").rstrip().removeprefix("- ").lstrip()
        if (key := KEY.match(value)) is not None:
            value = value[key.end() :].strip()
        if value.startswith("[") and value.endswith("]"):
            listed = tuple(re.sub(r"^[\"']|[\"']$", "", each.strip()) for each in value[1:-1].split(","))
            yield CommandLine(listed, number)
        elif value and len(value) < 1000:
            quoted = re.fullmatch(r"([\"'])(.*)\1", value)
            yield CommandLine((quoted[2] if quoted else value,), number, True)


def _inside(value: object) -> Iterator[CommandLine]:
    if isinstance(value, str):
        if len(value) < 1000:
            yield CommandLine((value,), 0, True)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _inside(each)
    elif isinstance(value, list):
        if value and all(isinstance(each, str) for each in value):
            yield CommandLine(tuple(value), 0)
        for each in value:
            yield from _inside(each)
