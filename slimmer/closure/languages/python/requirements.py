"""What installed distributions require of each other, over any number of steps, extras only where they are asked for.

Sources: the dependency specifiers and "Core metadata specifications" (Requires-Dist) of the Python packaging guide,
and setuptools' requires.txt, whose sections are "[extra]", "[:marker]" and "[extra:marker]". Other markers than `extra`
count as fulfilled: what they keep from being installed is not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from slimmer.closure.languages.python.distributions import DistributionUnits
from slimmer.closure.languages.python.path import Python
from slimmer.closure.model import View
from slimmer.errors import SlimmerError

REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?")
EXTRA = re.compile(r"""\bextra\s*==\s*["']([^"']+)["']|["']([^"']+)["']\s*==\s*extra\b""")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One line: what is required, with which of its extras, and for which extra of the one that requires."""

    name: str
    extras: frozenset[str] = frozenset()
    only_for: frozenset[str] = frozenset()  # any of them; empty: always


def normalized(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse_metadata(text: str) -> Iterator[Requirement]:
    """The Requires-Dist headers of METADATA or PKG-INFO."""
    head = re.split(r"\r?\n\r?\n", text, maxsplit=1)[0]
    for line in re.findall(r"(?im)^requires-dist:(.*)", head):
        specifier, _, marker = line.partition(";")
        yield from _requirement(specifier, frozenset(normalized(a or b) for a, b in EXTRA.findall(marker)))


def parse_sections(text: str) -> Iterator[Requirement]:
    """A requires.txt."""
    only_for: frozenset[str] = frozenset()
    for line in text.splitlines():
        section = re.fullmatch(r"\s*\[([^:\]]*)(?::.*)?\]\s*", line)
        if section:
            only_for = frozenset({normalized(section[1])} if section[1] else ())
        elif not line.lstrip().startswith("#"):
            yield from _requirement(line, only_for)


def _requirement(specifier: str, only_for: frozenset[str]) -> Iterator[Requirement]:
    found = REQUIREMENT.match(specifier)
    if found:
        extras = frozenset(normalized(each.strip()) for each in (found[2] or "").split(",") if each.strip())
        yield Requirement(normalized(found[1]), extras, only_for)


class Requirements:
    """Of the distributions of one root, each known by the canonical path of its metadata."""

    def __init__(self, view: View, units: DistributionUnits) -> None:
        self._view = view
        self._units = units
        self._by_name: dict[str, dict[str, None]] = {}
        self._sites: set[str] = set()
        self._lines: dict[str, tuple[Requirement, ...]] = {}

    def of(self, places: Iterable[str], pythons: Sequence[Python], whole: Iterable[str] = ()) -> set[str]:
        """These and all that they require, as far as it is installed where these Pythons look.

        Of those that are `whole` what any of their extras requires too.
        """
        for python in pythons:
            for site in python.sites:
                self._learn(site)
        asked: dict[str, frozenset[str]] = {}
        pending = [(place, frozenset[str]()) for place in places]
        pending += [(place, self._extras(place)) for place in whole]
        while pending:
            place, extras = pending.pop()
            known = asked.get(place)
            if known is not None and extras <= known:
                continue
            asked[place] = extras | (known or frozenset())
            for each in self._required_by(place):
                if not each.only_for or each.only_for & asked[place]:
                    pending += [(other, each.extras) for other in self._by_name.get(each.name, ())]
        return set(asked)

    def for_extras(self, places: Iterable[str]) -> set[str]:
        """What these name for their extras alone: by their author's word they can do without it."""
        found: set[str] = set()
        for place in places:
            lines = self._required_by(place)
            always = {each.name for each in lines if not each.only_for}
            for name in {each.name for each in lines} - always:
                found.update(self._by_name.get(name, ()))
        return found

    def _learn(self, site: str) -> None:
        if site not in self._sites:
            self._sites.add(site)
            for each in self._units.distributions.all(site):
                place = self._view.root.resolve(each.metadata).path
                self._by_name.setdefault(normalized(each.name), {}).setdefault(place)

    def _extras(self, place: str) -> frozenset[str]:
        """All that a distribution has."""
        return frozenset[str]().union(*(each.only_for for each in self._required_by(place)))

    def _required_by(self, place: str) -> tuple[Requirement, ...]:
        if place not in self._lines:
            texts = [self._text(f"{place}/METADATA") or self._text(f"{place}/PKG-INFO") or self._text(place)]
            found = [*parse_metadata(texts[0]), *parse_sections(self._text(f"{place}/requires.txt"))]
            self._lines[place] = tuple(found)
        return self._lines[place]

    def _text(self, path: str) -> str:
        try:
            return self._view.root.read(path).decode("utf-8", "replace")
        except SlimmerError:
            return ""
