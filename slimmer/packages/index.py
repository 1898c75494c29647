"""The one index from paths to packages of every kind, built once for a root and lazily where it can be.

The operating system's database is read at once, in one pass. A language
package is found when a path near it is asked for: its directories are looked at
once each, and never more than asked, until `packages()` wants them all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from slimmer.errors import SlimmerError
from slimmer.packages import apk, dpkg, gem, golang, java, npm, pypi, rpm
from slimmer.packages.database import Database, Installed
from slimmer.packages.model import Package, PackageType
from slimmer.packages.places import Places
from slimmer.packages.scope import PackageScope, is_directory, text_of
from slimmer.root.budget import Unread, Watch
from slimmer.root.model import Root, sort_key

CLAIMS = (pypi.claim, npm.claim, gem.claim, java.claim, golang.claim)
CLAIMS_KEPT = 1 << 13  # directories whose claims are remembered
DATABASES = (dpkg.load, apk.load, rpm.load)

_LICENSE = re.compile(r"^License:[ \t]*(\S.*)$", re.MULTILINE)
_COMMON = re.compile(r"/usr/share/common-licenses/([A-Za-z]+(?:-[0-9][0-9.]*[0-9]|-[0-9])?)")


def _databases(root: Root, places: Places) -> tuple[Database, ...]:
    """Raises SlimmerError for one that is damaged, or that holds its reader up."""
    found = []
    watch = Watch()
    with watch.armed():
        for load in DATABASES:
            watch.alive += 1
            watch.reading = True
            try:
                database = load(root, places)
            except Unread as error:
                raise SlimmerError(
                    f"{root.name}: its package database holds its reader up: {error}", "look at where it comes from"
                ) from error
            finally:
                watch.reading = False
            if database is not None:
                found.append(database)
    return tuple(found)


def index(root: Root) -> Index:
    """The index of a root."""
    return Index(root)


class Index:
    """A PackageIndex."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self.places = Places(root)
        self.databases = _databases(root, self.places)
        self._claims: dict[str, tuple[PackageScope, ...]] = {}
        self._territories: dict[tuple[str, type], PackageScope] = {}
        self._of: dict[Package, PackageScope] = {}
        self._complete = False

    def owner(self, path: str) -> Package | None:
        for database in self.databases:
            found = database.owners(path)
            if found:
                shared = len(found) > 1 and (path == "/" or self.names_directory(path))
                return None if shared else found[0]
        claimed = self._claimed(path)
        return claimed[0] if claimed else None

    def owners(self, path: str) -> Sequence[Package]:
        found: list[Package] = []
        for database in self.databases:
            found += database.owners(path)
        return [*found, *self._claimed(path)]

    def owners_of_file(self, path: str) -> Sequence[Package]:
        """The same for a path that is known to be no directory: nothing has to be looked up on disk.

        A link where packages list a directory (`/bin` after the usr-merge) is nobody's file.
        """
        if self.places.is_moved(path):
            return ()
        found: list[Package] = []
        for database in self.databases:
            found += database.owners(path)
        return [*found, *self._claimed(path, file=True)]

    def names_directory(self, path: str) -> bool:
        """Whether packages name something below a canonical path."""
        return self.places.is_moved(path) or any(path in database for database in self.databases)

    def listed(self) -> int:
        return sum(map(len, self.databases))

    def holders(self, directory: str, names: Sequence[str], carriers: Sequence[str]) -> Mapping[str, Sequence[Package]]:
        """What `owners_of_file` says of many names right in a directory, of those that are held at all.

        `carriers` are all names in it, of directories too, but for such that say nothing to a language's packages.
        """
        found: dict[str, Sequence[Package]] = {}
        prefix = f"{directory}/"
        for database in self.databases:
            for name, held in database.holders(directory, names).items():
                found[name] = [*found[name], *held] if name in found else held
        for scope in reversed(self._claims_of(directory, carriers)):
            if scope.home == directory or scope.reaches(directory):
                for name, held in scope.among(directory, names):
                    if scope.lazy:
                        self._of.update((each, scope) for each in held if each not in self._of)
                    before = found.get(name)
                    found[name] = held if before is None else _with(before, held)
        if self.places.has_moved(directory):
            for name in [name for name in found if self.places.is_moved(prefix + name)]:
                del found[name]
        return found

    def installed(self, package: Package) -> Installed | None:
        """The operating system's own record of a package; None for a language's package."""
        for database in self.databases:
            found = database.by_package.get(package)
            if found is not None:
                return found
        return None

    def _paths(self, package: Package) -> Sequence[str] | None:
        """What the operating system's database lists of a package; None for a language's package."""
        for database in self.databases:
            if package in database.by_package:
                return database.paths(package)
        return None

    def files(self, package: Package) -> Sequence[str]:
        listed = self._paths(package)
        if listed is not None:
            return sorted(set(listed), key=sort_key)
        territory = self._territory(package)
        return territory.files(package) if territory else ()

    def packages(self) -> Sequence[Package]:
        self._discover()
        return sorted([*self.system_packages(), *self._of])

    def system_packages(self) -> Sequence[Package]:
        return sorted(each.package for database in self.databases for each in database.installed)

    def conffiles(self, package: Package) -> Sequence[str]:
        record = self.installed(package)
        return record.conffiles if record else ()

    def depends(self, package: Package) -> Sequence[str]:
        record = self.installed(package)
        if record is not None:
            return record.depends
        territory = self._territory(package)
        return territory.depends(package) if territory else ()

    def recommends(self, package: Package) -> Sequence[str]:
        record = self.installed(package)
        return record.recommends if record else ()

    def suggests(self, package: Package) -> Sequence[str]:
        record = self.installed(package)
        return record.suggests if record else ()

    def essential(self, package: Package) -> bool:
        record = self.installed(package)
        return record.essential if record else False

    def priority(self, package: Package) -> str:
        record = self.installed(package)
        return record.priority if record else ""

    def license(self, package: Package) -> str:
        if package.license or package.type is not PackageType.DEB:
            return package.license
        place = self.root.resolve(f"/usr/share/doc/{package.name}/copyright")
        return _debian_license(text_of(self.root, place.path)) if place.entry is not None else ""

    def copyright_files(self, package: Package) -> Sequence[str]:
        listed = self._paths(package)
        if listed is None:
            territory = self._territory(package)
            return territory.copyright_files(package) if territory else ()
        found = {path for path in listed if _is_copyright(path) and self.root.entry(path) is not None}
        if package.type is PackageType.DEB:  # /usr/share/doc/NAME may be a link to another package's directory
            place = self.root.resolve(f"/usr/share/doc/{package.name}/copyright")
            if place.entry is not None:
                found.update((place.path, *place.links))
        return sorted(found, key=sort_key)

    def metadata_files(self, package: Package) -> Sequence[str]:
        territory = None if self.installed(package) else self._territory(package)
        return territory.metadata_files(package) if territory else ()

    def _claimed(self, path: str, *, file: bool = False) -> list[Package]:
        if not file and (path in self._claims or is_directory(self.root, path)):
            territories = self._claims_of(path)
        else:
            territories = self._claims_of(path.rpartition("/")[0])
        if not territories:
            return []
        found: list[Package] = []
        for territory in reversed(territories):  # the innermost first
            held = territory.owners(path)
            if held and territory.lazy:  # what it holds is known one by one; nobody has to look for its home again
                for each in held:
                    self._of.setdefault(each, territory)
            found += [each for each in held if each not in found]
        return found

    def _claims_of(self, directory: str, names: Sequence[str] | None = None) -> tuple[PackageScope, ...]:
        if directory == "/":
            directory = ""
        known = self._claims.get(directory)
        if known is not None:
            return known
        if len(self._claims) >= CLAIMS_KEPT:
            self._forget()
        outer = self._claims_of(directory.rpartition("/")[0]) if directory else ()
        if names is None:
            names = self.root.children(directory or "/")
        own: list[PackageScope] = []
        for claim in CLAIMS:
            for territory in claim(self.root, self.places, directory, names):
                key = (territory.home, type(territory))
                known_as = self._territories.get(key)
                if known_as is None:
                    known_as = self._territories[key] = territory
                    if not territory.lazy:
                        self._of.update((package, territory) for package in territory.packages())
                if known_as not in outer and known_as not in own:
                    own.append(known_as)
        hidden = {type(territory) for territory in own if territory.exclusive}
        claims = (*(each for each in outer if type(each) not in hidden), *own) if own else outer
        self._claims[directory] = claims
        return claims

    def _forget(self) -> None:
        """A root has any number of directories, memory has not: what costs little to find again goes.

        Paths come directory by directory, so that what is asked next was hardly ever there before.
        """
        self._claims.clear()
        for key in [key for key, territory in self._territories.items() if territory.lazy]:
            del self._territories[key]
        for territory in self._territories.values():
            territory.forget()

    def _territory(self, package: Package) -> PackageScope | None:
        found = self._of.get(package)
        if found is None and not self._complete:
            self._discover()
            found = self._of.get(package)
        return found

    def _discover(self) -> None:
        if self._complete:
            return
        for directory in self._directories(""):
            for territory in self._claims_of(directory):
                if territory.lazy and territory.home == directory:
                    self._of.update((package, territory) for package in territory.packages())
        self._complete = True

    def _directories(self, top: str) -> Iterator[str]:
        pending = [top]
        while pending:
            directory = pending.pop()
            yield directory
            for name in reversed(self.root.children(directory or "/")):
                path = f"{directory}/{name}"
                if is_directory(self.root, path) and path not in ("/proc", "/sys", "/dev"):
                    pending.append(path)


def _with(before: Sequence[Package], more: Sequence[Package]) -> Sequence[Package]:
    """Both, each once; the same object where nothing is new."""
    new = [each for each in more if each not in before]
    return [*before, *new] if new else before


def _is_copyright(path: str) -> bool:
    return path.startswith(("/usr/share/doc/", "/usr/share/licenses/")) and (
        path.endswith("/copyright") or path.startswith("/usr/share/licenses/")
    )


def _debian_license(text: str) -> str:
    """The licences that a copyright file names: of a machine-readable one its License fields, else the common ones."""
    head = text[:200].lower()
    if "format:" in head and "copyright-format" in head:
        names = {line.strip() for line in _LICENSE.findall(text)}
    else:
        names = set(_COMMON.findall(text))
    return " AND ".join(sorted(names))
