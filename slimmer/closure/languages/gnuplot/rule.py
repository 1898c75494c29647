"""gnuplot: commands that scripts start, and files that they load and plot.

A shell reads what `system` is given, what stands between backticks, what follows `!` at the beginning of a line, and
what a file's name holds behind `<` or `|`. Source: the manual of gnuplot 5.4, "Shell commands", "Substitution", "Load".
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from slimmer.closure.commands.literals import CommandLine
from slimmer.closure.commands.search import Programs, head
from slimmer.closure.languages.base import LanguageRule
from slimmer.closure.languages.runtimes import system_owner
from slimmer.closure.languages.tokens import LONGEST, UNKNOWN, Kind, Language, Source, Token, arguments, cutter
from slimmer.closure.model import Need, Reason, View
from slimmer.root.model import Entry, FileType

GNUPLOT = Language(
    cutter(
        comment=r"#[^\n]*+|\\\n",
        raw=r"'(?P<raw>[^'\n]*+)'?",
        name=r"[A-Za-z_]\w*+",
        quotes='"',
        signs=r"`[^`\n]*+`?|(?m:^)[ \t]*+![^\n]*+|\S",
    ),
    frozenset({"."}),
)
BACKTICKS = re.compile(r"`([^`\n]{1,2000})`")
FORMAT = re.compile(r"%[-+ #0]{0,5}[\d*.]{0,20}l{0,2}[a-zA-Z]")
PIPED = re.compile(r"\s{0,9}[<|](?!=)\s{0,9}(.{1,4000})", re.S)
INTERPRETERS = ("gnuplot", "gnuplot-nox", "gnuplot-qt", "gnuplot-x11", "pgnuplot")
OTHER = re.compile(r"^\s{0,20}:-\s", re.M)  # Prolog's test files have the suffix .plt too


class GnuplotRule(LanguageRule):
    """Started commands, loaded scripts and plotted files of the application's own scripts."""

    name = "gnuplot"
    suffixes = re.compile(r"\.(?:gp|gpi|gplt?|plt|plot|gnu|gnuplot)$")
    programs = re.compile(r"gnuplot(?:-\w+)?")
    largest = 1 << 20

    def begin(self, view: View) -> Iterable[Need]:
        yield from super().begin(view)
        programs = Programs(view)
        self._plots = any(programs.find(name) for name in INTERPRETERS)

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        if entry.type is FileType.FILE and self._plots and self.is_source(entry):
            text = head(entry, view, self.largest).decode("utf-8", "surrogateescape")
            if OTHER.search(text) is None and system_owner(entry.path, view) is None:
                yield from self.text(text, entry.path)

    def text(self, text: str, origin: str) -> Iterator[Need]:
        """What a script needs. `origin` is the canonical path of the file that holds it; "" for none."""
        source = GNUPLOT.read(text.encode("utf-8", "surrogateescape"))
        yield from self._started.calls(commands(source), origin)
        beside = [posixpath.dirname(origin)] if origin else []
        named = [*beside, *self._environment.workdirs, *self._environment.directories("GNUPLOT_LIB")]
        bases = dict.fromkeys((*named, *(path for path in _load_paths(source) if path.startswith("/"))))
        bases |= dict.fromkeys(posixpath.join(base, path) for path in _load_paths(source) for base in named)
        for token in source.texts():
            if re.fullmatch(r"[\w./+@ -]{1,300}", token.value):
                for base in bases:
                    place = posixpath.normpath(posixpath.join(base, token.value))
                    found = self._view.root.find(place)
                    if found is not None and found.type is FileType.FILE:
                        yield Need(place, Reason(self.name, f"named by {origin} line {token.line}", origin))


def commands(source: Source) -> Iterator[CommandLine]:
    """The command lines of a script."""
    constants = source.constants()
    for call in source.calls({"system"}):
        yield from _line(_text(source, call.arguments[0], constants) if call.arguments else "", call.line)
    for at, token in enumerate(source.tokens):
        if token.kind is Kind.SIGN and token.value.startswith("`"):
            yield from _line(token.value.strip("`"), token.line)
        elif token.kind is Kind.SIGN and token.value.lstrip().startswith("!") and len(token.value) > 1:
            yield from _line(token.value.lstrip()[1:], token.line)
        elif token.kind is Kind.TEXT:
            for found in BACKTICKS.findall(token.value):
                yield from _line(found, token.line)
            if PIPED.match(token.value) and not (at and source.tokens[at - 1].value == "."):
                piped = PIPED.match(_formatted(source.folded(_joined(source, at), constants)))
                yield from _line(piped[1] if piped else "", token.line)


def _line(text: str, line: int) -> Iterator[CommandLine]:
    if text.replace(UNKNOWN, "").strip():
        yield CommandLine((text,), line, True)


def _text(source: Source, argument: tuple[Token, ...], constants: dict[str, str]) -> str:
    """What an argument comes to; of a format, with its values unknown."""
    if len(argument) > 2 and argument[0].value == "sprintf":
        argument = next(arguments(argument[2:]), ())
    return _formatted(source.folded(argument, constants))


def _formatted(text: str) -> str:
    return FORMAT.sub(UNKNOWN, text)


def _joined(source: Source, at: int) -> list[Token]:
    """A text with what is joined to it behind."""
    found = [source.tokens[at]]
    for place in range(at + 1, min(len(source.tokens) - 1, at + LONGEST), 2):
        sign, value = source.tokens[place : place + 2]
        if sign.kind is not Kind.SIGN or sign.value != "." or value.kind is Kind.SIGN:
            break
        found += [sign, value]
    return found


def _load_paths(source: Source) -> Iterator[str]:
    """The directories of `set loadpath "a" "b"`."""
    for at, token in enumerate(source.tokens):
        if token.kind is Kind.NAME and token.value in ("loadpath", "loadp"):
            for value in source.tokens[at + 1 : at + LONGEST]:
                if value.kind is not Kind.TEXT:
                    break
                yield from value.value.split(":")


def gnuplot_text(view: View, text: str, reason: Reason) -> Iterator[Need]:
    """What a script text that no file holds needs (`gnuplot -e`, a here-document)."""
    rule = GnuplotRule()
    list(rule.begin(view))
    yield from (replace(need, reason=reason) for need in rule.text(text, ""))
