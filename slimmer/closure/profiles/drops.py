"""What whole units (a package, an application's directory) leave out, as the profiles' drop lists say."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from slimmer.closure.profiles import globs
from slimmer.closure.profiles.load import OF, Drop, Profile
from slimmer.packages.model import Package, PackageIndex
from slimmer.root.model import Entry, FileType, Root
from slimmer.root.noting import total


@dataclass(frozen=True, slots=True)
class Dropped:
    """A path that a unit left out: with everything below it where it is a directory."""

    path: str
    why: str
    profile: str


@dataclass(frozen=True, slots=True)
class _Entry:
    profile: str
    drop: Drop
    matches: globs.Globs
    excluded: globs.Globs


class Drops:
    """The drop lists of all profiles, active or not: their globs are specific enough to stand alone."""

    def __init__(self, profiles: Iterable[Profile]) -> None:
        entries = [
            _Entry(profile.name, drop, globs.matcher(drop.paths), globs.matcher(drop.excluding))
            for profile in profiles
            for drop in profile.drop
        ]
        self._application = [entry for entry in entries if entry.drop.of == "application"]
        self._packages = [entry for entry in entries if entry.drop.of == "packages"]
        self._languages = {
            language: [entry for entry in entries if entry.drop.of == language]
            for language in OF
            if language not in ("application", "packages")
        }
        self._any_package = globs.whole(path for entry in self._packages for path in entry.drop.paths)
        self._but = globs.matcher(path for entry in self._packages for path in entry.drop.excluding)

    def of_package(self, path: str) -> bool:
        """Whether a package that stays whole stays without this path."""
        return self._any_package.fullmatch(path) and not self._but.fullmatch(path)

    def package_files(self, root: Root, packages: PackageIndex, package: Package) -> Iterator[Entry]:
        """A package's run-time paths that are in the root, directories that are only its own included."""
        for path in packages.files(package):
            if not self.of_package(path) and (found := root.entry(path)) is not None:
                yield found

    def of_language(self, language: str, path: str, top: str, root: Root) -> Dropped | None:
        """Why a path below a language package's directory `top` is no run-time part of it; None when it may be."""
        return self._first(self._languages[language], path, top, root)

    def of_application(self, path: str, top: str, root: Root) -> Dropped | None:
        """Why a path below `top` is no run-time part of the application; None when it may be."""
        return self._first(self._application, path, top, root)

    def _first(self, entries: Sequence[_Entry], path: str, top: str, root: Root) -> Dropped | None:
        relative = path[len(top) :] if top != "/" else path
        for entry in entries:
            if entry.excluded.fullmatch(relative):
                continue
            if entry.matches.fullmatch(relative) and (not entry.drop.beside or _beside(entry.drop, path, top, root)):
                return Dropped(path, entry.drop.why, entry.profile)
        return None


def _beside(drop: Drop, path: str, top: str, root: Root) -> bool:
    known = globs.names(drop.beside)
    directory = path
    while len(directory) > len(top):
        directory = posixpath.dirname(directory)
        if any(known.fullmatch(name) for name in root.children(directory)):
            return True
    return False


def size_of(entries: Sequence[Entry]) -> int:
    """Bytes of the regular files among them, hard links once."""
    sizes = {
        (each.identity if each.links > 1 else each.path): each.size for each in entries if each.type is FileType.FILE
    }
    return total(sizes.values())
