"""What a challenge looks at: the fat root, what of it was kept, and how the application is started."""

from __future__ import annotations

import fnmatch
import functools
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass

from slimmer.closure.model import Application
from slimmer.closure.profiles.load import Profile
from slimmer.packages.model import Package, PackageIndex
from slimmer.recipe import DEFAULT_PATH
from slimmer.root.model import Entry, Root
from tracer.recording import Kind, Recording


@dataclass(frozen=True)
class Subject:
    """`kept` are canonical paths of the slim tree, in order."""

    root: Root
    kept: Sequence[str]
    recording: Recording
    packages: PackageIndex
    application: Application
    profiles: Sequence[Profile] = ()

    @functools.cached_property
    def keeps(self) -> frozenset[str]:
        return frozenset(self.kept)

    @functools.cached_property
    def used(self) -> frozenset[str]:
        """Canonical paths that the recording read or executed."""
        found = {each.path for each in self.recording.accesses if each.kinds & {Kind.READ, Kind.EXEC}}
        found |= {each.path for each in self.recording.executions}
        return frozenset(self.root.resolve(each).path for each in found)

    @functools.cached_property
    def executed(self) -> frozenset[str]:
        """Canonical paths of programs that the recording saw started."""
        found = {each.path for each in self.recording.executions}
        found |= {each.path for each in self.recording.accesses if Kind.EXEC in each.kinds}
        return frozenset(self.root.resolve(each).path for each in found)

    @functools.cached_property
    def directories(self) -> tuple[str, ...]:
        """Where the application's programs are looked for, as named."""
        listed = (self.application.env or {}).get("PATH", "") or DEFAULT_PATH
        beside = [posixpath.dirname(each) for each in self.commands if "/" in each]
        return tuple(dict.fromkeys(each for each in (*listed.split(":"), *beside) if each.startswith("/")))

    @functools.cached_property
    def commands(self) -> tuple[str, ...]:
        """First words of what the image is asked to run, as named."""
        return tuple(dict.fromkeys((*self.application.argv[:1], *self.application.executables)))

    @functools.cached_property
    def entries(self) -> tuple[str, ...]:
        """Canonical paths of the application's own programs and scripts: its first words, and files they are given."""
        words = (*self.commands, *self.application.argv[1:])
        found = []
        for word in words:
            path = self.program(word) if word in self.commands else self.file(word)
            if path:
                found.append(self.root.resolve(path).path)
        return tuple(dict.fromkeys(found))

    def program(self, word: str) -> str:
        """The path, as named, at which a word is a program; empty when it is none."""
        if "/" in word:
            places = [posixpath.join(self.application.workdir or "/", word)]
        else:
            places = [f"{each.rstrip('/')}/{word}" for each in self.directories]
        return next((place for place in places if (found := self.root.find(place)) and found.executable), "")

    def file(self, word: str) -> str:
        """The path of a file that an argument names; empty when it names none."""
        if not re.fullmatch(r"[\w./+@-]+", word):
            return ""
        place = posixpath.normpath(posixpath.join(self.application.workdir or "/", word))
        found = self.root.find(place)
        return place if found is not None and found.size else ""

    def stays(self, path: str) -> bool:
        """Whether a path, as named, leads to something that was kept."""
        found = self.root.resolve(path)
        return found.entry is not None and found.path in self.keeps and self.keeps.issuperset(found.links)

    def entry(self, path: str) -> Entry | None:
        return self.root.entry(path)

    @functools.cached_property
    def _base(self) -> tuple[str, ...]:
        return tuple(name for profile in self.profiles for name in profile.programs.base)

    def is_base(self, package: Package) -> bool:
        """Whether a package is the system's own or a language's runtime, and so never the application."""
        return any(fnmatch.fnmatchcase(package.name, each) for each in self._base)
