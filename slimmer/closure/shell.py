"""Shell: every program that a kept script could start in any branch, and every file that it names or sources."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Iterator

from slimmer.closure.commands import SHELLS
from slimmer.closure.embedded import EMBEDDED
from slimmer.closure.model import Level, Need, Rule, Unsure, View
from slimmer.closure.programs import head
from slimmer.closure.scripts import BUFFER, LIBRARIES, parse_shebang
from slimmer.closure.started import LARGEST, Started
from slimmer.root.model import Entry, FileType

SUFFIX = re.compile(r"\.(?:sh|bash|ksh)$")
# Read by login or interactive shells only, or by package managers; a service never gets there.
NOT_RUN = re.compile(r"^/(?:var/lib/dpkg|usr/share/doc|usr/share/bash-completion|etc/skel|usr/share/debconf)/")


class ShellRule(Rule):
    """Command words, sourced files and named paths of kept shell scripts, and of `sh -c` on the command line."""

    name = "shell"
    level = Level.REACHABLE

    def __init__(self) -> None:
        self._started: Started | None = None
        self._read: set[str] = set()

    def begin(self, view: View) -> Iterable[Need]:
        self._started = started = Started(view, EMBEDDED, self.name)
        application = view.application
        lines = [list(application.argv), *(list(command) for command in view.recording.commands)]
        for text in application.executables:
            try:
                lines.append(shlex.split(text))
            except ValueError:
                continue
        for line in lines:
            yield from started.line(line, "")
        yield from self._sourced(view)

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        if entry.type is not FileType.FILE or NOT_RUN.match(entry.path) or LIBRARIES.search(entry.path):
            return
        if not SUFFIX.search(entry.path):
            if not entry.executable:
                return
            shebang = parse_shebang(head(entry, view, BUFFER))
            if shebang is None or not _is_shell(shebang.program, shebang.argument):
                return
        yield from self._script(entry, view)

    def _script(self, entry: Entry, view: View) -> Iterator[Need]:
        assert self._started is not None
        if entry.path in self._read:
            return
        self._read.add(entry.path)
        if entry.size > LARGEST:
            view.unsure(Unsure("shell", entry.path, "too large to be read as a script", 20))
            return
        yield from self._started.text(head(entry, view, LARGEST), entry.path, named=True)
        yield from self._sourced(view)

    def _sourced(self, view: View) -> Iterator[Need]:
        assert self._started is not None
        while self._started.scripts:
            found = view.root.entry(self._started.scripts.pop())
            if found is not None and head(found, view, 4) != b"\x7fELF":
                yield from self._script(found, view)


def _is_shell(program: str, argument: str) -> bool:
    return program in SHELLS or (program == "busybox" and posixpath.basename(argument.split(" ")[0]) in SHELLS)
