"""Paths that the application's own texts name: document roots, key files, data directories, programs.

Configuration and scripts spell most of what a later request will open: the second
virtual host's root, `dir /var/lib/redis`, `loadmodule …`. Only texts that the run
read or that are the application's own are looked at, and only names that exist.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator

from slimmer.closure.commands.search import said
from slimmer.closure.model import ClosureWarning, Level, Need, Reason, Rule, View
from slimmer.closure.ownership.application import OwnFiles
from slimmer.closure.profiles.drops import Drops, size_of
from slimmer.closure.profiles.load import Profile
from slimmer.facts.remember import reader
from slimmer.root.model import Entry, FileType

LIMIT = 256 * 1024  # bytes of a text; what is longer is data
OWN_RULES = frozenset({"recorded", "application"})
PATH = re.compile(r"(?<![\w.$%}\])*<~\\/-])/(?:[\w.+@,~=-]+/)*[\w.+@,~=-]+/?")
COMMENT = re.compile(r"^[^\S\n]*+(?:#(?!!)|//|;|--[^\S\n]).*$", re.MULTILINE)
# Documents and data, in which a path is no more than a word.
DATA = re.compile(
    r".*\.(?:pem|crt|css|s?html?|xhtml|svg|map|min\.js|md|rst|txt|lock|csv|tsv|json5?|sum|po|mo|sql|log)|.*/magic",
    re.IGNORECASE,
)
SKIPPED = ("/etc/ssl/certs/", "/usr/share/", "/usr/lib/", "/lib/", "/etc/passwd", "/etc/group", "/etc/mime.types")


@reader
def named_in(raw: bytes) -> tuple[str, ...]:
    """Paths that a text names outside of comments; none where it is no text."""
    if b"\0" in raw:
        return ()
    return tuple(sorted(set(PATH.findall(COMMENT.sub("", raw.decode("utf-8", "surrogateescape"))))))


class MentionRule(Rule):
    """Keeps what exists of the paths that such a text names."""

    name = "mention"
    level = Level.REACHABLE

    def __init__(self, profiles: Iterable[Profile] = ()) -> None:
        self._profiles = tuple(profiles)
        self._drops = Drops(self._profiles)
        self._limit = max((each.programs.mention_limit for each in self._profiles), default=0)
        self._own: OwnFiles | None = None
        self._seen: set[str] = set()

    def begin(self, view: View) -> Iterable[Need]:
        self._own = OwnFiles(self._profiles, view.root, view.recording, view.packages)
        return ()

    def visit(self, entry: Entry, view: View) -> Iterator[Need]:
        if not self._is_own_text(entry, view):
            return
        for named in said(entry, view, LIMIT, named_in):
            path = posixpath.normpath(named.rstrip("/.,") or "/")
            if path.count("/") > 1 or named.endswith("/") or self._is_unit(path, view):
                yield from self._mentioned(path, entry.path, view)

    def _is_own_text(self, entry: Entry, view: View) -> bool:
        if entry.type is not FileType.FILE or not 0 < entry.size <= LIMIT:
            return False
        if entry.path.startswith(SKIPPED) or DATA.fullmatch(entry.path):
            return False
        return any(reason.rule in OWN_RULES for reason in view.kept.get(entry.path, ()))

    def _is_unit(self, path: str, view: View) -> bool:
        """`/app` is a path of an application; `/` plus any other single word is more often a route."""
        assert self._own is not None
        return self._own.units.top(path) == path

    def _mentioned(self, path: str, text: str, view: View) -> Iterator[Need]:
        assert self._own is not None
        found = view.root.resolve(path)
        if found.entry is None:
            return
        reason = Reason(self.name, f"named in {text}", text)
        if found.entry.type is not FileType.DIRECTORY:
            yield Need(path, reason)
            return
        if found.path in self._seen or not self._own.units.top(found.path):
            return
        self._seen.add(found.path)
        yield Need(path, reason)
        yield from (Need(entry.path, reason) for entry in self._own.entries(found.path))
        packaged = [
            entry
            for entry in view.root.walk(found.path)
            if not self._own.units.own(entry.path) and not self._drops.of_package(entry.path)
        ]
        if size_of(packaged) <= self._limit:
            yield from (Need(entry.path, reason) for entry in packaged)
        else:
            view.warn(
                ClosureWarning(
                    "mentioned-directory",
                    found.path,
                    f"{text} names it, and it is too large to stay whole ({size_of(packaged):,} bytes)",
                    35,
                )
            )
