"""What a package.json says of a package. Source: npm's package.json page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from slimmer.closure.languages.node.imports import LARGEST
from slimmer.errors import SlimmerError
from slimmer.root.model import Root

RUNTIME_FIELDS = ("dependencies", "optionalDependencies", "peerDependencies")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What matters here of a package.json."""

    runtime: tuple[str, ...] = ()
    development: frozenset[str] = frozenset()
    imported: tuple[str, ...] = ()  # values of "imports"
    main: str = ""
    scripts: tuple[tuple[str, str], ...] = ()
    commands: tuple[str, ...] = ()  # names of "bin"
    optional: frozenset[str] = frozenset()  # of `runtime`: what npm may leave out, as for another system


def read_manifest(root: Root, path: str) -> Manifest:
    """A package.json; an empty one when there is none, or it is no JSON."""
    try:
        value = json.loads(root.read(path, LARGEST))
    except (SlimmerError, ValueError, RecursionError):
        return Manifest()
    if not isinstance(value, dict):
        return Manifest()
    runtime = [name for field in RUNTIME_FIELDS for name in _names(value.get(field))]
    bundled = value.get("bundledDependencies") or value.get("bundleDependencies")
    runtime += [name for name in bundled if isinstance(name, str)] if isinstance(bundled, list) else []
    main = value.get("main")
    scripts = value.get("scripts")
    return Manifest(
        tuple(dict.fromkeys(runtime)),
        frozenset(_names(value.get("devDependencies"))) - {*runtime},
        tuple(_strings(value.get("imports"))),
        main if isinstance(main, str) else "",
        tuple((k, v) for k, v in scripts.items() if isinstance(v, str)) if isinstance(scripts, dict) else (),
        tuple(_commands(value)),
        frozenset(_names(value.get("optionalDependencies"))) - {*_names(value.get("peerDependencies"))},
    )


def _commands(value: dict[str, object]) -> list[str]:
    found, name = value.get("bin"), value.get("name")
    if isinstance(found, str) and isinstance(name, str):
        return [name.rpartition("/")[2]]
    return [each for each in _names(found) if "/" not in each]


def _names(value: object) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, dict) else []


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
