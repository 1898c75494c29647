"""SWI-Prolog: consulted files and libraries, foreign libraries, and started programs.

`library(x)` is a file of the interpreter's library or of an installed pack. A predicate that nobody defines is loaded
from the library that INDEX.pl names for it when it is first called. Source: the manual of SWI-Prolog, 4.3 (loading),
2.14 (autoloading), 15.2 (packs).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from slimmer.closure.commands.needs import Embedded
from slimmer.closure.commands.search import head
from slimmer.closure.languages.base import NOTHING, LanguageRule
from slimmer.closure.languages.prolog import syntax
from slimmer.closure.languages.runtimes import system_owner
from slimmer.closure.model import Need, Reason, View
from slimmer.closure.profiles.load import Profile
from slimmer.root.model import Entry, FileType

HOMES = (
    "/usr/lib/swi-prolog",
    "/usr/lib64/swi-prolog",
    "/usr/local/lib/swipl",
    "/usr/lib/swipl",
    "/opt/swipl/lib/swipl",
)
PACKS = ("/usr/share/swi-prolog/pack", "/usr/lib/swi-prolog/pack", "/usr/local/share/swi-prolog/pack")
PARTS = ("boot", "boot.prc", "swipl.home", "library/INDEX.pl")
INTERPRETER = re.compile(r"/(?:swipl|libswipl\.so[.\d]{0,20})$")
INDEXED = re.compile(r"^index\(\(([^()\n]{1,100})\), \d+, [\w/]{1,100}, ([\w/]{1,100})\)", re.M)
SUFFIXES = ("", ".pl", ".prolog", ".qlf", ".plt")


class PrologRule(LanguageRule):
    """Loaded files, libraries and started programs of the application's own Prolog sources."""

    name = language = "prolog"
    suffixes = re.compile(r"\.(?:pl|pro|prolog|plt)$")
    programs = re.compile(r"swipl")

    def __init__(self, inline: Mapping[str, Embedded] = NOTHING, profiles: Sequence[Profile] | None = None) -> None:
        super().__init__(inline, profiles)
        self._aliases: dict[str, list[str]] = {}
        self._waiting: list[tuple[str, str, Reason]] = []  # names by aliases that another source may declare
        self._index: dict[str, str] = {}  # predicate → library

    def begin(self, view: View) -> Iterable[Need]:
        yield from super().begin(view)
        self._homes = [home for home in HOMES if view.root.find(f"{home}/boot.prc") is not None]
        data = [f"{home}/.local/share/swi-prolog/pack" for home in self._environment.values("HOME")]
        packs = [f"{top}/{name}/prolog" for top in (*data, *PACKS) for name in view.root.children(top)]
        self._aliases["library"] = [*(f"{home}/library" for home in self._homes), *packs]
        self._aliases["foreign"] = [
            f"{top}/{name}"
            for home in (*self._homes, *(posixpath.dirname(pack) for pack in packs))
            for top in (f"{home}/lib", f"{home}/../lib")
            for name in ("", *view.root.children(top))
        ]
        for home in self._homes:
            self._index.update(INDEXED.findall(self.text_at(f"{home}/library/INDEX.pl")))

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        if entry.type is not FileType.FILE or not self._homes:
            return
        if INTERPRETER.search(entry.path):
            for home in self._homes:
                reason = Reason(self.name, f"part of SWI-Prolog at {home}", entry.path)
                yield from (Need(f"{home}/{part}", reason, tree=part == "boot") for part in PARTS)
            startup = Reason(self.name, "loaded by the interpreter itself", entry.path)
            for name in self._known.startup:
                yield from self._named("library", name, (), startup)
        elif self.is_source(entry):
            text = head(entry, view, self.largest).decode("utf-8", "surrogateescape")
            if any(entry.path.startswith(f"{home}/boot/") for home in self._homes):
                return  # what it loads by itself, and when, a profile says
            if any(entry.path.startswith(f"{home}/") for home in self._homes):
                for alias, name in syntax.libraries(text):
                    yield from self._named(alias, name, (), Reason(self.name, f"used by {entry.path}", entry.path))
            elif syntax.SPEAKS.search(text) and system_owner(entry.path, view) is None:
                yield from self.text(text, entry.path)

    def settle(self, view: View) -> Iterator[Need]:
        for alias, name, reason in self._waiting:
            yield from self._named(alias, name, (), reason)

    def text(self, text: str, origin: str) -> Iterator[Need]:
        """What a source needs. `origin` is the canonical path of the file that holds it; "" for none."""
        source = syntax.PROLOG.read(text.encode("utf-8", "surrogateescape"))
        bases = tuple(dict.fromkeys((*([posixpath.dirname(origin)] if origin else ()), *self._environment.workdirs)))
        for alias, directory in syntax.aliases(source):
            self._aliases.setdefault(alias, []).extend(posixpath.join(base, directory) for base in bases)
        for alias, name, line in syntax.loaded(source):
            reason = Reason(self.name, f"loaded by {origin} line {line}", origin)
            if alias not in ("", "library", "foreign"):
                self._waiting.append((alias, name, reason))
            yield from self._named(alias, name, bases, reason)
        signs = {each for each in self._index if not each[:1].isalpha() and each.strip("'") in text}  # `>>` of lambdas
        for word in sorted(syntax.words(source) & self._index.keys() | signs):
            reason = Reason(self.name, f"{origin} may call {word}, which is loaded when it is first called", origin)
            yield from self._named("library", self._index[word], (), reason)
        yield from self._started.calls(syntax.commands(source), origin)

    def _named(self, alias: str, name: str, bases: Iterable[str], reason: Reason) -> Iterator[Need]:
        """The files of a name: by its alias's directories, or from where the source lies."""
        places = self._aliases.get(alias, ()) if alias else bases
        for place in dict.fromkeys(posixpath.normpath(posixpath.join(place, name)) for place in places):
            for suffix in (".so", *SUFFIXES) if alias == "foreign" else SUFFIXES:
                found = self._view.root.find(f"{place}{suffix}")
                if found is not None and found.type is FileType.FILE:
                    yield Need(f"{place}{suffix}", reason)


def prolog_text(view: View, text: str, reason: Reason) -> Iterator[Need]:
    """What a program text needs that a here-document holds, or a file whose name does not tell its language."""
    rule = PrologRule()
    list(rule.begin(view))
    yield from (replace(need, reason=reason) for need in rule.text(text, reason.needed_by))
