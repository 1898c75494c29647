"""Packages that are never taken whole though the application runs them: the base system and runtimes of languages."""

from __future__ import annotations

from collections.abc import Iterable

from slimmer.closure.model import View
from slimmer.closure.profiles import globs
from slimmer.closure.profiles.load import Profile
from slimmer.packages.model import Package


class SystemBase:
    """What the profiles' `[programs]` say of it."""

    def __init__(self, profiles: Iterable[Profile]) -> None:
        programs = [profile.programs for profile in profiles]
        self._names = globs.names(name for each in programs for name in each.base)
        self._priorities = frozenset(name for each in programs for name in each.priorities)

    def holds(self, package: Package, view: View) -> bool:
        """Whether a package is part of it."""
        return (
            self._names.fullmatch(package.name)
            or view.packages.essential(package)
            or view.packages.priority(package) in self._priorities
        )
