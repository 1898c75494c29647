"""Applies profiles: watches the closure for their conditions and keeps what the fulfilled ones name.

Conditions are looked at when the worklist runs dry, so what a profile's reason
names as its cause does not depend on the order in which paths entered.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from slimmer.closure.binaries.cost import DependencyCost, heavy_plugin
from slimmer.closure.model import ClosureWarning, Level, Need, Omission, Reason, Rule, View
from slimmer.closure.profiles import globs
from slimmer.closure.profiles.conditions import Condition, Conditions
from slimmer.closure.profiles.drops import Drops, size_of
from slimmer.closure.profiles.load import Keep, Profile
from slimmer.packages.model import Package
from slimmer.root.model import Entry, FileType, sort_key


@dataclass(slots=True)
class _Task:
    """One keep entry, waiting for its conditions."""

    profile: Profile
    keep: Keep
    conditions: tuple[Condition, ...]
    done: bool = False
    matched: set[str] = field(default_factory=set)  # kept paths that match `siblings`
    served: set[str] = field(default_factory=set)

    @property
    def cause(self) -> str:
        return next((each.cause for each in reversed(self.conditions) if each.cause), "")

    def reason(self) -> Reason:
        return Reason(f"profile:{self.profile.name}", self.keep.why, self.cause)


class ProfileRule(Rule):
    """All profiles as one rule; each reason is named `profile:NAME`."""

    name = "profile"
    level = Level.REACHABLE

    def __init__(self, profiles: Iterable[Profile]) -> None:
        self._profiles = tuple(profiles)
        self._drops = Drops(self._profiles)
        pairs = [(each, keep) for each in self._profiles for keep in (*each.keep, *_writable(each))]
        whens = [*(each.when for each in self._profiles), *(keep.when for _, keep in pairs)]
        self._conditions = Conditions(whens)
        whole = {id(each): self._conditions[place] for place, each in enumerate(self._profiles)}
        self._tasks = [
            _Task(profile, keep, (whole[id(profile)], self._conditions[place]))
            for place, (profile, keep) in enumerate(pairs, len(self._profiles))
        ]
        siblings = [task for task in self._tasks if task.keep.siblings]
        self._siblings = [(task, globs.matcher(task.keep.siblings)) for task in siblings]
        self._any_sibling = globs.matcher(glob for task in siblings for glob in task.keep.siblings)
        self._cost: DependencyCost | None = None
        self._max_dependency = max((profile.programs.max_dependency_bytes for profile in self._profiles), default=0)
        self._named: dict[str, list[Package]] | None = None

    def begin(self, view: View) -> Iterable[Need]:
        self._conditions.begin(view)
        self._cost = DependencyCost(view.root)
        return ()

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        path = entry.path
        self._conditions.see(entry, view)
        if entry.type is FileType.DIRECTORY:
            return ()
        if self._any_sibling.fullmatch(path):
            for task, matches in self._siblings:
                if matches.fullmatch(path):
                    task.matched.add(path)
        return ()

    def settle(self, view: View) -> Iterable[Need]:
        """Decide the conditions, then keep what the entries that newly hold name."""
        self._conditions.decide(view)
        needs: list[Need] = []
        for task in self._tasks:
            if not all(condition.fulfilled for condition in task.conditions):
                continue
            if not task.done:
                task.done = True
                needs.extend(self._keep(task, view))
            if task.matched - task.served:
                needs.extend(self._sibling_needs(task, view))
        return needs

    def _keep(self, task: _Task, view: View) -> list[Need]:
        keep, reason = task.keep, task.reason()
        excluded = globs.whole(keep.excluding)
        entries: dict[str, Entry] = {}
        spelled: dict[str, Need] = {}
        for path, entry in (*self._named_paths(keep, view), *self._packaged_paths(keep, view)):
            if excluded.fullmatch(path) or excluded.fullmatch(entry.path):
                view.left_out(Omission("", entry.path))
                continue
            if self._is_heavy(entry, keep, view):
                continue
            entries[entry.path] = entry
            spelled[path] = Need(path, reason)
        if keep.limit and (size := size_of([e for p, e in entries.items() if p not in view.kept])) > keep.limit:
            view.warn(
                ClosureWarning(
                    "too-large",
                    task.cause,
                    f"profile {task.profile.name} would keep {size:,} more bytes, above its limit of"
                    f" {keep.limit:,}, so only what was used stays: {keep.why}",
                    45,
                )
            )
            return []
        for pattern in keep.directories:
            for path in globs.expand(view.root, pattern):
                found = view.root.find(path)
                if found is not None and found.type is FileType.DIRECTORY and not excluded.fullmatch(path):
                    spelled[path] = Need(path, reason)
        return list(spelled.values())

    def _named_paths(self, keep: Keep, view: View) -> Iterator[tuple[str, Entry]]:
        """(path as spelled, what is there) for each path of an entry and all below those that are directories."""
        for pattern in keep.paths:
            for path in globs.expand(view.root, pattern):
                found = view.root.find(path)
                if found is None:
                    continue
                yield path, found
                if found.type is FileType.DIRECTORY:
                    for below in view.root.walk(found.path):
                        if not self._drops.of_package(below.path):
                            yield below.path, below

    def _packaged_paths(self, keep: Keep, view: View) -> Iterator[tuple[str, Entry]]:
        for package in self._named_packages(keep, view):
            for entry in self._drops.package_files(view.root, view.packages, package):
                yield entry.path, entry

    def _is_heavy(self, entry: Entry, keep: Keep, view: View) -> bool:
        """Whether a plugin that nothing used would bring more libraries than it may."""
        assert self._cost is not None
        limit = keep.max_dependency_bytes or self._max_dependency
        if not limit or entry.path in view.kept or (size := self._cost.of(entry, view.kept)) <= limit:
            return False
        view.warn(heavy_plugin(entry.path, size))
        return True

    def _named_packages(self, keep: Keep, view: View) -> Iterator[Package]:
        if not keep.packages:
            return
        if self._named is None:
            self._named = {}
            for package in view.packages.system_packages():
                self._named.setdefault(package.name, []).append(package)
        known = globs.names(keep.packages)
        for name in sorted(self._named):
            if known.fullmatch(name):
                yield from self._named[name]

    def _sibling_needs(self, task: _Task, view: View) -> Iterator[Need]:
        """The other matches in the directories of the matched, held by the same package (or, like it, by none)."""
        matches = globs.matcher(task.keep.siblings)
        excluded = globs.whole(task.keep.excluding)
        fresh = sorted(task.matched - task.served, key=sort_key)
        task.served.update(fresh)
        seen: set[tuple[str, Package | None]] = set()
        for path in fresh:
            group = (posixpath.dirname(path), view.packages.owner(path))
            if group in seen:
                continue
            seen.add(group)
            reason = Reason(f"profile:{task.profile.name}", task.keep.why, path)
            for name in view.root.children(group[0]):
                other = posixpath.join(group[0], name)
                if (
                    other not in view.kept
                    and matches.fullmatch(other)
                    and not excluded.fullmatch(other)
                    and view.packages.owner(other) == group[1]
                    and (entry := view.root.find(other)) is not None
                    and not self._is_heavy(entry, task.keep, view)
                ):
                    yield Need(other, reason)


def _writable(profile: Profile) -> Iterator[Keep]:
    if profile.writable.paths:
        yield Keep(why=profile.writable.why, directories=profile.writable.paths)
