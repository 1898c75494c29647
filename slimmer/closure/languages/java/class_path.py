"""From parts of class paths, wherever they stand, to the paths of a root that they name."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from slimmer.closure.languages.base import Environment
from slimmer.closure.languages.java.command import JavaCommand, read_command
from slimmer.closure.languages.java.scripts import HOLE, ClassPath, patterns
from slimmer.closure.model import Need, Reason, View
from slimmer.errors import SlimmerError
from slimmer.root.model import FileType

ARCHIVES = (".jar", ".war", ".zip")
# Directories that hold the system's or several applications' files; none is one application's classes.
SYSTEM = re.compile(
    r"/(?:usr|etc|var|home|root|opt|srv|tmp|run|proc|sys|dev|mnt|media|boot|s?bin|lib\w*"
    r"|usr/(?:local|share|s?bin|lib\w*)|usr/local/(?:share|s?bin|lib\w*)|usr/share/java|var/(?:lib|cache|log)|home/[^/]+)?"
)
TREE = 64 << 20  # bytes of a directory of classes that stays whole
SHARED = "/usr/share/java"  # Debian's Java policy, 2.4; Fedora's too


class ClassPaths:
    """Needs of parts of class paths. Relative ones are looked up from each directory that a process worked in."""

    def __init__(self, view: View, environment: Environment, rule: str) -> None:
        self._view = view
        self._rule = rule
        self._workdirs = tuple(each for each in environment.workdirs if each.startswith("/"))

    def read(self, arguments: Iterable[str]) -> JavaCommand:
        """A launcher's arguments, those of argument files of the root with them."""
        return read_command([*arguments], self._text)

    def command(self, command: JavaCommand, reason: Reason) -> Iterator[Need]:
        """Everything that a launcher's words name."""
        for part in command.class_path:
            yield from self.part(part, reason)
        for part in (*command.module_path, command.jar, *command.jars):
            yield from self.part(part, reason)
        for part in command.directories:
            yield from self.part(f"{part}/*", reason)
            yield from self.part(part, reason)
        for place in command.libraries:
            for found in self._places(place):
                for name in self._names(found):
                    if re.search(r"\.so(?:\.\d+)*$", name):
                        yield Need(f"{found}/{name}", reason)
        for path in command.files:
            for found in self._places(path):
                there = self._view.root.find(found)
                if there is not None and there.type is FileType.FILE:
                    yield Need(found, reason)

    def part(self, part: str, reason: Reason) -> Iterator[Need]:
        """One part: an archive, a directory with classes, or all archives of a directory."""
        for place in self._places(part) if part else ():
            if posixpath.basename(place) == "*":
                yield from self._matching(posixpath.dirname(place), "*.jar", reason)
            else:
                yield from self._element(place, reason)

    def script(self, found: ClassPath, path: str) -> Iterator[Need]:
        """What a start script at a path names. What it leaves open may lie beside it or above it."""
        here = posixpath.dirname(path)
        bases = tuple(dict.fromkeys((here, posixpath.dirname(here), *self._workdirs)))
        bases = tuple(base.rstrip("/") for base in bases)
        for each in found.parts:
            reason = Reason(self._rule, f"on the class path of {path} line {each.line}", path)
            for pattern in patterns(each.text, bases):
                place = posixpath.normpath(pattern)
                last = posixpath.basename(place)
                if last == "*" or "*" in last or "?" in last:
                    yield from self._matching(
                        posixpath.dirname(place), last if last.lower().endswith(ARCHIVES) else "*.jar", reason
                    )
                elif last.lower().endswith(ARCHIVES) or each.directory:
                    yield from self._element(place, reason)
        for each in found.trees:
            reason = Reason(self._rule, f"found below its directory by {path} line {each.line}", path)
            for pattern in patterns(f"{each.text}/*", bases):
                yield from self._below(posixpath.normpath(posixpath.dirname(pattern)), reason)
        for each in found.names:
            reason = Reason(self._rule, f"looked for by name by {path} line {each.line}", path)
            if HOLE not in each.text and re.fullmatch(r"[\w.+/-]+", each.text):
                yield Need(f"{SHARED}/{each.text.removesuffix('.jar')}.jar", reason)

    def _places(self, path: str) -> Iterator[str]:
        if path.startswith("/"):
            yield posixpath.normpath(path)
        elif path:
            yield from dict.fromkeys(posixpath.normpath(f"{base}/{path}") for base in self._workdirs)

    def _element(self, place: str, reason: Reason) -> Iterator[Need]:
        found = self._view.root.find(place)
        if found is None:
            return
        if found.type is not FileType.DIRECTORY:
            yield Need(place, reason)
            return
        whole, size = SYSTEM.fullmatch(found.path) is None, 0
        for entry in self._view.root.walk(found.path) if whole else ():
            size += entry.size
            if size > TREE:
                whole = False
                break
        yield Need(place, reason, tree=whole)

    def _names(self, directory: str) -> Iterable[str]:
        return self._view.root.children(self._view.root.resolve(directory).path)

    def _matching(self, directory: str, pattern: str, reason: Reason) -> Iterator[Need]:
        for name in self._names(directory):
            if fnmatchcase(name.lower(), pattern.lower()):
                yield Need(f"{directory}/{name}", reason)

    def _below(self, directory: str, reason: Reason) -> Iterator[Need]:
        found = self._view.root.find(directory)
        if found is None or SYSTEM.fullmatch(found.path):
            return
        for entry in self._view.root.walk(found.path):
            if entry.path.lower().endswith(".jar"):
                yield Need(entry.path, reason)

    def _text(self, path: str) -> str:
        for place in self._places(path):
            try:
                return self._view.root.read(place, 1 << 16).decode("utf-8", "surrogateescape")
            except SlimmerError:
                continue
        return ""
