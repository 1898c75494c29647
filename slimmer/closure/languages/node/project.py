"""What the sources of one application start together: constants and helpers may stand in another file."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from slimmer.closure.commands.needs import CommandNeed
from slimmer.closure.commands.search import head
from slimmer.closure.languages.node.imports import JavaScript, scan_together
from slimmer.closure.languages.runtimes import system_owner
from slimmer.closure.model import ClosureWarning, Need, View
from slimmer.root.budget import Unread
from slimmer.root.model import Entry

THIRD_PARTY = re.compile(r"/node_modules/|\.min\.js$|/(?:dist|build|bundle|public|static|assets)/.*\.js$")
LARGEST = 1_000_000  # bytes of sources that are read as one
SHORT = 64 << 10  # bytes of a JSON file that may hold commands
MOST_DATA = 30


class Project:
    """Collects an application's sources, and its data in JSON; `settle` reads them as one."""

    def __init__(self, view: View, commands: CommandNeed) -> None:
        self._view = view
        self._commands = commands
        self._sources: dict[str, tuple[Entry, JavaScript]] = {}
        self._data: dict[str, Entry] = {}
        self._fresh = False

    def see(self, entry: Entry, found: JavaScript) -> Iterator[Need]:
        """What one source starts by itself."""
        yield from self._commands.calls(found.commands, entry.path)
        if THIRD_PARTY.search(entry.path) or system_owner(entry.path, self._view) is not None:
            self._warn(entry.path, found)
        else:
            self._sources[entry.path] = (entry, found)
            self._fresh = True

    def data(self, entry: Entry) -> None:
        """A JSON file that may be the application's."""
        if 0 < entry.size <= SHORT and len(self._data) < MOST_DATA and not THIRD_PARTY.search(entry.path):
            self._data[entry.path] = entry

    def settle(self) -> Iterator[Need]:
        """Once for each set of sources."""
        if not self._fresh:
            return
        self._fresh = False
        together: dict[str, JavaScript] = {}
        if any(found.starts for _, found in self._sources.values()):
            with contextlib.suppress(Unread):  # each by itself said so; what it alone starts is known
                together = scan_together(self._chosen())
        for path, (_, found) in self._sources.items():
            known = together.get(path, found)
            yield from self._commands.calls((each for each in known.commands if each not in found.commands), path)
            self._warn(path, known)

    def _chosen(self) -> list[tuple[str, bytes]]:
        """Those that can start programs first; as many as may be read together."""
        chosen: list[tuple[str, bytes]] = []
        size = 0
        order = sorted(self._sources.items(), key=lambda item: (not item[1][1].starts, item[0]))
        for path, entry in [*((path, pair[0]) for path, pair in order), *sorted(self._data.items())]:
            if size + entry.size <= LARGEST:
                size += entry.size
                chosen.append((path, head(entry, self._view, LARGEST)))
        return chosen

    def _warn(self, path: str, found: JavaScript) -> None:
        if found.starting:
            text = f"line {found.starting[0]} starts a program whose name is computed: --exec it, or --include it"
            self._view.warn(ClosureWarning("node-command", path, text, 25))
