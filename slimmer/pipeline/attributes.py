"""Modes and owners that the image has and the fat root has not, as chmod(1) and chown(1) give them.

A path leads through links as it does for these programs; a glob means each path of the image that it fits, links
themselves too where owners change. All names of one file change, as they are one file. A new owner takes setuid and
setgid bits and file capabilities away, as the kernel does it (chown(2)); --chmod is done last and can set bits again.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from slimmer.closure.model import ClosureWarning
from slimmer.errors import UsageProblem
from slimmer.exercise.identity import account
from slimmer.recipe import ImageOptions
from slimmer.report.words import mode_words
from slimmer.root.layered import ChangedRoot
from slimmer.root.model import Entry, FileType, Root

SHOWN = 12  # changed paths that the review's notes name
GLOB = re.compile(r"[*?\[]")
SETUID, SETGID, GROUP_EXECUTES = 0o4000, 0o2000, 0o010


@dataclass(frozen=True, slots=True)
class Changed:
    """What is packed then: `root` says it, `was` has each changed path's entry before."""

    root: Root
    was: Mapping[str, Entry]
    warnings: tuple[ClosureWarning, ...] = ()

    def notes(self) -> Iterator[str]:
        """For the review, a line for each of the first."""
        for path in list(self.was)[:SHOWN]:
            entry = self.root.entry(path)
            assert entry is not None
            now, was = mode_words(entry), mode_words(self.was[path])
            yield f"{path} is {now} in the image, {was} in the fat root (--chmod, --chown)"
        if len(self.was) > SHOWN:
            yield f"{len(self.was) - SHOWN:,} more paths whose mode or owner --chmod and --chown change"


def require_known(root: Root, image: ImageOptions) -> None:
    """Raises UsageProblem for a path or a name that the fat root does not know: that can be said before it is run."""
    for owner in image.chown.values():
        _ids(root, owner)
    for option, paths in (("--chmod", image.chmod), ("--chown", image.chown)):
        for path in paths:
            if not GLOB.search(path) and root.resolve(path).entry is None:
                raise UsageProblem(f"{option} {path}: {root.name} has no such path", "name one of the root")


def change(root: Root, kept: Sequence[str], image: ImageOptions) -> Changed:
    """The root with what the recipe says of modes and owners of what is packed. Raises UsageProblem."""
    wishes = _Wishes(root, kept)
    for pattern, owner in image.chown.items():
        uid, gid = _ids(root, owner)
        for entry in wishes.fits("--chown", pattern):
            own = replace(entry, uid=entry.uid if uid is None else uid, gid=entry.gid if gid is None else gid)
            wishes.put(replace(own, mode=_without_set_id(entry)) if entry.type is FileType.FILE else own)
    for pattern, mode in image.chmod.items():
        for entry in wishes.fits("--chmod", pattern):
            if entry.type is not FileType.SYMLINK:  # it has none of its own
                wishes.put(replace(entry, mode=int(mode, 8)))
    new = wishes.changed
    if not new:
        return Changed(root, {}, tuple(wishes.warnings))
    return Changed(ChangedRoot(root, new), {path: wishes.before(path) for path in new}, tuple(wishes.warnings))


def _without_set_id(entry: Entry) -> int:
    gone = SETUID | (SETGID if entry.mode & GROUP_EXECUTES else 0)
    return entry.mode & ~gone


def _ids(root: Root, owner: str) -> tuple[int | None, int | None]:
    """USER, USER:GROUP, USER: (his login group) or :GROUP as numbers; None where that stays."""
    user, colon, group = owner.partition(":")
    try:
        uid = account(root, user).identity.uid if user else None
        if group:
            return uid, account(root, f"0:{group}").identity.gid
        return uid, account(root, user).identity.gid if colon else None
    except UsageProblem as error:
        raise UsageProblem(f"--chown {owner}: {error.message}", error.hint) from error


class _Wishes:
    """Entries as they become, by path, in the order in which it is said."""

    def __init__(self, root: Root, kept: Sequence[str]) -> None:
        self._root = root
        self._kept = kept
        self._known = frozenset(kept)
        self._names: dict[tuple[int, int], list[str]] = {}
        self._entries: dict[str, Entry] = {}
        self.warnings: list[ClosureWarning] = []

    @property
    def changed(self) -> dict[str, Entry]:
        """What is otherwise than before, in the order of the paths."""
        found = {path: self._entries[path] for path in self._kept if path in self._entries}
        return {path: entry for path, entry in found.items() if mode_words(entry) != mode_words(self.before(path))}

    def before(self, path: str) -> Entry:
        entry = self._root.entry(path)
        assert entry is not None  # it is packed
        return entry

    def fits(self, option: str, pattern: str) -> Iterator[Entry]:
        paths = list(self._paths(pattern))
        if not paths:
            text = f"{option} changes nothing: the image does not have it"
            self.warnings.append(ClosureWarning("unchanged", pattern, text, 70))
        for path in paths:
            yield self._entries.get(path) or self.before(path)

    def _paths(self, pattern: str) -> Iterable[str]:
        if GLOB.search(pattern):
            fits = re.compile(fnmatch.translate(pattern)).match
            return [path for path in self._kept if path != "/" and fits(path)]
        path = self._root.resolve(pattern).path
        return [path] if path in self._known and path != "/" else []

    def put(self, entry: Entry) -> None:
        """All names of one file at once."""
        for path in self._all_names(entry):
            now = self._entries.get(path) or self.before(path)
            self._entries[path] = replace(now, mode=entry.mode, uid=entry.uid, gid=entry.gid)

    def _all_names(self, entry: Entry) -> Sequence[str]:
        if entry.type is not FileType.FILE or entry.links < 2 or entry.identity == (0, 0):
            return [entry.path]
        if not self._names:
            for path in self._kept:
                each = self._root.entry(path)
                if each is not None and each.links > 1:
                    self._names.setdefault(each.identity, []).append(path)
        return self._names.get(entry.identity, [entry.path])
