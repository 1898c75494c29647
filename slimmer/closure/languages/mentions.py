"""Texts in an application's Ruby, Perl and PHP that look like command lines, though nothing beside them starts them.

`DB = ENV.fetch("DB", "sqlite3")` in one file, `Shell.run(DB, "-version")` in another, and only a third knows `popen`.
They count where something of the application's own in that language can start programs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from slimmer.closure.commands.literals import HOLE, CommandLine
from slimmer.closure.commands.search import head
from slimmer.closure.languages.base import LanguageRule
from slimmer.closure.languages.runtimes import system_owner
from slimmer.closure.limits import OWN_TEXT
from slimmer.closure.model import Need, View
from slimmer.root.model import Entry, FileType

TEXT = re.compile(r"""(["'`])([A-Za-z/.][^"'`\\\n]{1,300})\1|<<[-~]?["'`]?(\w{1,30})["'`]?[^\n]*\n""")
HELD = re.compile(r"#\{[^}\n]{0,200}\}|\$\{[^}\n]{0,200}\}|\{?\$\w[\w>\[\]-]{0,60}\}?|@\{[^}\n]{0,200}\}")
OPTION = re.compile(r"""\s{0,20},\s{0,20}["'](-[\w-]{1,60}=?)""")
LONGEST = 4000  # characters of a here-document
THIRD_PARTY = re.compile(r"/(?:gems|vendor|node_modules|site-packages|dist-packages)/")


@dataclass(slots=True)
class _Kind:
    """One language: its sources, what starts programs in it, and the application's sources so far."""

    suffixes: re.Pattern[str]
    starts: re.Pattern[str]
    started: bool = False
    waiting: list[tuple[str, tuple[CommandLine, ...]]] = field(default_factory=list)


class MentionRule(LanguageRule):
    """Keeps programs that such texts begin with, each as far as it brings little."""

    name = "mention-command"
    command_rule = "mention-command"
    largest = 512 << 10

    def begin(self, view: View) -> Iterator[Need]:
        yield from super().begin(view)
        self._kinds = (
            _Kind(
                re.compile(r"\.(?:rb|rake|ru)$|/Rakefile$"),
                re.compile(r"\b(?:system|exec|spawn|popen|Open3|capture2e?|capture3|PTY)\b|%x\W|`"),
            ),
            _Kind(
                re.compile(r"\.(?:pl|pm|cgi|psgi)$"),
                re.compile(r"\b(?:system|exec|qx|readpipe|IPC::\w+|capturex?|run3)\b|`|\bopen\b[^;\n]{0,80}-\|"),
            ),
            _Kind(
                re.compile(r"\.(?:php|inc|phtml)$"),
                re.compile(
                    r"\b(?:exec|shell_exec|system|passthru|proc_open|popen|pcntl_exec|Process)\s{0,9}\(|fromShellCommandline"
                ),
            ),
        )

    def visit(self, entry: Entry, view: View) -> Iterator[Need]:
        if entry.type is FileType.FILE and 0 < entry.size <= self.largest and not THIRD_PARTY.search(entry.path):
            for kind in self._kinds:
                if kind.suffixes.search(entry.path) and system_owner(entry.path, view) is None:
                    text = head(entry, view, self.largest).decode("utf-8", "surrogateescape")
                    kind.started = kind.started or kind.starts.search(text) is not None
                    kind.waiting.append((entry.path, tuple(texts(text))))
        yield from ()

    def settle(self, view: View) -> Iterator[Need]:
        for kind in self._kinds:
            if kind.started:
                waiting, kind.waiting = kind.waiting, []
                for path, lines in sorted(waiting):
                    yield from self._started.mentions(lines, path, OWN_TEXT)


def texts(source: str) -> Iterator[CommandLine]:
    """Quoted texts and here-documents, with holes where something is put in."""
    at = counted = 0
    line = 1
    while (found := TEXT.search(source, at)) is not None:
        line += source.count("\n", counted, found.start())
        counted = found.start()
        at = found.end()
        if found[3]:
            end = re.compile(rf"^[ \t]*{found[3]}\b", re.M).search(source, at, at + LONGEST)
            body = source[at : end.start()] if end is not None else ""
            for number, each in enumerate(body.splitlines(), line + 1):
                if each.strip():
                    yield CommandLine((HELD.sub(HOLE, each.strip()),), number, True)
        else:
            option = OPTION.match(source, at)
            if option is not None and " " not in found[2]:
                yield CommandLine((found[2], option[1]), line)  # ["gzip", "-n"]
            else:
                yield CommandLine((HELD.sub(HOLE, found[2].strip()),), line, True)
