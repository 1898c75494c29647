"""Commands in configuration whose format is one program's own, as the profiles' `[[commands]]` tell them."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from slimmer.closure.commands.literals import CommandLine
from slimmer.closure.commands.needs import Embedded
from slimmer.closure.commands.search import head
from slimmer.closure.languages.base import NOTHING, LanguageRule
from slimmer.closure.languages.runtimes import system_owner
from slimmer.closure.limits import FOREIGN_TEXT
from slimmer.closure.model import Need, Reason, View
from slimmer.closure.profiles import globs
from slimmer.closure.profiles.conditions import Condition, Conditions
from slimmer.closure.profiles.load import Commands, Profile
from slimmer.root.model import Entry, FileType, sort_key

LARGEST = 512 * 1024  # bytes; what is longer is data


@dataclass(slots=True)
class _Format:
    """One entry of a profile, with the kept files that its globs fit."""

    profile: str
    commands: Commands
    conditions: tuple[Condition, ...]
    files: globs.Globs
    waiting: dict[str, Entry] = field(default_factory=dict)
    looked: bool = False


class FormatRule(LanguageRule):
    """Reads files that stay, and keeps those that the program reads, once a profile's condition holds."""

    name = "configuration"
    command_rule = "configuration"

    def __init__(self, inline: Mapping[str, Embedded] = NOTHING, profiles: Sequence[Profile] | None = None) -> None:
        super().__init__(inline, profiles)
        pairs = [(profile, each) for profile in self._profiles for each in profile.commands]
        self._conditions = Conditions([when for profile, each in pairs for when in (profile.when, each.when)])
        self._formats = [
            _Format(
                profile.name,
                each,
                (self._conditions[2 * place], self._conditions[2 * place + 1]),
                globs.matcher(each.files),
            )
            for place, (profile, each) in enumerate(pairs)
        ]
        self._any = globs.matcher(glob for _, each in pairs for glob in each.files)

    def begin(self, view: View) -> Iterable[Need]:
        yield from super().begin(view)
        self._conditions.begin(view)

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        self._conditions.see(entry, view)
        if entry.type is FileType.FILE and 0 < entry.size <= LARGEST and self._any.fullmatch(entry.path):
            for each in self._formats:
                if each.files.fullmatch(entry.path):
                    each.waiting[entry.path] = entry
        return ()

    def settle(self, view: View) -> Iterator[Need]:
        self._conditions.decide(view)
        for each in self._formats:
            if not all(condition.fulfilled for condition in each.conditions):
                continue
            if not each.looked:
                each.looked = True
                cause = next((other.cause for other in reversed(each.conditions) if other.cause), "")
                for path in self._places(each.commands, view):
                    yield Need(path, Reason(f"profile:{each.profile}", each.commands.why, cause))
            found, each.waiting = each.waiting, {}
            for path in sorted(found, key=sort_key):
                text = head(found[path], view, LARGEST).decode("utf-8", "surrogateescape")
                needs = self._started.calls(command_lines(each.commands, text), path)
                limit = None if system_owner(path, view) is None else FOREIGN_TEXT
                yield from needs if limit is None else self._started.within(needs, path, 0, limit)

    def _places(self, commands: Commands, view: View) -> Iterator[str]:
        """Files of the root; a glob that begins with `/**` speaks of kept ones only."""
        for pattern in commands.files:
            if not pattern.startswith("/**"):
                for path in globs.expand(view.root, pattern):
                    found = view.root.find(path)
                    if found is not None and found.type is FileType.FILE:
                        yield path


def command_lines(commands: Commands, text: str) -> Iterator[CommandLine]:
    """What an entry finds in a file's text."""
    for found in re.finditer(commands.line, text, re.MULTILINE):
        line = next((group for group in found.groups() if group), "").strip()
        at = text.count("\n", 0, found.start()) + 1
        if commands.shell and line:
            yield CommandLine((line,), at, True)
        elif line:
            with contextlib.suppress(ValueError):
                yield CommandLine(tuple(shlex.split(line)), at)
