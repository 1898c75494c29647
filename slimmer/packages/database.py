"""The tables of one operating system's package database: paths to packages and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from slimmer.packages.model import Package
from slimmer.packages.table import Numbers, PathTable

Folders = Mapping[str, Sequence[str]]  # names by canonical directory, see Places.folders


@dataclass(frozen=True, slots=True)
class Installed:
    """One package as its database describes it. Paths are canonical."""

    package: Package
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

    def __init__(self, installed: Iterable[tuple[Installed, Folders]], home: str) -> None:
        self.home = home  # canonical path of the database's file or directory
        self._table = PathTable()
        self._numbers: dict[Package, int] = {}
        self._packages: list[Package] = []  # by number
        self._holders: dict[Numbers, Sequence[Package]] = {(): ()}
        found: list[Installed] = []
        for each, folders in installed:
            self._numbers[each.package] = self._table.add(folders)
            self._packages.append(each.package)
            found.append(each)
        self.installed = sorted(found, key=lambda each: each.package)
        self.by_package = {each.package: each for each in self.installed}

    def owners(self, path: str) -> Sequence[Package]:
        """All packages that list a canonical path, sorted."""
        return self._named(self._table.at(path))

    def holders(self, directory: str, names: Iterable[str]) -> dict[str, Sequence[Package]]:
        """The same of names right in a canonical directory ("" is the top), of those that are listed.

        Who holds the same has the same object, so that who counts sees it at a glance.
        """
        listed = self._table.within(directory)
        return {name: self._named(listed[name]) for name in names if name in listed} if listed else {}

    def _named(self, numbers: Numbers) -> Sequence[Package]:
        found = self._holders.get(numbers)
        if found is None:
            found = self._holders[numbers] = tuple(sorted({self._packages[each] for each in numbers}))
        return found

    def paths(self, package: Package) -> Sequence[str]:
        """The canonical paths that a package lists, directory by directory."""
        return list(self._table.of(self._numbers[package]))

    def __contains__(self, directory: str) -> bool:
        """Whether anything is listed in a canonical directory, or below it."""
        return directory in self._table

    def __len__(self) -> int:
        """How many paths are listed, those of several packages as often."""
        return len(self._table)
