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

    def owners_of_file(self, path: str) -> Sequence[Package]:
        return self.owners(path)

    def owners(self, path: str) -> Sequence[Package]:
        return [package for package, paths in self._files.items() if path in paths]

    def listed(self) -> int:
        return sum(map(len, self._files.values()))

    def holders(self, directory: str, names: Sequence[str], carriers: Sequence[str]) -> Mapping[str, Sequence[Package]]:
        return {name: held for name in names if (held := self.owners(f"{directory}/{name}"))}

    def files(self, package: Package) -> Sequence[str]:
        return self._files.get(package, ())

    def packages(self) -> Sequence[Package]:
        return sorted(self._files)

    def system_packages(self) -> Sequence[Package]:
        return self.packages()

    def conffiles(self, package: Package) -> Sequence[str]:
        return ()

    def depends(self, package: Package) -> Sequence[str]:
        return ()

    def recommends(self, package: Package) -> Sequence[str]:
        return ()

    def suggests(self, package: Package) -> Sequence[str]:
        return ()

    def essential(self, package: Package) -> bool:
        return False

    def priority(self, package: Package) -> str:
        return ""

    def license(self, package: Package) -> str:
        return ""

    def copyright_files(self, package: Package) -> Sequence[str]:
        return ()

    def metadata_files(self, package: Package) -> Sequence[str]:
        return ()
