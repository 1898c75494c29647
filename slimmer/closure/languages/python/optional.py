"""What one installed distribution imports of another without requiring it, held back until its weight is known.

A distribution says in its metadata what it requires. What its modules import beyond that, most of them in a `try` or a
function, it can do without, and many sources try for numpy. Such an import is followed when the other distribution is
in use anyway, is required by one that is, is imported at once by a module that the application names, or is small. So
it is when an extra of a distribution that the application itself imports requires it, or Debian's package recommends
it: what pandas draws with, whoever installed both meant to be used.
The same goes for modules of the library that speak to a person at a screen; no size makes those small.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from slimmer.closure.languages.python.distributions import SITE_PLACE, DistributionUnits
from slimmer.closure.languages.python.imports import Import, Imports, When
from slimmer.closure.languages.python.origins import top_name
from slimmer.closure.languages.python.path import Python
from slimmer.closure.languages.python.requirements import Requirements
from slimmer.closure.model import ClosureWarning, Omission, View
from slimmer.closure.started import SYSTEM
from slimmer.packages.model import Package, PackageType

KIND = "optional-import"
LEFT_OUT = "distributions that others import if they are there"
WEIGHT = 35
SLIGHT = 20  # where nobody is at a screen
COMPILED = re.compile(r"\.(?:so|pyc)$")


@dataclass(frozen=True, slots=True)
class Held:
    """An import that waits: by which source, and what it leads to."""

    each: Import
    path: str
    python: Python
    target: str  # canonical path of the module that would be imported


class OptionalImports:
    """Units are distributions: the canonical path of their metadata, or the name of a system package without such.

    `limit` is in bytes, 0 for none; `desktop` are modules of the library, each a unit of its own name. `run` tells the
    top names of what is run: those are the application. `follow` gives the canonical paths that an import leads to.
    """

    def __init__(
        self,
        view: View,
        sources: Mapping[str, Imports],
        units: DistributionUnits,
        limit: int,
        desktop: Iterable[str],
        run: Callable[[], frozenset[str]],
        follow: Callable[[Import, str, Python], Iterator[str]],
    ) -> None:
        self._view = view
        self._sources = sources
        self._units = units
        self._limit = limit
        self._desktop = frozenset(desktop)
        self._run = run
        self._follow = follow
        self._requirements = Requirements(view, units)
        self._pythons: list[Python] = []
        self._packages: dict[str, tuple[Package, ...]] = {}  # of each unit, the language's first
        self._unit_of: dict[str, str] = {}
        self._used: dict[str, None] = {}
        self._named: dict[str, None] = {}  # paths that the application's own sources lead to, as named
        self._held: dict[str, list[Held]] = {}  # by unit
        self._told: set[str] = set()

    # ------------------------------------------------------------- while sources are followed

    def enter(self, path: str, python: Python) -> None:
        """A module of a distribution is kept."""
        if all(python is not known for known in self._pythons):
            self._pythons.append(python)
        unit = self._unit(path)
        if unit and not self._units.of_start(path):
            self._used.setdefault(unit)

    def enter_library(self, path: str) -> None:
        """A module of the library is kept."""
        if top_name(path) in self._desktop:
            self._used.setdefault(top_name(path))

    def name(self, path: str) -> None:
        """The application's own sources lead to a path."""
        self._named.setdefault(path)

    def holds(self, each: Import, path: str, python: Python) -> bool:
        """Whether an import by a module of a distribution waits; `released` gives it back, if ever."""
        own_top = top_name(path)
        first = each.module.partition(".")[0]
        if not self._limit or each.level or first == own_top or path.endswith(".pth"):
            return False
        target = self._target(each, python)
        unit = first if target and first in self._desktop else self._unit(target) if target else ""
        if not unit or unit in self._used:
            return False
        own = self._unit(path)
        if own in ("", unit) or own_top in self._run():
            return False
        self._held.setdefault(unit, []).append(Held(each, path, python, target))
        return True

    def _target(self, each: Import, python: Python) -> str:
        """The file that an import leads to, where that lies in a site directory; canonical."""
        chain = python.finder.chain(python.path, each.module)
        found = next((module.files[0] for module in reversed(chain) if module.files), "")
        if chain and not found:  # of a namespace
            members = [python.finder.find(chain[-1].locations, name) for name in each.names]
            found = next((member.files[0] for member in members if member is not None and member.files), "")
        if not SITE_PLACE.match(found) and (not found or each.module.partition(".")[0] not in self._desktop):
            return ""
        return self._view.root.resolve(found).path

    def _unit(self, path: str) -> str:
        if path not in self._unit_of:
            owners = self._view.packages.owners_of_file(path)
            language = [each for each in owners if each.type is PackageType.PYPI]
            system = [each for each in owners if each.type in SYSTEM]
            unit = language[0].location if language else system[0].name if system else ""
            self._unit_of[path] = unit
            self._packages.setdefault(unit, (*language[:1], *system))
        return self._unit_of[path]

    # ---------------------------------------------------------------- once the worklist is dry

    def released(self) -> Iterator[Held]:
        """The imports that are followed after all. What stays out is told to the view, once."""
        some = False
        while self._held:
            ready = self._required()
            if not ready and not some:
                ready = self._certain() or self._small()
            if not ready:
                break
            for unit in ready:
                some = True
                self._used.setdefault(unit)
                yield from self._held.pop(unit)

    def _required(self) -> list[str]:
        """Units that wait though they are in use, or required by what is."""
        chosen = {unit for path in self._named if (unit := self._unit(self._view.root.resolve(path).path))}
        units = self._requirements.of(self._used, self._pythons, whole=chosen)
        # Debian's packages depend on what an author gives an extra for: fonttools on scipy and sympy.
        beyond = {each.name for each in self._system(self._requirements.for_extras(self._used) - units)}
        names = self._units.required(self._system(self._used), beyond) | self._recommended(chosen)
        return [
            unit
            for unit in sorted(self._held)
            if unit in units or any(each.name in names for each in self._system([unit]))
        ]

    def _recommended(self, units: Iterable[str]) -> frozenset[str]:
        """Names of the system packages that those of some units recommend or suggest."""
        packages, index = self._system(units), self._view.packages
        return frozenset(name for each in packages for name in (*index.recommends(each), *index.suggests(each)))

    def _system(self, units: Iterable[str]) -> frozenset[Package]:
        """The system packages that hold units."""
        return frozenset(each for unit in units for each in self._packages.get(unit, ()) if each.type in SYSTEM)

    def _certain(self) -> list[str]:
        """Units that a module which the application leads to imports as it is loaded."""
        root = self._view.root
        pending = [path for path in self._named if SITE_PLACE.match(path) and not COMPILED.search(path)]
        pending = [found.path for path in pending if (found := root.find(path)) is not None]
        certain = set(pending)
        while pending:
            path = pending.pop()
            for each in self._sources[path].imports if path in self._sources else ():
                if each.when is When.LOADED:
                    for python in self._pythons:
                        fresh = {other for other in self._follow(each, path, python) if other not in certain}
                        certain |= fresh
                        pending += fresh
        return [
            unit
            for unit in sorted(self._held)
            if any(held.path in certain and held.each.when is When.LOADED for held in self._held[unit])
        ]

    def _small(self) -> list[str]:
        """Units that are worth no question; of the others it is said what they would bring."""
        small = []
        for unit in sorted(self._held):
            size = self._size(unit)
            if size <= self._limit and unit not in self._desktop:
                small.append(unit)
            elif unit not in self._told:
                self._told.add(unit)
                self._tell(unit, size)
        return small

    def _size(self, unit: str) -> int:
        """Bytes that a unit would bring: itself, what it requires and no other does, their libraries."""
        brings = self._requirements.of([unit], self._pythons) - self._requirements.of(self._used, self._pythons)
        packages = [each for other in sorted(brings | {unit}) for each in self._package(other)]
        if unit in self._desktop:
            return self._units.weigh_module(self._held[unit][0].target, self._held[unit][0].python)
        names = self._units.required(self._system([unit])) - self._units.required(self._system(self._used))
        packages += [each for each in self._view.packages.system_packages() if names and each.name in names]
        return self._units.weigh(packages)

    def _package(self, unit: str) -> tuple[Package, ...]:
        if unit in self._packages:
            return self._packages[unit][:1]
        for place in (f"{unit}/METADATA", f"{unit}/PKG-INFO", unit):
            for each in self._view.packages.owners(place):
                if each.location == unit:
                    return (each,)
        return ()

    def _tell(self, unit: str, size: int) -> None:
        waiting = sorted(self._held[unit], key=lambda held: (held.path, held.each.line))
        first = waiting[0]
        others = len({held.path for held in waiting}) - 1
        more = f" (and {others} more of its like)" if others else ""
        name = self._packages[unit][0].name if unit in self._packages else unit
        text = (
            f"{name} is imported by {first.path} line {first.each.line}{more} if it is there; the run did not"
            f" load it, nothing in use requires it and it would bring {size:,} bytes, so it stays out;"
            f" --include {first.target} keeps it"
        )
        self._view.warn(ClosureWarning(KIND, first.target, text, SLIGHT if unit in self._desktop else WEIGHT))
        self._view.left_out(Omission(LEFT_OUT, first.target))
