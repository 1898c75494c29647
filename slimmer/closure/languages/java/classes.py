"""The application's Java classes: programs that they start and files that they name.

A text of a class that starts programs counts when it is the name of a program in PATH, or begins with one. In the
application's own code (BOOT-INF/classes, WEB-INF/classes, the package of the main class wherever it stands) a text of
any class counts that looks like a command line, and so does a value of its settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from slimmer.closure.commands.literals import CommandLine
from slimmer.closure.commands.search import Programs
from slimmer.closure.commands.settings import values
from slimmer.closure.languages.base import LanguageRule
from slimmer.closure.languages.java.archive import OWN, Said, handed
from slimmer.closure.languages.java.constants import LARGEST, LIBRARY, constants
from slimmer.closure.languages.java.nested import SUFFIXES, read_whole
from slimmer.closure.languages.java.runtime import native_libraries, own_code
from slimmer.closure.languages.runtimes import system_owner
from slimmer.closure.limits import FOREIGN_TEXT, OWN_TEXT
from slimmer.closure.model import Need, Reason, View
from slimmer.errors import SlimmerError
from slimmer.root.model import Entry, FileType

SHELLS = frozenset({"sh", "/bin/sh", "bash", "/bin/bash", "/usr/bin/sh", "/usr/bin/bash"})


class JavaClassesRule(LanguageRule):
    """What the string constants of classes that no package of the system owns name, in archives inside archives too."""

    name = "java-class"
    command_rule = "java-class"

    def begin(self, view: View) -> Iterable[Need]:
        yield from super().begin(view)
        self._programs = Programs(view)
        self._alone: dict[str, Said] = {}  # classes in directories, by their paths
        self._told: dict[str, bool] = {}  # which of them counted, and whether as one that starts programs
        self._helpers: set[str] = set()  # those of them that start programs, by their names
        self._libraries = native_libraries(view, self._environment)
        self._own = own_code(view, self._environment)

    def visit(self, entry: Entry, view: View) -> Iterator[Need]:
        if entry.type is not FileType.FILE or system_owner(entry.path, view) is not None:
            return
        if entry.path.endswith(".class"):
            try:
                found = constants(view.root.read(entry.path, LARGEST))
            except SlimmerError:
                return
            self._alone[entry.path] = Said(found, OWN.search(entry.path) is not None or self._is_own(found.name))
        elif entry.path.lower().endswith(SUFFIXES):
            for place, jar in read_whole(view.root, entry, self._own).jars:
                for said in jar.classes:
                    # What others wrote and the application brings along has features that it does not use.
                    limit = FOREIGN_TEXT if place and not said.own else None
                    yield from self._named(said, entry.path, view, limit=limit)
                for name, text in jar.settings:
                    yield from self._settings(name, text, entry.path, view)

    def settle(self, view: View) -> Iterator[Need]:
        """Classes that stand alone in directories, when all that were found so far are known."""
        self._helpers |= {said.found.name for said in self._alone.values() if said.own and said.found.starts}
        for path in sorted(self._alone):
            said = handed(self._alone[path], self._helpers)
            if self._told.get(path) != said.found.starts:
                self._told[path] = said.found.starts
                yield from self._named(said, path, view, limit=None)

    def _is_own(self, name: str) -> bool:
        return bool(self._own) and name.startswith(self._own)

    def _named(self, said: Said, path: str, view: View, *, limit: int | None) -> Iterator[Need]:
        needs = self._needs(said, path, view)
        yield from needs if limit is None else self._started.within(needs, path, 0, limit)

    def _needs(self, said: Said, path: str, view: View) -> Iterator[Need]:
        found = said.found
        reason = Reason(self.name, f"named in {path}", path)
        shell = not SHELLS.isdisjoint(found.texts) and "-c" in found.texts
        for text in found.texts:
            if text.startswith("/") and "\0" not in text and text.count("/") > 1:
                there = view.root.find(text)
                if there is not None and there.type is FileType.FILE:
                    yield Need(text, reason)
            if found.loads:
                loaded = Reason("library", f"named in {path}, which loads libraries", path)
                yield from self._libraries.needs(text, loaded) if LIBRARY.fullmatch(text) else ()
            words = text.split()
            if found.starts and words and self._programs.find(words[0]):
                if shell and len(words) > 1:
                    yield from self._started.text(text.encode("utf-8", "surrogateescape"), path)
                else:
                    yield from self._started.line(words, path)
            elif said.own and words:
                line = CommandLine((text,), 0, True)
                yield from self._started.mentions([line], path, OWN_TEXT)

    def _settings(self, name: str, text: str, path: str, view: View) -> Iterator[Need]:
        """Values of the application's settings: command lines by their looks, and files."""
        for line in values(text, name):
            value = line.words[0].removeprefix("file:")
            there = view.root.find(value) if value.startswith("/") and value.count("/") > 1 else None
            if there is not None and there.type is FileType.FILE:
                yield Need(value, Reason(self.name, f"named by {name} in {path}", path))
        yield from self._started.mentions(values(text, name), path, OWN_TEXT)
