"""The worklist: needs in, kept paths with reasons out, level by level, until nothing changes.

The levels are grown one on top of the other in a single run, each with the rules of
the levels below still active, so that what each of them would weigh is known at
once and no path of a lower level owes its place to a rule of a higher one. What
lies above the level that is asked for is not grown: it would visit ten times as
many paths, and warn of files that are not there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from slimmer.closure.model import UNREAD, Application, ClosureWarning, Level, Need, Omission, Reason, Rule, View
from slimmer.packages.model import PackageIndex
from slimmer.root.budget import Unread, Watch
from slimmer.root.model import Entry, FileType, Root, sort_key
from tracer.recording import Recording

MAX_REASONS = 24  # of one path; /usr has as many reasons as there are files below it, and nobody reads them all
TOLD_EVERY = 64  # visits


@dataclass(frozen=True, slots=True)
class Kept:
    """One path of the closure: why it stays, and from which level on each reason counts. The first is the lowest."""

    reasons: tuple[Reason, ...]
    since: tuple[Level, ...]

    @property
    def level(self) -> Level:
        """The lowest level that holds it."""
        return self.since[0]

    def at(self, level: Level) -> tuple[Reason, ...]:
        """The reasons that count at a level: those of a higher one speak of paths that are not there."""
        return tuple(reason for reason, since in zip(self.reasons, self.since, strict=True) if since <= level)


@dataclass(frozen=True, slots=True)
class Closure:
    """All paths of all levels that were grown, sorted as bytes."""

    paths: Mapping[str, Kept]
    warnings: tuple[ClosureWarning, ...]
    left_out: tuple[Omission, ...] = ()  # some of them may have stayed for another reason
    refused: Mapping[str, tuple[Reason, ...]] = field(default_factory=dict)  # what `never` kept out, and who asked

    def at(self, level: Level) -> Iterator[str]:
        """The paths of a level and those below it."""
        return (path for path, kept in self.paths.items() if kept.level <= level)


def grow(
    root: Root,
    recording: Recording,
    packages: PackageIndex,
    application: Application,
    rules: Sequence[Rule],
    *,
    highest: Level = Level.PACKAGES,
    never: Callable[[str], str] = lambda path: "",
    told: Callable[[int], None] = lambda paths: None,
) -> Closure:
    """Grow the closure of a recording. `never` names paths that must not enter, with its reason.

    `told` hears now and then how many paths there are.
    """
    return _Worklist(root, recording, packages, application, rules, never, told).grow(highest)


class _Worklist:
    def __init__(
        self,
        root: Root,
        recording: Recording,
        packages: PackageIndex,
        application: Application,
        rules: Sequence[Rule],
        never: Callable[[str], str],
        told: Callable[[int], None],
    ) -> None:
        self._told = told
        self._visited = 0
        self._root = root
        self._rules = rules
        self._never = never
        self._level = Level.RECORDED
        self._reasons: dict[str, list[Reason]] = {}
        self._since: dict[str, list[Level]] = {}  # of each reason
        self._queue: deque[Entry] = deque()
        self._trees: set[str] = set()
        self._watch = Watch()
        self._warnings: dict[ClosureWarning, None] = {}
        self._left_out: set[Omission] = set()
        self._refused: dict[str, dict[Reason, None]] = {}
        self._view = View(
            root=root,
            recording=recording,
            packages=packages,
            application=application,
            kept=self._reasons,
            warn=lambda warning: self._warnings.setdefault(warning),
            left_out=self._left_out.add,
        )

    def grow(self, highest: Level) -> Closure:
        with self._watch.armed():
            for level in Level:
                if level <= highest:
                    self._reach(level)
        order = sorted(self._reasons, key=sort_key)
        kept = {path: Kept(tuple(self._reasons[path]), tuple(self._since[path])) for path in order}
        warnings = sorted(self._warnings, key=lambda each: (-each.weight, each.kind, each.path))
        refused = {path: tuple(reasons) for path, reasons in self._refused.items()}
        return Closure(kept, tuple(warnings), tuple(sorted(self._left_out)), refused)

    def _reach(self, level: Level) -> None:
        self._level = level
        active = [rule for rule in self._rules if rule.level <= level]
        fresh = [rule for rule in active if rule.level == level]
        known = list(self._reasons)
        for rule in fresh:
            self._take(rule, "/", rule.begin(self._view))
        for path in known:
            entry = self._root.entry(path)
            if entry is not None:
                for rule in fresh:
                    self._visit(rule, entry)
        while True:
            self._drain(active)
            before = len(self._reasons)
            for rule in active:
                self._take(rule, "/", rule.settle(self._view))
            if len(self._reasons) == before:
                break

    def _drain(self, active: Sequence[Rule]) -> None:
        while self._queue:
            entry = self._queue.popleft()
            self._visited += 1
            if self._visited % TOLD_EVERY == 0:
                self._told(len(self._reasons))
            for rule in active:
                self._visit(rule, entry)

    def _visit(self, rule: Rule, entry: Entry) -> None:
        self._watch.alive += 1
        self._watch.reading = True
        try:
            self._take(rule, entry.path, rule.visit(entry, self._view))
        except (Unread, RecursionError, MemoryError) as error:  # a rule that is no generator
            self._unread(rule, entry.path, error)
        finally:
            self._watch.reading = False

    def _take(self, rule: Rule, path: str, needs: Iterable[Need]) -> None:
        """All that a rule says; what it could not read is said, and what it said before that counts."""
        try:
            for need in needs:
                self._watch.alive += 1
                self._need(need)
        except (Unread, RecursionError, MemoryError) as error:
            self._unread(rule, path, error)

    def _unread(self, rule: Rule, path: str, error: BaseException) -> None:
        why = str(error) if isinstance(error, Unread) else "it is nested too deeply, or too large for the memory"
        self._warnings.setdefault(
            ClosureWarning("unread", path, f"not read to its end for what it needs ({rule.name}): {why}", UNREAD)
        )

    def _need(self, need: Need) -> None:
        if "/.." in need.path:
            self._passed(need)
        found = self._root.resolve(need.path, follow=need.follow)
        if found.entry is None:
            # A link that leads nowhere is an answer too; other things that are missing are missing here as there.
            found = self._root.resolve(need.path, follow=False)
            if found.entry is None or found.entry.type is not FileType.SYMLINK:
                return
        link_reason = Reason("link", f"link on the way to {found.path}", found.path)
        for link in found.links:
            self._keep(link, link_reason if link != found.path else need.reason)
        self._keep(found.path, need.reason)
        if need.tree and found.entry.type is FileType.DIRECTORY and found.path not in self._trees:
            self._trees.add(found.path)
            below = Reason(need.reason.rule, need.reason.text, need.reason.needed_by or found.path)
            for entry in self._root.walk(found.path):
                self._keep(entry.path, below, entry)

    def _passed(self, need: Need) -> None:
        """The kernel walks through what stands before a `..`, so it must be there."""
        parts = need.path.split("/")
        for at, part in enumerate(parts):
            if part == ".." and at > 1:
                prefix = "/".join(parts[:at])
                self._need(Need(prefix, Reason("link", f"passed on the way of {need.path}", need.reason.needed_by)))

    def _keep(self, path: str, reason: Reason, entry: Entry | None = None) -> None:
        reasons = self._reasons.get(path)
        if reasons is not None:
            if len(reasons) < MAX_REASONS and reason not in reasons:
                reasons.append(reason)
                self._since[path].append(self._level)
            return
        if self._never(path):
            known = self._refused.setdefault(path, {})
            if len(known) < MAX_REASONS:
                known.setdefault(reason)
            return
        entry = entry or self._root.entry(path)
        if entry is None:
            return
        self._parents(path)
        self._reasons[path] = [reason]
        self._since[path] = [self._level]
        self._queue.append(entry)

    def _parents(self, path: str) -> None:
        missing = []
        parent = path
        while parent != "/":
            parent = parent[: parent.rindex("/")] or "/"
            if parent in self._reasons:
                break
            missing.append(parent)
        for each in reversed(missing):
            entry = self._root.entry(each)
            if entry is not None:
                self._reasons[each] = [Reason("directory", f"holds {path}", path)]
                self._since[each] = [self._level]
                self._queue.append(entry)
