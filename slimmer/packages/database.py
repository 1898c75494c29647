"""The tables of one operating system's package database: paths to packages and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from slimmer.packages.model import Package


@dataclass(frozen=True, slots=True)
class Installed:
    """One package as its database describes it. Paths are canonical, in the database's own order."""

    package: Package
    paths: Sequence[str]
    conffiles: Sequence[str] = ()
    depends: Sequence[str] = ()
    recommends: Sequence[str] = ()
    suggests: Sequence[str] = ()
    essential: bool = False
    priority: str = ""
    origin: str = ""  # for what must read the database again: the base name of dpkg's info files, apk's record
    text: str = ""  # the record itself, as written
    digests: Mapping[str, str] = field(default_factory=dict)  # canonical path → conffile md5 of the status file


class Database:
    """Built once from what a package system lists; the last word on who owns a path."""

    def __init__(self, installed: Iterable[Installed], home: str) -> None:
        self.installed = sorted(installed, key=lambda each: each.package)
        self.home = home  # canonical path of the database's file or directory
        self._alone = [(each.package,) for each in self.installed]
        self.by_package = {each.package: each for each in self.installed}
        self._single: dict[str, int] = {}
        self._shared: dict[str, list[int]] = {}
        single, shared = self._single, self._shared
        for number, each in enumerate(self.installed):
            for path in each.paths:
                before = single.setdefault(path, number)
                if before != number:
                    numbers = shared.setdefault(path, [before])
                    if numbers[-1] != number:
                        numbers.append(number)

    def owners(self, path: str) -> Sequence[Package]:
        """All packages that list a canonical path, sorted."""
        number = self._single.get(path)
        if number is None:
            return ()
        numbers = self._shared.get(path)
        if numbers is None:
            return self._alone[number]  # the same object, so that who counts sees at a glance who holds what
        return [self.installed[each].package for each in numbers]

    def __len__(self) -> int:
        """How many paths are listed."""
        return len(self._single)

    def lists(self, path: str) -> bool:
        return path in self._single
