"""Installed gems: where they are, and what of them stays."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from slimmer.root.model import FileType, Root

GEM_TESTS = frozenset(
    """test tests spec specs doc docs examples example benchmark benchmarks ext .github features""".split()  # noqa: SIM905
)
NOT_RUN = re.compile(r"\.(?:c|h|cc|cpp|o|a|md|rdoc|java|gem)$|/(?:Makefile|mkmf\.log|CHANGELOG[^/]*|Changelog[^/]*)$")


@dataclass(frozen=True, slots=True)
class Gem:
    """An installed gem: all paths as found."""

    name: str
    version: str
    specification: str
    directory: str
    extensions: str


def gems_below(home: str, root: Root) -> Iterator[Gem]:
    """The gems of one gem home ("/var/lib/gems/3.1.0")."""
    names = [name for name in root.children(root.resolve(f"{home}/specifications").path) if name.endswith(".gemspec")]
    if root.find(f"{home}/specifications/default") is not None:
        below = root.children(root.resolve(f"{home}/specifications/default").path)
        names += [f"default/{name}" for name in below if name.endswith(".gemspec")]
    for name in names:
        full = posixpath.basename(name).removesuffix(".gemspec")
        found = re.match(r"(.+?)-(\d[\w.]*(?:-[\w-]+)?)$", full)
        if found:
            yield Gem(found[1], found[2], f"{home}/specifications/{name}", f"{home}/gems/{full}", full)


def gem_content(top: str, root: Root) -> Iterator[str]:
    """Canonical paths of a gem's directory without its tests, documentation and sources of compiled parts."""
    pending = [root.resolve(top).path]
    first = True
    while pending:
        directory = pending.pop()
        for name in root.children(directory):
            entry = root.entry(f"{directory}/{name}")
            if entry is None:
                continue
            if entry.type is FileType.DIRECTORY:
                if not (first and name in GEM_TESTS):
                    pending.append(entry.path)
            elif not NOT_RUN.search(entry.path):
                yield entry.path
        first = False
