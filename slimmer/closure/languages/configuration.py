"""Command lines in configuration: the formats of cron and of supervisors, and values of the application's own files.

| where | what |
| --- | --- |
| crontabs, where cron is kept | the rest of each line, by /bin/sh; scripts of /etc/cron.hourly and its like |
| supervisord's programs, Procfile | what follows `command=` or the name, started at once or later |
| JSON, YAML, TOML, INI of the application | values that look like a command line, texts or lists |
"""

from __future__ import annotations

import contextlib
import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

from slimmer.closure.commands.literals import CommandLine
from slimmer.closure.commands.needs import Embedded
from slimmer.closure.commands.search import head
from slimmer.closure.commands.settings import values
from slimmer.closure.languages.base import NOTHING, LanguageRule
from slimmer.closure.limits import OWN_TEXT
from slimmer.closure.model import Need, Reason, View
from slimmer.closure.profiles.load import Profile
from slimmer.closure.started import SYSTEM
from slimmer.root.model import Entry, FileType

LARGEST = 256 * 1024  # bytes; what is longer is data
CRON = frozenset({"cron", "crond", "anacron", "supercronic", "fcron", "busybox"})
CRONTABS = ("/etc/cron.d", "/var/spool/cron/crontabs", "/var/spool/cron", "/etc/crontabs")
WITH_USER = re.compile(r"/etc/(?:crontab|cron\.d/.*)")
PARTS = ("/etc/cron.hourly", "/etc/cron.daily", "/etc/cron.weekly", "/etc/cron.monthly", "/etc/periodic")
FIELD = re.compile(r"[\d*/,LW#?A-Za-z-]+")
VALUES = re.compile(r"\.(?:json|jsonc|ya?ml|toml|ini|cfg|conf|config|properties|env)$|/(?:\.env|config|settings)$")
NOT_COMMANDS = re.compile(
    r"/(?:package(?:-lock)?|composer|tsconfig|manifest|bower|pyproject)\.(?:json|toml)$|/node_modules/"
)
PROCFILE = re.compile(r"/Procfile(?:\.\w+)?$")
OWN_RULES = frozenset({"recorded", "application"})


def crontab(text: str, *, user: bool) -> Iterator[CommandLine]:
    """The commands of a crontab. `user`: the sixth field is a user's name. Source: crontab(5)."""
    for number, line in enumerate(text.splitlines(), 1):
        fields = 1 if line.lstrip().startswith("@") else 5
        words = line.split(maxsplit=fields)
        if (
            line.lstrip().startswith("#")
            or len(words) <= fields
            or not (fields == 1 or all(FIELD.fullmatch(word) for word in words[:fields]))
        ):
            continue
        command = words[fields].split(maxsplit=1)[-1] if user else words[fields]
        yield CommandLine((re.split(r"(?<!\\)%", command)[0].replace("\\%", "%"),), number, True)


def procfile(text: str) -> Iterator[CommandLine]:
    """`web: gunicorn app:app`."""
    for number, line in enumerate(text.splitlines(), 1):
        name, colon, command = line.partition(":")
        if colon and re.fullmatch(r"[\w-]+", name) and command.strip():
            yield CommandLine((command.strip(),), number, True)


def supervisord(text: str) -> Iterator[CommandLine]:
    """Programs of every section, those that start later too; supervisord itself splits the words, without a shell."""
    for number, line in enumerate(text.splitlines(), 1):
        name, equals, command = line.partition("=")
        if equals and name.strip() in ("command", "process_name_command") and command.strip():
            with contextlib.suppress(ValueError):
                yield CommandLine(tuple(shlex.split(re.split(r"\s;", command)[0])), number)


class ConfigurationRule(LanguageRule):
    """Programs that configuration names: of cron and supervisors for certain, elsewhere by their looks."""

    name = "configuration"
    command_rule = "configuration"

    def __init__(self, inline: Mapping[str, Embedded] = NOTHING, profiles: Sequence[Profile] | None = None) -> None:
        super().__init__(inline, profiles)
        self._cron = False

    def visit(self, entry: Entry, view: View) -> Iterator[Need]:
        path = entry.path
        if not self._cron and entry.executable and self._is_cron(path):
            self._cron = True
            yield from self._crontabs(path, view)
        if entry.type is not FileType.FILE or not 0 < entry.size <= LARGEST:
            return
        if PROCFILE.search(path):
            yield from self._started.calls(procfile(self._text(entry, view)), path)
        elif "/supervisor" in path and path.endswith((".conf", ".ini")):
            yield from self._started.calls(supervisord(self._text(entry, view)), path)
        elif VALUES.search(path) and not NOT_COMMANDS.search(path) and self._is_own(path, view):
            yield from self._started.mentions(values(self._text(entry, view), path), path, OWN_TEXT)

    def _is_cron(self, path: str) -> bool:
        name = posixpath.basename(path)
        words = {posixpath.basename(word) for line in self._environment.lines for word in line}
        return name in CRON and (name != "busybox" or "crond" in words)

    def _text(self, entry: Entry, view: View) -> str:
        raw = head(entry, view, LARGEST)
        return "" if b"\0" in raw else raw.decode("utf-8", "surrogateescape")

    def _is_own(self, path: str, view: View) -> bool:
        if any(each.type in SYSTEM for each in view.packages.owners(path)):
            return False
        return any(reason.rule in OWN_RULES for reason in view.kept.get(path, ()))

    def _crontabs(self, cron: str, view: View) -> Iterator[Need]:
        reason = Reason(self.name, f"read by {cron}", cron)
        yield Need("/bin/sh", Reason(self.name, f"{cron} starts each command by it", cron))
        tables = ["/etc/crontab", *(f"{each}/{name}" for each in CRONTABS for name in view.root.children(each))]
        for table in tables:
            entry = view.root.find(table)
            if entry is None or entry.type is not FileType.FILE:
                continue
            yield Need(table, reason)
            lines = crontab(self._text(entry, view), user=WITH_USER.fullmatch(table) is not None)
            yield from self._started.calls(lines, entry.path)
        for directory in PARTS:
            found = view.root.find(directory)
            for part in view.root.walk(found.path) if found is not None else ():
                if part.executable and not any(each.type in SYSTEM for each in view.packages.owners(part.path)):
                    yield Need(part.path, Reason(self.name, f"run by run-parts from {directory}", cron))
