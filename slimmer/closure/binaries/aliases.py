"""Other names of what stays: of programs, links in the directories of PATH; of any file, links of update-alternatives.

    /usr/bin/identify → /etc/alternatives/identify → /usr/bin/identify-im6.q16
    /usr/bin/awk      → /etc/alternatives/awk      → /usr/bin/mawk
    /bin/ls           → /bin/busybox                  (or a hard link to it)
    /usr/share/gnuplot/gnuplot.gih → /etc/alternatives/gnuplot.gih → /usr/share/gnuplot/gnuplot-nox.gih

A script, or a person in a shell, calls a program by any of them, and a name weighs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from slimmer.closure.commands.search import DEFAULT_PATH
from slimmer.closure.model import Level, Need, Reason, Rule, View
from slimmer.errors import SlimmerError
from slimmer.root.model import Entry, FileType

# Debian's and Red Hat's records of groups: a file each, whose first part names the links.
ALTERNATIVES = ("/var/lib/dpkg/alternatives", "/var/lib/alternatives")


class NamesRule(Rule):
    """Keeps every name in PATH of a program that stays, and every alternative's name of a file that stays."""

    name = "name"
    level = Level.REACHABLE

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}  # canonical path of a program → links that lead to it
        self._alternatives: dict[str, list[str]] = {}  # the same, of any file or directory
        self._identities: dict[tuple[int, int], list[str]] = {}

    def begin(self, view: View) -> Iterator[Need]:
        seen: set[str] = set()
        for directory in _search_paths(view):
            home = view.root.find(directory)
            if home is None or home.path in seen:
                continue
            seen.add(home.path)
            for child in view.root.children(home.path):
                path = f"{home.path.rstrip('/')}/{child}"
                entry = view.root.entry(path)
                if entry is None:
                    continue
                if entry.type is FileType.SYMLINK:
                    found = view.root.find(path)
                    if found is not None and found.type is FileType.FILE:
                        self._names.setdefault(found.path, []).append(path)
                elif entry.type is FileType.FILE and entry.links > 1:
                    self._identities.setdefault(entry.identity, []).append(path)
        for link in _alternatives(view):
            led_to, here = view.root.find(link), view.root.entry(link)
            if led_to is not None and here is not None and here.type is FileType.SYMLINK:
                self._alternatives.setdefault(led_to.path, []).append(link)
        yield from ()

    def visit(self, entry: Entry, view: View) -> Iterator[Need]:
        reason = Reason(self.name, f"another name of {entry.path}", entry.path)
        for link in self._alternatives.get(entry.path, ()):
            yield Need(link, reason, follow=False)
            yield Need(link, reason)
        if not entry.executable:
            return
        for link in self._names.get(entry.path, ()):
            yield Need(link, reason, follow=False)
            yield Need(link, reason)
        if entry.links > 1:
            for path in self._identities.get(entry.identity, ()):
                if path != entry.path:
                    yield Need(path, reason)


def _alternatives(view: View) -> Iterator[str]:
    """The links that update-alternatives made. Source: update-alternatives(1), "FILE FORMATS"."""
    for home in ALTERNATIVES:
        for name in view.root.children(home):
            try:
                text = view.root.read(f"{home}/{name}", 1 << 20).decode("utf-8", "surrogateescape")
            except SlimmerError:
                continue
            yield from (line for line in text.partition("\n\n")[0].splitlines() if line.startswith("/"))


def _search_paths(view: View) -> Iterator[str]:
    values = [(view.application.env or {}).get("PATH", "")]
    values += [value for each in view.recording.executions for name, value in each.environment if name == "PATH"]
    yield from DEFAULT_PATH
    for value in dict.fromkeys(values):
        yield from (part for part in value.split(":") if part.startswith("/"))
