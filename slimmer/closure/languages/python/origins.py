"""Whose a source is, told by where it lies."""

from __future__ import annotations

import enum
import re

from slimmer.closure.languages.python.path import Installation
from slimmer.closure.languages.runtimes import SYSTEM
from slimmer.closure.model import View

PLACE = re.compile(r"/(?:site-packages|dist-packages|python\d{1,3}\.\d{1,3}(?:/lib-dynload)?)(?=/)")


class Origin(enum.Enum):
    """Whose a source is; decides how far its words are believed."""

    LIBRARY = "standard library"
    SITE = "third party"
    APPLICATION = "application"


def origin_of(path: str, view: View) -> Origin:
    """The standard library's, a distribution's, or the application's own."""
    if re.search(r"/(?:site|dist)-packages/", path):
        return Origin.SITE
    if re.search(r"/lib(?:64)?/python\d+\.\d+/", path):
        return Origin.LIBRARY
    owner = view.packages.owner(path)
    return Origin.SITE if owner is not None and owner.type in SYSTEM else Origin.APPLICATION


def belongs(path: str, installation: Installation) -> bool:
    """Whether an installation would ever load a source: not one of another version's library."""
    found = re.search(r"/lib(?:64)?/python(\d+\.\d+)/", path)
    return found is None or found[1] == installation.version


def top_name(path: str) -> str:
    """The first name of a module's dotted name."""
    return dotted_name(path).partition(".")[0]


def unit_of(path: str) -> str:
    """What a third party's source counts as: its package, or itself where it is a script."""
    return top_name(path) or path


def dotted_name(path: str) -> str:
    """The name by which a module is imported that lies in a library or in a site directory; empty elsewhere."""
    ends = [found.end() for found in PLACE.finditer(path)]
    if not ends:
        return ""
    # The last of them counts: a site directory lies in a library.
    directory, _, file = path[ends[-1] + 1 :].rpartition("/")
    stem = file.partition(".")[0]
    return "/".join(filter(None, (directory, "" if stem == "__init__" else stem))).replace("/", ".")
