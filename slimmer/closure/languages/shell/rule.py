"""Shell: every program that a kept script could start in any branch, and every file that it names or sources."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence

from slimmer.closure.commands.needs import LARGEST, Embedded
from slimmer.closure.commands.search import head
from slimmer.closure.commands.shebang import BUFFER, LIBRARIES, parse_shebang
from slimmer.closure.commands.wrappers import INTERACTIVE, LOGIN, SHELLS
from slimmer.closure.languages.base import NOTHING, LanguageRule
from slimmer.closure.model import ClosureWarning, Need, View
from slimmer.closure.profiles.load import Profile
from slimmer.root.model import Entry, FileType

SUFFIX = re.compile(r"\.(?:sh|bash|ksh)$")
# What shells read first, when the run's shells did or a line starts a login shell: bash(1), INVOCATION.
FIRST = re.compile(
    r"^/etc/(?:profile|bash\.bashrc|bashrc|zsh/\w+)$|/\.(?:(?:bash_)?(?:profile|login)|bashrc|z(?:shrc|profile|shenv))$"
)
PERSONAL = {LOGIN: (".bash_profile", ".bash_login", ".profile"), INTERACTIVE: (".bashrc",)}
# Read by login or interactive shells only, or by package managers; a service never gets there.
NOT_RUN = re.compile(r"^/(?:var/lib/dpkg|usr/share/doc|usr/share/bash-completion|etc/skel|usr/share/debconf)/")


class ShellRule(LanguageRule):
    """Command words, sourced files and named paths of kept shell scripts, and of `sh -c` on the command line."""

    name = "shell"
    command_rule = "shell"

    def __init__(self, inline: Mapping[str, Embedded] = NOTHING, profiles: Sequence[Profile] | None = None) -> None:
        super().__init__(inline, profiles)
        self._read: set[str] = set()

    def begin(self, view: View) -> Iterable[Need]:
        yield from super().begin(view)
        application = view.application
        lines = [list(line) for line in self._environment.lines]
        for text in application.executables:
            try:
                lines.append(shlex.split(text))
            except ValueError:
                continue
        for line in lines:
            yield from self._started.line(line, "")
        yield from self._sourced(view)

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        if entry.type is not FileType.FILE or NOT_RUN.match(entry.path) or LIBRARIES.search(entry.path):
            return
        if FIRST.search(entry.path):
            if all(reason.rule != "recorded" for reason in view.kept[entry.path]):
                return
        elif not SUFFIX.search(entry.path):
            if not entry.executable:
                return
            shebang = parse_shebang(head(entry, view, BUFFER))
            if shebang is None or not _is_shell(shebang.program, shebang.argument):
                return
        yield from self._script(entry, view)

    def _script(self, entry: Entry, view: View) -> Iterator[Need]:
        if entry.path in self._read:
            return
        self._read.add(entry.path)
        if entry.size > LARGEST:
            view.warn(ClosureWarning("shell", entry.path, "too large to be read as a script", 20))
            return
        yield from self._started.text(head(entry, view, LARGEST), entry.path, named=True)
        yield from self._sourced(view)

    def _sourced(self, view: View) -> Iterator[Need]:
        while self._started.scripts:
            found = view.root.entry(self._started.scripts.pop())
            if found is not None and head(found, view, 4) != b"\x7fELF":
                yield from self._script(found, view)
                yield from self._beside(found.path, view)

    def _beside(self, path: str, view: View) -> Iterator[Need]:
        """A login shell reads the scripts of profile.d, and its user's own behind the system's."""
        if path == LOGIN:
            for name in sorted(view.root.children("/etc/profile.d")):
                if name.endswith(".sh"):
                    yield from self._started.line(["sh", f"/etc/profile.d/{name}"], path)
        for home in dict.fromkeys(("/root", *self._environment.directories("HOME"))) if path in PERSONAL else ():
            for name in PERSONAL[path]:
                if view.root.find(f"{home}/{name}") is not None:
                    yield from self._started.line(["sh", f"{home}/{name}"], path)


def _is_shell(program: str, argument: str) -> bool:
    return program in SHELLS or (program == "busybox" and posixpath.basename(argument.split(" ")[0]) in SHELLS)
