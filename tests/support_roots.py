"""A root and a package index from data, for rules' tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slimmer.packages.model import Package


class Owned:
    """A package index from {package: paths}. Without arguments: nothing is owned."""

    def __init__(self, files: Mapping[Package, Sequence[str]] | None = None) -> None:
        self._files = dict(files or {})

    def owner(self, path: str) -> Package | None:
        return next(iter(self.owners(path)), None)

    def owners(self, path: str) -> Sequence[Package]:
        return [package for package, paths in self._files.items() if path in paths]

    def files(self, package: Package) -> Sequence[str]:
        return self._files.get(package, ())

    def packages(self) -> Sequence[Package]:
        return sorted(self._files)
