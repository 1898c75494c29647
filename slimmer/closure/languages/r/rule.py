"""R: packages by DESCRIPTION, what sources attach and source, and started programs.

An installed package is a directory of a library tree with DESCRIPTION and Meta/; its code is one lazy-loaded database,
so it stays whole but for help and examples, with the packages of Depends and Imports. What Suggests names stays out
unless a source of the application asks for it. Source: "Writing R Extensions" 1.1.3 and "R Installation", 6.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from slimmer.closure.commands.literals import CommandLine
from slimmer.closure.commands.needs import Embedded
from slimmer.closure.commands.search import head
from slimmer.closure.languages.base import NOTHING, LanguageRule
from slimmer.closure.languages.runtimes import package_content, system_owner
from slimmer.closure.languages.tokens import UNKNOWN, Kind, Language, Source, Token, arguments, cutter
from slimmer.closure.model import Need, Reason, View
from slimmer.closure.profiles.load import Profile
from slimmer.root.model import Entry, FileType

R = Language(
    cutter(comment=r"#[^\n]*+", name=r"[A-Za-z.][\w.]*+(?::::?[A-Za-z.][\w.]*+)?", signs=r"<-|\S"),
    frozenset(),
    frozenset({"=", "<-"}),
)
INTERPRETER = re.compile(r"/(?:libR\.so[.\d]{0,20}|R|Rscript)$")
HOMES = ("/usr/lib/R", "/usr/lib64/R", "/usr/local/lib/R", "/opt/R/lib/R")
LIBRARIES = """/usr/local/lib/R/site-library /usr/lib/R/site-library /usr/share/R/library /usr/share/R/site-library
    /usr/lib/R/library""".split()  # noqa: SIM905
PARTS = ("bin", "etc", "lib", "modules", "share", "COPYING", "SVN-REVISION")
NOT_RUN = re.compile(
    r"/(?:help|html|doc|demo|tests?|include|examples|man)(?:/|$)|/share/(?:texmf|java|licenses)(?:/|$)|\.(?:a|h|pdf)$"
)
FIELD = re.compile(r"^(?:Depends|Imports):((?:[^\n]|\n[ \t]){0,20000})", re.M)
NAME = re.compile(r"[A-Za-z][A-Za-z0-9.]*+")
ATTACHES = frozenset(
    "library require requireNamespace loadNamespace attachNamespace getNamespace use box::use".split()  # noqa: SIM905
)
SHELL = frozenset({"system", "base::system", "pipe", "shell"})
WORDS = frozenset({"system2", "base::system2", "processx::run", "sys::exec_wait", "sys::exec_internal"})
SOURCES = frozenset(
    {"source", "sys.source", "readRDS", "load", "rmarkdown::render", "shiny::runApp", "runApp", "plumb"}
)
# What makes one text of several, and what stands between them; of a format its text is what matters.
JOINED = {"paste": " ", "paste0": "", "sprintf": " ", "file.path": "/", "shQuote": "", "c": " "}


class RRule(LanguageRule):
    """R's own tree, packages of kept sources with what they depend on, sourced files and started programs."""

    name = language = "r"
    suffixes = re.compile(r"\.(?:[Rr]|[Rr]md|qmd|Rprofile|Rnw)$|/\.Rprofile$|/Rprofile\.site$")
    programs = re.compile(r"Rscript|R|r|littler")

    def __init__(self, inline: Mapping[str, Embedded] = NOTHING, profiles: Sequence[Profile] | None = None) -> None:
        super().__init__(inline, profiles)
        self._libraries: list[str] = []
        self._homes: set[str] = set()
        self._packages: set[str] = set()  # directories
        self._wanted: dict[str, Reason] = {}  # names, for libraries that come later

    def begin(self, view: View) -> Iterable[Need]:
        yield from super().begin(view)
        named = self._environment.directories("R_LIBS", "R_LIBS_USER", "R_LIBS_SITE")
        self._libraries = [place for place in (*named, *LIBRARIES) if view.root.find(place) is not None]

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        if entry.type is not FileType.FILE:
            return
        if INTERPRETER.search(entry.path):
            beside = f"{entry.path.rpartition('/lib/R/')[0]}/lib/R"
            for home in dict.fromkeys((beside, *HOMES)):
                yield from self._home(home, entry.path)
        elif top := self._package_of(entry.path):
            yield from self._package(
                top, Reason(self.name, f"part of the package {posixpath.basename(top)}", entry.path)
            )
        elif self.is_source(entry) and system_owner(entry.path, view) is None:
            yield from self._source(entry)

    def _home(self, home: str, path: str) -> Iterator[Need]:
        root = self._view.root
        if home in self._homes or root.find(f"{home}/library/base/DESCRIPTION") is None:
            return
        self._homes.add(home)
        if f"{home}/library" not in self._libraries:
            self._libraries.append(f"{home}/library")
        reason = Reason(self.name, f"part of R at {home}", path)
        for part in PARTS:
            yield from self._tree(f"{home}/{part}", reason)
        for name in self._known.startup:
            yield from self._named(name, Reason(self.name, "loaded by every start of R", path))

    def _tree(self, place: str, reason: Reason) -> Iterator[Need]:
        """What run time reads below a place; links that lead to further directories (Debian's etc) with it."""
        yield Need(place, reason)
        top = self._view.root.resolve(place).path
        for entry in self._view.root.walk(top):
            if not NOT_RUN.search(entry.path[len(top) :]):
                yield Need(entry.path, reason)

    # -------------------------------------------------------------- packages

    def _package_of(self, path: str) -> str:
        """The directory of the package that a file belongs to: where Meta/package.rds lies."""
        for library in self._libraries:
            canonical = self._view.root.resolve(library).path
            if path.startswith(f"{canonical}/") and path.count("/") > canonical.count("/") + 1:
                return f"{canonical}/{path[len(canonical) + 1 :].partition('/')[0]}"
        return ""

    def _named(self, name: str, reason: Reason) -> Iterator[Need]:
        for library in self._libraries:
            place = f"{library}/{name}"
            if self._view.root.find(f"{place}/DESCRIPTION") is not None:
                yield Need(f"{place}/DESCRIPTION", reason)
                yield from self._package(self._view.root.resolve(place).path, reason)
                return

    def _package(self, top: str, reason: Reason) -> Iterator[Need]:
        if top in self._packages:
            return
        self._packages.add(top)
        yield from self._tree(top, reason)
        description = self.text_at(f"{top}/DESCRIPTION")
        depends = Reason(self.name, f"a dependency of the R package {posixpath.basename(top)}", f"{top}/DESCRIPTION")
        for field in FIELD.findall(description):
            for part in field.split(","):
                if (name := NAME.match(part.strip())) and name[0] != "R":
                    yield from self._named(name[0], depends)
        owner = system_owner(f"{top}/DESCRIPTION", self._view)
        if owner is not None and owner.name.startswith("r-cran-"):
            whole = Reason(self.name, f"part of the package {owner.name}", f"{top}/DESCRIPTION")
            for path in package_content(owner, self._view):
                if not NOT_RUN.search(path):
                    yield Need(path, whole)

    # --------------------------------------------------------------- sources

    def _source(self, entry: Entry) -> Iterator[Need]:
        source = R.read(head(entry, self._view, self.largest))
        path, here = entry.path, posixpath.dirname(entry.path)
        for name, line in _attached(source):
            yield from self._named(name, Reason(self.name, f"attached by {path} line {line}", path))
        for call in source.calls(SOURCES):
            for text in (
                token.value for argument in call.arguments[:1] for token in argument if token.kind is Kind.TEXT
            ):
                for base in dict.fromkeys((here, *self._environment.workdirs)):
                    yield Need(
                        posixpath.normpath(posixpath.join(base, text)),
                        Reason(self.name, f"read by {path} line {call.line}", path),
                    )
        yield from self._started.calls(_commands(source), path)


def _attached(source: Source) -> Iterator[tuple[str, int]]:
    """Names of packages: `library(x)`, `requireNamespace("x")`, `x::f`."""
    for call in source.calls(ATTACHES):
        if call.arguments and call.arguments[0] and call.arguments[0][0].kind is not Kind.SIGN:
            yield call.arguments[0][0].value, call.line
    for token in source.tokens:
        if token.kind is Kind.NAME and "::" in token.value:
            yield token.value.partition(":")[0], token.line


def _commands(source: Source) -> Iterator[CommandLine]:
    constants = source.constants()
    for call in source.calls(SHELL):
        if call.arguments and (text := _text(source, call.arguments[0], constants)):
            yield CommandLine((text,), call.line, True)
    for call in source.calls(WORDS):
        words = [_text(source, argument, constants) for argument in call.arguments[:2]]
        if words and words[0]:
            yield CommandLine((words[0], *" ".join(words[1:]).split()), call.line)


def _text(source: Source, argument: tuple[Token, ...], constants: Mapping[str, str]) -> str:
    """What an argument comes to: `paste("convert", file)`, `paste0("convert ", file)`, `c("-a", "-b")`."""
    if len(argument) < 3 or argument[0].value not in JOINED or argument[1].value != "(":
        return source.folded(argument, constants)
    parts = [
        _text(source, part, constants) for part in arguments(argument[2:]) if "=" not in {each.value for each in part}
    ]
    if not any(parts):
        return ""
    return JOINED[argument[0].value].join(part or UNKNOWN for part in parts)
