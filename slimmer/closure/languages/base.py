"""What the rules of languages share: which scripts are theirs, what the environment says, texts, started commands."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from slimmer.closure.commands.needs import CommandNeed, Embedded
from slimmer.closure.commands.search import head
from slimmer.closure.commands.shebang import BUFFER, parse_shebang
from slimmer.closure.model import Level, Need, Rule, View
from slimmer.closure.profiles.load import Profile, shipped
from slimmer.closure.profiles.modules import known_modules
from slimmer.errors import SlimmerError
from slimmer.root.model import Entry, FileType

NOTHING: Mapping[str, Embedded] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Environment:
    """How the application's processes were started, all of them together."""

    variables: tuple[tuple[str, str], ...]  # the image's first; a name may come again
    workdirs: tuple[str, ...]  # the application's own first
    lines: tuple[tuple[str, ...], ...]  # its command and those that were recorded

    @classmethod
    def of(cls, view: View) -> Environment:
        application, recording = view.application, view.recording
        variables = [*(application.env or {}).items()]
        variables += [pair for each in recording.executions for pair in each.environment]
        workdirs = (application.workdir, *(each.workdir for each in recording.executions))
        return cls(
            tuple(dict.fromkeys(variables)),
            tuple(dict.fromkeys(workdirs)),
            tuple(dict.fromkeys((application.argv, *recording.commands))),
        )

    def values(self, *names: str) -> list[str]:
        """The values of variables."""
        return [value for name, value in self.variables if name in names]

    def directories(self, *names: str) -> list[str]:
        """The absolute parts of variables that hold search paths."""
        return [part for value in self.values(*names) for part in value.split(":") if part.startswith("/")]


class LanguageRule(Rule):
    """One language. `inline` reads program text of other languages that its sources hand to their interpreters.

    `profiles` say what the language's packages stay without; None: the shipped ones.
    """

    level = Level.REACHABLE
    language: ClassVar[str] = ""  # whose modules profiles speak of; "" where none does
    command_rule: ClassVar[str] = ""  # the reason's rule for what its sources start; "NAME-command" if it is empty
    suffixes: ClassVar[re.Pattern[str]]  # of its sources' paths
    programs: ClassVar[re.Pattern[str]]  # names of its interpreters in first lines, whole
    spared: ClassVar[re.Pattern[str]] = re.compile(r"^/usr/share/doc/")  # sources that are none
    largest: ClassVar[int] = 2 << 20  # bytes of a source that are read

    def __init__(self, inline: Mapping[str, Embedded] = NOTHING, profiles: Sequence[Profile] | None = None) -> None:
        self._inline = inline
        self._profiles = shipped() if profiles is None else profiles
        self._known = known_modules((each.modules for each in self._profiles), self.language)

    def begin(self, view: View) -> Iterable[Need]:
        self._view = view
        self._environment = Environment.of(view)
        self._started = CommandNeed(view, self._inline, self.command_rule or f"{self.name}-command")
        return ()

    def is_source(self, entry: Entry) -> bool:
        """By its name, or by the interpreter in its first line."""
        if self.suffixes.search(entry.path):
            return not self.spared.search(entry.path)
        return self.is_script(entry)

    def is_script(self, entry: Entry) -> bool:
        """An executable file without a suffix whose first line names an interpreter of this language."""
        if entry.type is not FileType.FILE or not entry.executable or "." in posixpath.basename(entry.path):
            return False
        shebang = parse_shebang(head(entry, self._view, BUFFER))
        return shebang is not None and self.programs.fullmatch(shebang.program) is not None

    def text_at(self, path: str) -> str:
        """A file of the root as text; empty when it cannot be read."""
        try:
            return self._view.root.read(path, self.largest).decode("utf-8", "surrogateescape")
        except SlimmerError:
            return ""
