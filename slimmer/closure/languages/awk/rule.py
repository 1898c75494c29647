"""Awk: the commands that programs run, the files that they read, and what gawk's directives include and load.

An awk program stands in a file with a first line (`#!/usr/bin/awk -f`), in one that `-f` names, or between quotes in a
shell script. Sources: POSIX awk; the manual of gawk, "Including Other Files" and "Loading Dynamic Extensions".
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from slimmer.closure.commands.needs import Embedded
from slimmer.closure.commands.search import head
from slimmer.closure.languages.awk.syntax import Program
from slimmer.closure.languages.base import NOTHING, LanguageRule
from slimmer.closure.model import Need, Reason, View
from slimmer.closure.profiles.load import Profile
from slimmer.root.model import Entry, FileType

SPEAKS = re.compile(r"\bsystem\b|\||\bgetline\b|@(?:include|load)\b")  # a program without these needs nothing
SOURCES = ("/usr/local/share/awk", "/usr/share/awk")
EXTENSIONS = ("/usr/local/lib/gawk", "/usr/lib/gawk", "/usr/lib64/gawk")


class AwkRule(LanguageRule):
    """What kept awk programs start, read, include and load."""

    name = "awk"
    suffixes = re.compile(r"\.[gmn]?awk$")
    programs = re.compile(r"(?:[gmn]|original-|go)?awk")
    # gawk's library stays by profile; a file of it speaks where something includes it
    spared = re.compile(r"^/usr/(?:local/)?share/(?:doc/|awk/)")

    def __init__(self, inline: Mapping[str, Embedded] = NOTHING, profiles: Sequence[Profile] | None = None) -> None:
        super().__init__(inline, profiles)
        self._read: set[str] = set()

    def begin(self, view: View) -> Iterable[Need]:
        yield from super().begin(view)
        multiarch = (f"/usr/lib/{name}/gawk" for name in view.root.children("/usr/lib") if "-linux-" in name)
        self._sources = (*self._environment.directories("AWKPATH"), *SOURCES)
        self._extensions = (*self._environment.directories("AWKLIBPATH"), *multiarch, *EXTENSIONS)

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        if entry.type is FileType.FILE and self.is_source(entry):
            yield from self._file(entry)

    def _file(self, entry: Entry) -> Iterator[Need]:
        if entry.path not in self._read:
            self._read.add(entry.path)
            yield from self.text(head(entry, self._view, self.largest).decode("utf-8", "surrogateescape"), entry.path)

    def text(self, text: str, origin: str) -> Iterator[Need]:
        """What a program needs. `origin` is the canonical path of the file that holds it; "" for none."""
        if SPEAKS.search(text) is None:
            return
        program = Program.read(text.encode("utf-8", "surrogateescape"))
        yield from self._started.calls(program.commands(), origin)
        bases = tuple(dict.fromkeys((*self._environment.workdirs, *([posixpath.dirname(origin)] if origin else ()))))
        for name, line in program.files():
            for base in bases:
                yield Need(posixpath.normpath(posixpath.join(base, name)), self._reason("read", origin, line))
        for name, line in program.directives("@include"):
            for place, found in self._found((*bases, *self._sources), name, ".awk"):
                yield Need(place, self._reason("included", origin, line))
                yield from self._file(found)
        for name, line in program.directives("@load"):
            for place, _ in self._found(self._extensions, name, ".so"):
                yield Need(place, self._reason("loaded", origin, line))

    def _found(self, bases: Iterable[str], name: str, suffix: str) -> Iterator[tuple[str, Entry]]:
        """The files of a name, with the suffix or without, each with its path as named."""
        for base in bases:
            for each in (name, f"{name}{suffix}"):
                place = posixpath.normpath(posixpath.join(base, each))
                found = self._view.root.find(place)
                if found is not None and found.type is FileType.FILE:
                    yield place, found

    def _reason(self, verb: str, origin: str, line: int) -> Reason:
        return Reason(self.name, f"{verb} by {origin} line {line}" if origin else f"{verb} by an awk program", origin)


def awk_text(inline: Mapping[str, Embedded], view: View, text: str, reason: Reason) -> Iterator[Need]:
    """What a program text needs that no file holds (`awk '…'`). `inline` reads what its commands hold in turn."""
    if SPEAKS.search(text) is not None:
        rule = AwkRule(inline)
        list(rule.begin(view))
        yield from (replace(need, reason=reason) for need in rule.text(text, ""))
