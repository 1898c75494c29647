"""Make: the recipes of the application's own makefiles, each line of which a shell reads.

Simple variables are put in, `$$` becomes `$`; what functions compute stays unknown. Source: GNU make's manual,
"Writing Recipes" and "Implicit Variables".
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping

from slimmer.closure.commands.search import Programs, head
from slimmer.closure.languages.base import LanguageRule
from slimmer.closure.languages.runtimes import system_owner
from slimmer.closure.model import Need, Reason, View
from slimmer.root.model import Entry, FileType

ASSIGNED = re.compile(
    r"^(?:export[ \t]++|override[ \t]++)?([\w.-]{1,100})[ \t]*+(?:::?:?|\?|\+|!)?=[ \t]*+([^\n]{0,2000})", re.M
)
SHELL = re.compile(r"\$[({]shell[ \t]++([^\n]{1,2000})")
INCLUDED = re.compile(r"^-?s?include[ \t]++([^\n]{1,1000})", re.M)
VARIABLE = re.compile(r"\$(?:\(([\w.-]{1,100})\)|\{([\w.-]{1,100})\}|([A-Za-z]))")
COMPUTED = re.compile(r"\$(?:[({][^(){}\n]{0,300}[)}]|[@<^+?*%|])")
IMPLICIT = {
    "MAKE": "make",
    "CC": "cc",
    "CXX": "c++",
    "AR": "ar",
    "RM": "rm -f",
    "SHELL": "/bin/sh",
    "LD": "ld",
    "AS": "as",
    "LEX": "lex",
    "YACC": "yacc",
    "TEX": "tex",
    "M2C": "m2c",
    "FC": "f77",
    "CO": "co",
    "GET": "get",
}
THIRD_PARTY = re.compile(r"/(?:site-packages|dist-packages|node_modules|gems|vendor)/")
DEEPEST = 4  # variables inside variables


class MakeRule(LanguageRule):
    """Recipes, `$(shell …)` and included files of makefiles that no system package holds."""

    name = "make"
    suffixes = re.compile(r"/(?:GNUmakefile|[Mm]akefile(?:\.[\w-]{1,30})?)$|\.mk$")
    programs = re.compile(r"g?make")

    def begin(self, view: View) -> Iterable[Need]:
        yield from super().begin(view)
        programs = Programs(view)
        self._makes = any(programs.find(name) for name in ("make", "gmake", "bmake"))

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        if entry.type is not FileType.FILE or not self.is_source(entry) or system_owner(entry.path, view) is not None:
            return
        if THIRD_PARTY.search(entry.path) or not self._makes:
            return  # how a package was built, or recipes that nothing here can follow
        text = head(entry, view, self.largest).decode("utf-8", "surrogateescape").replace("\\\n", " ")
        values = {**IMPLICIT, **dict(ASSIGNED.findall(text))}
        if "SHELL" in dict(ASSIGNED.findall(text)):
            yield Need(values["SHELL"].strip(), Reason(self.name, f"reads the recipes of {entry.path}", entry.path))
        for number, line in enumerate(text.split("\n"), 1):
            if line.startswith("\t") and (recipe := line.strip().lstrip("@-+ ")):
                command = expanded(recipe, values).encode("utf-8", "surrogateescape")
                yield Need("/bin/sh", Reason(self.name, f"reads the recipes of {entry.path}", entry.path))
                yield from self._started.text(command, entry.path, line=number)
        for found in SHELL.finditer(text):
            yield from self._started.text(
                expanded(_closed(found[1]), values).encode("utf-8", "surrogateescape"), entry.path
            )
        yield from self._included(entry.path, text, values)

    def _included(self, path: str, text: str, values: Mapping[str, str]) -> Iterator[Need]:
        for found in INCLUDED.finditer(text):
            for name in expanded(found[1], values).split():
                for base in dict.fromkeys((posixpath.dirname(path), *self._environment.workdirs)):
                    yield Need(
                        posixpath.normpath(posixpath.join(base, name)), Reason(self.name, f"included by {path}", path)
                    )


def expanded(text: str, values: Mapping[str, str]) -> str:
    """A line with its variables put in; what is computed is unknown, and `$$` is the shell's own sign."""
    parts = text.split("$$")
    for at, part in enumerate(parts):
        for _ in range(DEEPEST):
            part = VARIABLE.sub(lambda found: values.get(found[1] or found[2] or found[3], "$UNKNOWN")[:2000], part)
            if "$(" not in part and "${" not in part:
                break
        parts[at] = COMPUTED.sub("$UNKNOWN", part)
    return "$".join(parts)


def _closed(text: str) -> str:
    """Up to the bracket that closes `$(shell`."""
    depth = 0
    for at, letter in enumerate(text):
        depth += (letter in "({") - (letter in ")}")
        if depth < 0:
            return text[:at]
    return text
