"""What variables of the environment name: programs, files, directories, libraries that are loaded first.

RENDERER=/usr/bin/rsvg-convert     EDITOR=nano   LD_PRELOAD=libjemalloc.so.2   FONTCONFIG_FILE=/etc/app/fonts.conf
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from slimmer.closure.commands.literals import CommandLine
from slimmer.closure.commands.search import Libraries
from slimmer.closure.languages.base import LanguageRule
from slimmer.closure.limits import OWN_TEXT
from slimmer.closure.model import Need, Reason, View
from slimmer.root.model import FileType

# Search paths, and what describes the session and not what is to be used.
SKIPPED = re.compile(
    r"(?:.*PATH|HOME|PWD|OLDPWD|SHLVL|TERM|USER|LOGNAME|LANG|LC_.*|LANGUAGE|HOSTNAME|LS_COLORS|SHELL|_|TZ|TMPDIR|TEMP|TMP"
    r"|DEBIAN_FRONTEND|XDG_.*_DIRS|PS[1-4]|PROMPT_COMMAND|INVOCATION_ID|JOURNAL_STREAM|NOTIFY_SOCKET|DISPLAY)"
)
PROGRAM = re.compile(
    r".*(?:BIN|CMD|COMMAND|EXE|EXEC|EXECUTABLE|EDITOR|PAGER|PROGRAM|TOOL|BROWSER|RUNNER|CONVERTER|RENDERER)"
)
PRELOAD = frozenset({"LD_PRELOAD", "LD_AUDIT"})
SYSTEM = re.compile(r"/(?:(?:usr|usr/local|home|root|etc|var|opt|srv|tmp|run|proc|sys|dev|mnt|media)(?:/[^/]+)?)?$")
TREE = 8_388_608  # bytes of a directory that stays whole because a variable names it


class EnvironmentRule(LanguageRule):
    """Values of the image's environment, and of the runs', that are a program, a file, or a directory."""

    name = "environment"
    command_rule = "environment"

    def begin(self, view: View) -> Iterable[Need]:
        yield from super().begin(view)
        libraries = Libraries(view)
        for name, value in self._environment.variables:
            reason = Reason(self.name, f"named by the variable {name}")
            if name in PRELOAD:
                for each in re.split(r"[\s:]+", value):
                    if each:
                        yield from libraries.needs(each, reason)
            elif not SKIPPED.fullmatch(name):
                yield from self._value(name, value.strip(), reason, view)

    def _value(self, name: str, value: str, reason: Reason, view: View) -> Iterator[Need]:
        words = value.split()
        if not words or "\0" in value or len(value) > 4000:
            return
        if words[0].startswith("/"):
            found = view.root.find(words[0])
            if found is None:
                return
            if found.type is FileType.DIRECTORY:
                yield from self._directory(found.path, words[0], reason, view)
            elif found.executable:
                yield Need(words[0], reason)
                yield from self._started.line(words, "")
            else:
                yield Need(words[0], reason)
        elif PROGRAM.fullmatch(name.upper()) and re.fullmatch(r"[\w.+-]+", words[0]):
            yield from self._started.line(words, "")
        elif len(words) > 1:
            yield from self._started.mentions([CommandLine((value,), 0, True)], "", OWN_TEXT)

    def _directory(self, path: str, named: str, reason: Reason, view: View) -> Iterator[Need]:
        if SYSTEM.fullmatch(path):
            return
        size = 0
        for entry in view.root.walk(path):
            size += entry.size
            if size > TREE:
                break
        yield Need(named, reason, tree=size <= TREE)
