"""Ruby gems: `specifications/NAME-VERSION.gemspec` (and `specifications/default/`) beside `gems/NAME-VERSION/`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from slimmer.packages.model import Package, PackageType
from slimmer.packages.places import Places
from slimmer.packages.scope import PackageScope, below, is_directory, legal_texts, text_of
from slimmer.root.model import Root, sort_key

_NAME = re.compile(r"""\.name\s*=\s*["']([^"']+)""")
_VERSION = re.compile(r"""\.version\s*=\s*(?:Gem::Version\.new\(?\s*)?["']([^"']+)""")
_LICENSES = re.compile(r"""\.licenses?\s*=\s*(.*)""")
_QUOTED = re.compile(r"""["']([^"']+)["']""")
_NEEDS = re.compile(r"""\.add_(?:runtime_)?dependency\(?\s*+(?:%q<([^>\n]{1,200})>|["']([^"']+))""")


def claim(root: Root, places: Places, directory: str, names: Sequence[str]) -> Iterator[Gems]:
    """The gem home that this directory is, if it is one."""
    if "specifications" in names and is_directory(root, f"{directory}/specifications"):
        found = Gems(root, directory)
        if found.packages():
            yield found


class Gems(PackageScope):
    """One GEM_HOME."""

    def __init__(self, root: Root, home: str) -> None:
        super().__init__(root, home)
        self._places: dict[str, Package] = {}  # a gem's own directories and its gemspec
        self._needs: dict[Package, Sequence[str]] = {}
        for folder in (f"{home}/specifications", f"{home}/specifications/default"):
            for name in root.children(folder):
                if name.endswith(".gemspec"):
                    self._read(f"{folder}/{name}", name.removesuffix(".gemspec"))

    def _read(self, path: str, full: str) -> None:
        text = text_of(self.root, path)
        name, version = _NAME.search(text), _VERSION.search(text)
        if name is None or version is None:
            return
        licenses = _LICENSES.search(text)
        words = _QUOTED.findall(licenses[1]) if licenses else []
        package = Package(PackageType.GEM, name[1], version[1], license=" OR ".join(words), location=path)
        self._needs[package] = sorted({one or other for one, other in _NEEDS.findall(text)})
        self._places[path] = package
        self._places[f"{self.home}/gems/{full}"] = package
        for platform in self.root.children(f"{self.home}/extensions"):
            for ruby in self.root.children(f"{self.home}/extensions/{platform}"):
                self._places[f"{self.home}/extensions/{platform}/{ruby}/{full}"] = package

    def packages(self) -> Sequence[Package]:
        return tuple(self._needs)

    def owners(self, path: str) -> Sequence[Package]:
        while len(path) > len(self.home):
            found = self._places.get(path)
            if found is not None:
                return (found,)
            path = path.rpartition("/")[0]
        return ()

    def _homes(self, package: Package) -> list[str]:
        return [path for path, owner in self._places.items() if owner == package and self.root.entry(path) is not None]

    def files(self, package: Package) -> Sequence[str]:
        found: set[str] = set()
        for path in self._homes(package):
            found.add(path)
            found.update(below(self.root, path))
        return sorted(found, key=sort_key)

    def metadata_files(self, package: Package) -> Sequence[str]:
        return (package.location,)

    def copyright_files(self, package: Package) -> Sequence[str]:
        found: set[str] = set()
        for path in self._homes(package):
            if is_directory(self.root, path):
                found.update(legal_texts(self.root, path))
        return sorted(found, key=sort_key)

    def depends(self, package: Package) -> Sequence[str]:
        return self._needs[package]
