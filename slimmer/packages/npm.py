"""Node packages: a directory whose package.json has a name and a version, and all below it but the packages inside.

Source: npm's package.json and folders(5) pages. `node_modules` itself belongs to nobody.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from slimmer.packages.model import Package, PackageType
from slimmer.packages.places import Places
from slimmer.packages.scope import PackageScope, is_directory, legal_texts, text_of
from slimmer.root.model import Root, sort_key


def claim(root: Root, places: Places, directory: str, names: Sequence[str]) -> Iterator[NpmTree]:
    """The package that this directory is, if it is one."""
    if "package.json" in names:
        value = _value(root, f"{directory}/package.json")
        name, version = value.get("name"), value.get("version")
        if isinstance(name, str) and isinstance(version, str) and name and version:
            yield NpmTree(
                root,
                directory,
                Package(PackageType.NPM, name, version, license=_license(value), location=directory or "/"),
            )


def _value(root: Root, path: str) -> dict[str, Any]:
    try:
        value = json.loads(text_of(root, path))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _license(value: dict[str, Any]) -> str:
    found = value.get("license") or value.get("licenses")
    if isinstance(found, list):
        words = [each.get("type") if isinstance(each, dict) else each for each in found]
        return " OR ".join(word for word in words if isinstance(word, str))
    if isinstance(found, dict):
        found = found.get("type")
    return found if isinstance(found, str) else ""


class NpmTree(PackageScope):
    """One package."""

    exclusive = True

    def __init__(self, root: Root, home: str, package: Package) -> None:
        super().__init__(root, home)
        self._package = package

    def packages(self) -> Sequence[Package]:
        return (self._package,)

    def owners(self, path: str) -> Sequence[Package]:
        if path == self.home:
            return (self._package,)
        rest = path[len(self.home) + 1 :]
        if not self.home:  # an application at the top does not hold the whole system
            return (self._package,) if rest == "package.json" else ()
        return () if "node_modules" in rest.split("/") else (self._package,)

    def among(self, directory: str, names: Sequence[str]) -> Iterator[tuple[str, Sequence[Package]]]:
        if not self.home:
            yield from super().among(directory, names)
        elif held := self.owners(directory):
            yield from ((name, held) for name in names)

    def reaches(self, directory: str) -> bool:
        return bool(self.owners(directory))

    def files(self, package: Package) -> Sequence[str]:
        if not self.home:
            return ("/package.json",)
        return sorted([self.home, *self._below(self.home)], key=sort_key)

    def _below(self, top: str) -> Iterator[str]:
        for name in self.root.children(top):
            path = f"{top}/{name}"
            if name == "node_modules":
                continue
            if not is_directory(self.root, path):
                yield path
                continue
            inner = _value(self.root, f"{path}/package.json")
            if not (isinstance(inner.get("name"), str) and isinstance(inner.get("version"), str)):
                yield path
                yield from self._below(path)

    def metadata_files(self, package: Package) -> Sequence[str]:
        return (f"{self.home}/package.json",)

    def copyright_files(self, package: Package) -> Sequence[str]:
        return legal_texts(self.root, self.home) if self.home else ()

    def depends(self, package: Package) -> Sequence[str]:
        value = _value(self.root, f"{self.home}/package.json").get("dependencies")
        return sorted(value) if isinstance(value, dict) else ()
