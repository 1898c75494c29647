"""Packages of any system, and the index from paths to them."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


class PackageType(enum.StrEnum):
    """The purl type of a package system."""

    DEB = "deb"
    APK = "apk"
    RPM = "rpm"
    PYPI = "pypi"
    NPM = "npm"
    GEM = "gem"
    GOLANG = "golang"
    MAVEN = "maven"


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One installed package. `location` tells two copies of one npm or pypi package apart ("" for OS packages)."""

    type: PackageType
    name: str
    version: str
    architecture: str = ""
    source: str = ""  # source package's name, where it differs
    source_version: str = ""
    license: str = ""  # SPDX expression or the text that the metadata gives
    location: str = ""  # canonical path of the metadata directory


class PackageIndex(Protocol):
    """Built once for a root. All paths are canonical: dpkg's `/bin/sh` is `/usr/bin/sh` after the usr-merge."""

    def owner(self, path: str) -> Package | None:
        """The package that holds a path: the innermost (a wheel's file that a deb also lists is the deb's).

        A directory that several packages share has no owner.
        """

    def owners(self, path: str) -> Sequence[Package]:
        """All packages that hold it, the owner first: directories are shared, a deb may hold a wheel's files."""

    def owners_of_file(self, path: str) -> Sequence[Package]:
        """The same for a path that is known to be no directory: cheaper, the root is not asked."""

    def listed(self) -> int:
        """How many paths the databases of the operating system's packages list."""

    def holders(self, directory: str, names: Sequence[str], carriers: Sequence[str]) -> Mapping[str, Sequence[Package]]:
        """What `owners_of_file` says of many names right in a directory, of those that are held at all.

        `carriers` are all names in it, of directories too, but for such that say nothing to a language's packages.
        """

    def files(self, package: Package) -> Sequence[str]:
        """Canonical paths that a package holds, directories included, sorted as bytes."""

    def packages(self) -> Sequence[Package]:
        """Every installed package, sorted. Looks for language packages in the whole root."""

    def system_packages(self) -> Sequence[Package]:
        """Every package of the operating system's databases, sorted; cheap."""

    def conffiles(self, package: Package) -> Sequence[str]:
        """Canonical paths that the package marks as configuration, sorted as bytes."""

    def depends(self, package: Package) -> Sequence[str]:
        """Names of what it depends on, as its own metadata spells them; alternatives each, sorted."""

    def recommends(self, package: Package) -> Sequence[str]:
        """Names of what usually comes with it (dpkg's Recommends); alternatives each, sorted."""

    def suggests(self, package: Package) -> Sequence[str]:
        """Names of what it can do more with (dpkg's Suggests); alternatives each, sorted."""

    def essential(self, package: Package) -> bool:
        """Whether the package system itself calls it essential (dpkg's Essential: yes)."""

    def priority(self, package: Package) -> str:
        """dpkg's priority ("required", "important", "standard", "optional"), else ""."""

    def license(self, package: Package) -> str:
        """What its metadata or its copyright file says, "" when neither does; reads files, so ask only when needed."""

    def copyright_files(self, package: Package) -> Sequence[str]:
        """Canonical paths of its copyright and licence texts, and of links on the way to them, sorted as bytes."""

    def metadata_files(self, package: Package) -> Sequence[str]:
        """Canonical paths of the files by which scanners know it (METADATA, package.json); none for OS packages."""
