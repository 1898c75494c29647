"""Units of the application's own: which directories of a root they are, told from the system's.

/app/site/index.html      → /app              no package owns it; / holds units
/var/www/html/index.html  → /var/www          dpkg made the directories, not the page
/etc/nginx/sites/x.conf   → /etc/nginx        content that no package owns, in a package's directory
/usr/lib/python3.11/x.pyc → none              managed: the Python rule knows better
/etc/hosts                → none              /etc holds units and is none
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from slimmer.closure.profiles import globs
from slimmer.closure.profiles.load import Profile
from slimmer.packages.model import Package, PackageIndex, PackageType
from slimmer.root.model import Entry, FileType, Root

SYSTEM = frozenset({PackageType.DEB, PackageType.APK, PackageType.RPM})
# Where package managers of languages install; elsewhere their metadata describes the application itself.
INSTALLED = {
    PackageType.PYPI: ("/site-packages/", "/dist-packages/"),
    PackageType.NPM: ("/node_modules/",),
    PackageType.GEM: ("/gems/", "/specifications/", "/bundle/"),
}
# With no package database everything is unowned, so only what lies in these is taken for an application's.
FOREIGN = ("/usr", "/etc", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/var", "/run", "/boot", "/tmp")
OWN = ("/usr/local", "/var/lib", "/var/www", "/var/opt")


class Units:
    """The application's units in one root."""

    def __init__(self, profiles: Iterable[Profile], root: Root, packages: PackageIndex) -> None:
        places = [profile.places for profile in profiles]
        self._containers = globs.matcher(glob for place in places for glob in place.containers)
        self._managed = globs.matcher(glob for place in places for glob in place.managed)
        self._markers = frozenset(name for place in places for name in place.markers)
        self.large = max((place.large for place in places), default=0)
        self._root = root
        self._packages = packages
        self._database = bool(packages.system_packages())
        self._marked: dict[str, bool] = {}

    def own(self, path: str) -> bool:
        """Whether no package that somebody installed holds a canonical path."""
        return not any(_installed(each) for each in self._packages.owners(path))

    def top(self, path: str) -> str:
        """The unit that a canonical path lies in, or is; empty when it lies in none.

        The highest directory below a container. In managed trees, and in what only
        holds units, there is none.
        """
        if path == "/" or self.managed(path):
            return ""
        top = ""
        here = path
        while here != "/":
            if self._containers.fullmatch(here):
                break
            top = here
            here = posixpath.dirname(here)
        found = self._root.entry(top) if top else None
        if found is None or found.type is not FileType.DIRECTORY:
            return ""
        if not self._database and _below(top, FOREIGN) and not _below(top, OWN):
            return ""
        return top

    def content(self, top: str) -> Iterator[Entry]:
        """What of a unit no package holds, and the directories on the way; managed trees are not entered.

        A directory in which only a language's packages lie is theirs, and stays when they do: empty, it would be
        what neither an installation nor its removal leaves (Python imports it as a namespace package).
        """
        found = self._root.entry(top)
        if found is None:
            return
        yield found
        for name in self._root.children(top):
            path = f"{top}/{name}"
            entry = self._root.entry(path)
            if entry is None or self.managed(path):
                continue
            if entry.type is FileType.DIRECTORY:
                inner = list(self.content(path))
                if len(inner) > 1 or self._stands_alone(path):
                    yield from inner
            elif self.own(path):
                yield entry

    def _stands_alone(self, path: str) -> bool:
        """Whether a directory with nothing of the application's own in it is one all the same."""
        owners = self._packages.owners(path)
        if any(each.type in SYSTEM for each in owners):
            return True
        return not any(map(_installed, owners)) and not self._root.children(path)

    def managed(self, path: str) -> bool:
        """Whether a canonical path lies in, or is, a tree that other rules care for."""
        here = path
        while here != "/":
            known = self._marked.get(here)
            if known is None:
                known = self._marked[here] = self._managed.fullmatch(here) or (
                    not self._containers.fullmatch(here) and self._is_marked(here)
                )
            if known:
                return True
            here = posixpath.dirname(here)
        return False

    def _is_marked(self, path: str) -> bool:
        names = self._root.children(path)
        return any(self._holds(path, names, marker.split("/")) for marker in self._markers)

    def _holds(self, path: str, names: Sequence[str], marker: Sequence[str]) -> bool:
        """Whether a directory with these names holds a marker, a relative path of globs."""
        for name in names:
            if fnmatchcase(name, marker[0]):
                below = f"{path}/{name}"
                if len(marker) == 1 or self._holds(below, self._root.children(below), marker[1:]):
                    return True
        return False


def _installed(package: Package) -> bool:
    if package.type in SYSTEM:
        return True
    return any(part in f"{package.location}/" for part in INSTALLED.get(package.type, ()))


def _below(path: str, tops: Iterable[str]) -> bool:
    return any(path == top or path.startswith(f"{top}/") for top in tops)
