"""Files that say themselves which packages are in them: Go programs, Java archives. Looked into only when asked for."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence

from slimmer.packages.model import Package
from slimmer.packages.scope import PackageScope
from slimmer.root.model import Entry, FileType, Root


class EmbeddedPackages(PackageScope):
    """The files of one directory that may carry packages; `names` tells them from the rest."""

    lazy = True
    exclusive = True  # the directories below have their own

    def __init__(self, root: Root, home: str, names: frozenset[str]) -> None:
        super().__init__(root, home)
        self._names = names
        self._found: dict[str, tuple[Package, ...]] = {}

    @abc.abstractmethod
    def look(self, entry: Entry) -> tuple[Package, ...]:
        """What a regular file carries; none when it is not of the kind."""

    def packages(self) -> Sequence[Package]:
        return [package for name in sorted(self._names) for package in self._inside(f"{self.home}/{name}")]

    def owners(self, path: str) -> Sequence[Package]:
        folder, _, name = path.rpartition("/")
        return self._inside(path) if folder == self.home and name in self._names else ()

    def among(self, directory: str, names: Sequence[str]) -> Iterator[tuple[str, Sequence[Package]]]:
        return super().among(directory, [name for name in names if name in self._names])

    def reaches(self, directory: str) -> bool:
        return False

    def _inside(self, path: str) -> tuple[Package, ...]:
        known = self._found.get(path)
        if known is None:
            entry = self.root.entry(path)
            known = self.look(entry) if entry is not None and entry.type is FileType.FILE else ()
            self._found[path] = known
        return known

    def files(self, package: Package) -> Sequence[str]:
        return (package.location,)

    def metadata_files(self, package: Package) -> Sequence[str]:
        return (package.location,)

    def copyright_files(self, package: Package) -> Sequence[str]:
        return ()

    def depends(self, package: Package) -> Sequence[str]:
        return ()
