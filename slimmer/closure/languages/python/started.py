"""Programs and libraries that Python sources start and load: from what was read in them to needs and warnings."""

from __future__ import annotations

import ast
import contextlib
import posixpath
import re
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

from slimmer.closure.commands.literals import CommandLine
from slimmer.closure.commands.needs import CommandNeed
from slimmer.closure.commands.search import Libraries, Programs
from slimmer.closure.languages.python.commands import scan_together
from slimmer.closure.languages.python.imports import Imports
from slimmer.closure.languages.python.origins import unit_of
from slimmer.closure.limits import FOREIGN_TEXT, OWN_TEXT
from slimmer.closure.model import ClosureWarning, Need, Reason, View
from slimmer.errors import SlimmerError
from slimmer.root.model import FileType

FONTS = ("/usr/share/fonts", "/usr/local/share/fonts")
# What people type into; a library that can start one (to complete words, to drop to a prompt) does not bring it.
INTERACTIVE = frozenset({"bash", "zsh", "fish", "ksh", "csh", "tcsh", "pwsh", "less", "more", "pager", "vi", "nano"})
LARGEST = 1_500_000  # bytes of an application's sources that are read as one
BEHIND = frozenset({"run", "exec", "-m", "start", "--"})
PYTHON = re.compile(r"python[\d.]*$")


class Started:
    """Sees each source once. A unit is "" for the application, else a third-party package's name."""

    def __init__(self, view: View, commands: CommandNeed, builders: Collection[str] = ()) -> None:
        self._view = view
        self._builders = builders
        self._commands = commands
        self._libraries = Libraries(view)
        self._own: dict[str, tuple[int, ...]] = {}  # the application's sources → lines that start what they do not name
        self._fresh = False
        self._units: frozenset[str] | None = None
        self._by_font: dict[str, list[str]] | None = None
        self._warned: set[str] = set()  # units that could start a shell
        self._starting: set[str] = set()  # units that can start programs
        self._mentioning: dict[str, list[tuple[str, tuple[CommandLine, ...]]]] = {}  # by unit: source, command lines

    def see(self, path: str, unit: str, found: Imports) -> Iterator[Need]:
        """What a source starts and loads; what it only mentions waits for `settle`."""
        if unit and unit in self.run():
            unit = ""
        # A library that merely could hand an unknown line to a shell does not bring one.
        lines = [each for each in found.commands if not unit or (each.words != ("",) and not _is_prompt(each))]
        if unit in self._builders:  # setuptools has pip fetch what a build lacks
            lines = [each for each in lines if not self._builds(each)]
        unknown = [each for each in found.commands if unit and each.shell and each.words == ("",)]
        if unknown and unit not in self._warned:
            self._warned.add(unit)
            text = f"line {unknown[0].line} could hand a line to a shell, which is not known and brings none;"
            self._view.warn(ClosureWarning("shell-line", path, f"{text} --include /bin/sh where it is used", 20))
        yield from self._commands.calls(lines, path)
        for mention in found.libraries:
            reason = Reason("python-library", f"loaded by {path} line {mention.line}", path)
            yield from self._libraries.needs(mention.text, reason)
        for font in found.fonts:
            for place in self._fonts().get(font.text, ()):
                yield Need(place, Reason("python-font", f"named by {path} line {font.line}", path))
        self._starting.update([unit] if found.starts else ())
        mentioned = tuple(each for each in found.mentioned if not unit or not _is_prompt(each))
        if mentioned:
            self._mentioning.setdefault(unit, []).append((path, mentioned))
        if not unit:
            self._own[path] = found.starting
            self._fresh = True

    def _builds(self, command: CommandLine) -> bool:
        return any(option == "-m" and name in self._builders for option, name in pairwise(command.words))

    def runs(self, path: str) -> bool:
        """Whether a third party's source belongs to a distribution whose command is run."""
        return unit_of(path) in self.run()

    def run(self) -> frozenset[str]:
        """Top names of the distributions whose commands are run: they are the application too."""
        if self._units is None:
            view, programs = self._view, Programs(self._view)
            found: set[str] = set()
            lines = [view.application.argv, *view.recording.commands]
            lines += [(each.path,) for each in view.recording.executions]
            for line in dict.fromkeys(tuple(each) for each in lines):
                for at, word in enumerate(line[:4]):
                    if at and line[at - 1] == "-m":
                        found.add(word.partition(".")[0])
                    if at and not (PYTHON.search(line[at - 1]) or line[at - 1] in BEHIND):
                        break
                    for path in programs.find(word, bases=(view.application.workdir or "/",)):
                        found.update(self._modules_beside(path))
            self._units = frozenset(found)
        return self._units

    def _modules_beside(self, program: str) -> Iterator[str]:
        """Top names of the modules that came with a command."""
        entry = self._view.root.find(program)
        if entry is None or PYTHON.search(entry.path):
            return
        for owner in self._view.packages.owners(entry.path):
            yield entry.path
            for each in self._view.packages.files(owner):
                if each.endswith(".py"):
                    yield unit_of(each)

    def _fonts(self) -> dict[str, list[str]]:
        """The system's fonts by file name: what draws text looks for them by listing, name in hand."""
        if self._by_font is None:
            self._by_font = {}
            for top in FONTS:
                found = self._view.root.find(top)
                for entry in self._view.root.walk(found.path) if found is not None else ():
                    if entry.type is FileType.FILE:
                        self._by_font.setdefault(posixpath.basename(entry.path), []).append(entry.path)
        return self._by_font

    def settle(self) -> Iterator[Need]:
        """Texts that look like command lines, of units that can start programs; the application's modules together."""
        if self._fresh:
            self._fresh = False
            yield from self._together()
        for unit in sorted(self._starting & self._mentioning.keys()):
            for path, commands in self._mentioning.pop(unit):
                yield from self._commands.mentions(commands, path, FOREIGN_TEXT if unit else OWN_TEXT)

    def _together(self) -> Iterator[Need]:
        """What a module alone does not name may stand in another: constants, calls of a helper that starts things."""
        computed = {path: lines for path, lines in self._own.items() if lines}
        if not computed:
            return
        modules: list[tuple[str, ast.Module]] = []
        size = 0
        for path in sorted(self._own, key=lambda each: (each not in computed, each)):
            entry = self._view.root.find(path)
            if entry is None or not path.endswith(".py") or size + entry.size > LARGEST:
                continue
            with contextlib.suppress(SyntaxError, ValueError, RecursionError, SlimmerError):
                modules.append((path, ast.parse(self._view.root.read(path, LARGEST))))
                size += entry.size
        found = scan_together(modules) if len(modules) > 1 else {}
        for path, lines in computed.items():
            if path in found:
                yield from self._commands.calls((each for each in found[path].started if each.words != ("",)), path)
                lines = tuple(each for each in lines if each in found[path].computed)
            if lines:
                self._warn_of(path, lines)

    def _warn_of(self, path: str, lines: Sequence[int]) -> None:
        more = f" and {len(lines) - 1} more lines start programs" if len(lines) > 1 else ""
        verb = " start programs" if more else " starts a program"
        text = (
            f"line {lines[0]}{more or verb} under a computed name: --exec a command that does so,"
            " or --include the program"
        )
        self._view.warn(ClosureWarning("python-command", path, text, 25))


def _is_prompt(command: CommandLine) -> bool:
    return bool(command.words) and command.words[0].partition(" ")[0] in INTERACTIVE
