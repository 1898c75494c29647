"""Where Composer's autoloader finds an application's own classes (https://getcomposer.org/doc/04-schema.md#autoload)."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from slimmer.root.model import FileType, Root

LOADERS = ("psr-4", "psr-0", "classmap", "files")
NO_CLASSES = frozenset({".git", ".github", "node_modules"})


@dataclass(frozen=True, slots=True)
class Autoload:
    """A file or a directory of classes, as found, and the loader that looks there."""

    path: str
    loader: str


@dataclass(frozen=True, slots=True)
class Project:
    """A composer.json: where it is, where its packages are, and its own places of classes."""

    vendor: str
    autoloads: tuple[Autoload, ...]


def project(text: str, here: str) -> Project:
    """What a composer.json in the directory `here` says; of one that is broken, Composer's defaults."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = {}
    config = _table(_table(value).get("config"))
    vendor = config.get("vendor-dir")
    places = [
        Autoload(posixpath.normpath(posixpath.join(here, place)), loader)
        for loader in LOADERS
        for place in _places(_table(_table(value).get("autoload")).get(loader))
    ]
    return Project(
        posixpath.normpath(posixpath.join(here, vendor if isinstance(vendor, str) else "vendor")),
        tuple(dict.fromkeys(places)),
    )


def sources(autoload: Autoload, vendor: str, root: Root) -> Iterator[str]:
    """The PHP sources that a place of classes holds; the packages below it are none of them."""
    entry = root.find(autoload.path)
    if entry is None:
        return
    if entry.type is FileType.FILE:
        yield autoload.path
        return
    pending = [entry.path] if entry.type is FileType.DIRECTORY else []
    while pending:
        directory = pending.pop()
        for name in root.children(directory):
            each = root.entry(f"{directory.rstrip('/')}/{name}")
            if each is None or each.path == vendor or name in NO_CLASSES:
                continue
            if each.type is FileType.DIRECTORY:
                pending.append(each.path)
            elif name.endswith((".php", ".inc")):  # what Composer's ClassMapGenerator takes
                yield each.path


def development(text: str) -> frozenset[str]:
    """Names of packages that Composer installed for development only, of an installed.json."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return frozenset()
    names = _table(value).get("dev-package-names")
    return frozenset(name for name in names if isinstance(name, str)) if isinstance(names, list) else frozenset()


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _places(value: Any) -> Iterator[str]:
    """psr-4: {prefix: place or [places]}; classmap and files: [places]."""
    for each in value.values() if isinstance(value, dict) else [value]:
        yield from (place for place in (each if isinstance(each, list) else [each]) if isinstance(place, str))
