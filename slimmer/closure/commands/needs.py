"""From a command line, wherever it was found, to the paths that it needs."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from slimmer.closure.commands import evidence, shell_syntax
from slimmer.closure.commands.cost import ProgramCost
from slimmer.closure.commands.evidence import Belief
from slimmer.closure.commands.interpreters import Code, File, Module
from slimmer.closure.commands.literals import CommandLine
from slimmer.closure.commands.search import DEFAULT_PATH, Programs, head
from slimmer.closure.commands.wrappers import Start, effects
from slimmer.closure.model import UNREAD, ClosureWarning, Need, Reason, View
from slimmer.root.budget import Unread
from slimmer.root.model import FileType

BUILTINS = frozenset(
    """. : [ alias bg bind break builtin caller cd chdir command compgen complete compopt continue declare dirs disown
    echo enable eval exec exit export false fc fg getopts hash help history jobs kill let local logout mapfile popd
    printf pushd pwd read readarray readonly return set shift shopt source suspend test times trap true type typeset
    ulimit umask unalias unset wait [[ time""".split()  # noqa: SIM905
)
# Libraries offer to show a file to whoever sits before the screen; an image has no screen, and these bring much along.
DESKTOP = frozenset({"open", "xdg-open", "gnome-open", "kde-open", "exo-open", "www-browser", "x-www-browser"})
DEEPEST = 6  # levels of `sh -c` inside `sh -c`
UNMARKED = frozenset(
    {"awk", "gnuplot", "swipl"}
)  # languages whose programs no suffix need tell: they are read where a command names them
LARGEST = 1 << 20  # bytes of a script; what is larger is an archive with a script in front
Embedded = Callable[[View, str, Reason], Iterator[Need]]  # program text in an argument → needs


class CommandNeed:
    """Needs of command lines. `embedded` reads program text of other languages: `perl -e`, `python3 -c`.

    `scripts` collects canonical paths of files that a shell is told to read, for the caller to read too.
    """

    def __init__(self, view: View, embedded: Mapping[str, Embedded], rule: str) -> None:
        self._view = view
        self._programs = Programs(view)
        self._embedded = embedded
        self._rule = rule
        self._workdirs = tuple(
            dict.fromkeys((view.application.workdir, *(each.workdir for each in view.recording.executions)))
        )
        self.scripts: list[str] = []
        self._cost = ProgramCost(view.root)

    def line(self, words: Sequence[str], origin: str, line: int = 0, document: str = "") -> Iterator[Need]:
        """A command that no shell reads: `subprocess.run(["git", "log"])`."""
        yield from self._effects(words, origin, line, document, frozenset(), (), 0, inner=True)

    def calls(self, commands: Iterable[CommandLine], origin: str) -> Iterator[Need]:
        """Command lines in a program's calls, each read by a shell or not."""
        for command in commands:
            if command.shell:
                yield Need("/bin/sh", self._reason("started by", origin, command.line))
                text = command.words[0].encode("utf-8", "surrogateescape")
                yield from self.text(text, origin, line=command.line)
            else:
                yield from self.line(command.words, origin, command.line)

    def mentions(self, commands: Iterable[CommandLine], origin: str, limit: int) -> Iterator[Need]:
        """What looks like a command line in a source: programs that cost no more than `limit` bytes stay.

        A heavier one is a warning that says its size.
        """
        for command in commands:
            belief = evidence.belief(command, self._programs.find)
            if belief is Belief.NONE:
                continue
            if belief is Belief.WORD:
                word = command.words[0].split()[0]
                paths = self._programs.find(word)
                needs = [Need(path, Reason("word", f"named by {origin} line {command.line}", origin)) for path in paths]
            elif command.shell:
                text = command.words[0].encode("utf-8", "surrogateescape")
                needs = list(self.text(text, origin, line=command.line))
            else:
                needs = list(self.line(command.words, origin, command.line))
            yield from self.within(needs, origin, command.line, limit)

    def within(self, needs: Iterable[Need], origin: str, line: int, limit: int) -> Iterator[Need]:
        """Those that bring no more than `limit` bytes; a program that brings more is a warning."""
        for need in needs:
            entry = self._view.root.find(need.path)
            if entry is None or not entry.executable:
                yield need
                continue
            cost = self._cost.of(entry, self._view.kept)
            if cost <= limit:
                yield need
            else:
                where = f"line {line} " if line else ""
                text = f"{where}may start {need.path}, which would bring {cost:,} bytes; --include keeps it"
                self._view.warn(ClosureWarning("command", origin, text, 35))

    def text(self, source: bytes, origin: str, *, named: bool = False, line: int = 0, depth: int = 0) -> Iterator[Need]:
        """A text that a shell reads. `named`: it is the file `origin` itself, so `$0` is known.

        `line` is where the text begins in `origin` when it is only a part of it.
        """
        if depth > DEEPEST or len(source) > LARGEST:
            return
        try:
            script = shell_syntax.parse(source, origin if named else "")
        except Unread as error:
            self._view.warn(ClosureWarning("unread", origin or "/", f"shell text not read: {error}", UNREAD))
            return
        own = script.functions - script.wrappers
        for command in script.commands:
            at = command.line if named else line
            for words in _variants(command):
                if words[0] in script.functions:
                    if words[0] in script.wrappers:
                        words = words[1:]
                    else:
                        continue
                yield from self._effects(words, origin, at, command.document, own, script.search, depth)
        for path, at in script.paths:
            yield from self._path(path, origin, at if named else line)

    def _effects(
        self,
        words: Sequence[str],
        origin: str,
        line: int,
        document: str,
        functions: frozenset[str],
        search: Sequence[str],
        depth: int,
        *,
        inner: bool = False,
    ) -> Iterator[Need]:
        for effect in effects(words, document, inner=inner):
            match effect:
                case Start(word, by_program):
                    if by_program or not (word in BUILTINS or word in functions):
                        yield from self._start(word, origin, line, search)
                case Code("sh", text):
                    yield from self.text(text.encode("utf-8", "surrogateescape"), origin, line=line, depth=depth + 1)
                case Code(language, text):
                    if language in self._embedded:
                        verb = "on the class path of a command in" if language == "java" else "in the code at"
                        reason = self._reason(verb, origin, line)
                        yield from self._embedded[language](self._view, text, reason)
                case File(language, path):
                    yield from self._file(language, path, origin, line)
                case Module(name):
                    if "python" in self._embedded:
                        reason = self._reason("run with -m by", origin, line)
                        yield from self._embedded["python"](self._view, f"import {name}.__main__, {name}", reason)

    def _start(self, word: str, origin: str, line: int, search: Sequence[str]) -> Iterator[Need]:
        if word in DESKTOP:
            return
        reason = self._reason("started by", origin, line)
        for path in self._programs.find(word, bases=self._bases(origin)):
            yield Need(path, reason)
        if "/" not in word:
            for directory in search:
                if self._programs.is_program(f"{directory}/{word}"):
                    yield Need(f"{directory}/{word}", reason)

    def _file(self, language: str, path: str, origin: str, line: int) -> Iterator[Need]:
        bases = self._bases(origin) if "/" in path else (*self._bases(origin), *DEFAULT_PATH)
        for place in self._programs.file(path, bases=bases):
            found = self._view.root.find(place)
            if found is not None and found.type is FileType.FILE:
                yield Need(place, self._reason("read by", origin, line))
                if language == "sh":
                    self.scripts.append(found.path)
                elif language in UNMARKED and language in self._embedded:
                    text = head(found, self._view, LARGEST).decode("utf-8", "surrogateescape")
                    yield from self._embedded[language](self._view, text, self._reason("started by", found.path, 0))

    def _path(self, path: str, origin: str, line: int) -> Iterator[Need]:
        for place in self._programs.file(path):
            yield Need(place, self._reason("named by", origin, line))

    def _bases(self, origin: str) -> tuple[str, ...]:
        return (*self._workdirs, posixpath.dirname(origin)) if origin else self._workdirs

    def _reason(self, verb: str, origin: str, line: int) -> Reason:
        if not origin:
            return Reason(self._rule, f"{verb} the command to run")
        return Reason(self._rule, f"{verb} {origin} line {line}" if line else f"{verb} {origin}", origin)


def _variants(command: shell_syntax.Command) -> Iterator[tuple[str, ...]]:
    """The command once for each value that its name may have; the other words by their first value."""
    rest = command.literal[1:]
    for name in command.words[0] or ("",):
        yield (name, *rest)
