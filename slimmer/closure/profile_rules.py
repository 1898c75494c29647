"""Applies profiles: watches the closure for their conditions and keeps what the fulfilled ones name.

Conditions are looked at when the worklist runs dry, so what a profile's reason
names as its cause does not depend on the order in which paths entered.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from slimmer.closure import globs
from slimmer.closure.burden import Burden, doubt
from slimmer.closure.drops import Drops, size_of
from slimmer.closure.model import Level, Need, Reason, Rule, Unsure, View
from slimmer.closure.profiles import Keep, Profile, When
from slimmer.closure.started_programs import SYSTEM, Started
from slimmer.packages.model import Package
from slimmer.root.model import Entry, FileType, sort_key

_Compile = Callable[[Iterable[str]], globs.Globs]


@dataclass(slots=True)
class _Condition:
    """One `when`, and the kept paths that fulfil it so far."""

    when: When
    causes: set[str] = field(default_factory=set)
    fulfilled: bool = False
    cause: str = ""

    def decide(self) -> bool:
        """Whether it holds now; the cause is fixed the first time."""
        if not self.fulfilled and self.causes:
            self.fulfilled, self.cause = True, min(self.causes, key=sort_key)
        return self.fulfilled


@dataclass(slots=True)
class _Task:
    """One keep entry, waiting for its conditions."""

    profile: Profile
    keep: Keep
    conditions: tuple[_Condition, ...]
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
        self._conditions: list[_Condition] = []
        self._tasks: list[_Task] = []
        for profile in self._profiles:
            whole = self._condition(profile.when)
            for keep in (*profile.keep, *_writable(profile)):
                self._tasks.append(_Task(profile, keep, (whole, self._condition(keep.when))))
        self._by_path = _Watch(self._conditions, "paths", globs.matcher)
        self._by_soname = _Watch(self._conditions, "sonames", globs.names)
        self._by_interpreter = _Watch(self._conditions, "interpreters", globs.names)
        self._by_package = _Watch(self._conditions, "packages", globs.names)
        siblings = [task for task in self._tasks if task.keep.siblings]
        self._siblings = [(task, globs.matcher(task.keep.siblings)) for task in siblings]
        self._any_sibling = globs.matcher(glob for task in siblings for glob in task.keep.siblings)
        self._programs: list[str] = []  # kept programs of a name that some profile waits for
        self._started: Started | None = None
        self._burden: Burden | None = None
        self._brings = max((profile.programs.brings for profile in self._profiles), default=0)
        self._named: dict[str, list[Package]] | None = None

    def _condition(self, when: When) -> _Condition:
        condition = _Condition(when, fulfilled=not when)
        self._conditions.append(condition)
        return condition

    def begin(self, view: View) -> Iterable[Need]:
        """Conditions on the environment are known from the start."""
        self._started = Started(view)
        self._burden = Burden(view.root)
        names = set(view.application.env or ())
        names.update(name for each in view.recording.executions for name, _ in each.environment)
        for condition in self._conditions:
            if names.intersection(condition.when.environment):
                condition.fulfilled = True
        return ()

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        path = entry.path
        self._by_path.see(path, path)
        if entry.type is FileType.DIRECTORY:
            return ()
        name = posixpath.basename(path)
        self._by_soname.see(name, path)
        if (entry.executable or entry.type is FileType.SYMLINK) and self._by_interpreter.knows(name):
            self._programs.append(path)
        if entry.type is FileType.FILE:
            owner = view.packages.owner(path)
            if owner is not None and owner.type in SYSTEM:
                self._by_package.see(owner.name, path)
        if self._any_sibling.fullmatch(path):
            for task, matches in self._siblings:
                if matches.fullmatch(path):
                    task.matched.add(path)
        return ()

    def settle(self, view: View) -> Iterable[Need]:
        """Decide the conditions, then keep what the entries that newly hold name."""
        self._look_at_programs(view)
        for condition in self._conditions:
            condition.decide()
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

    def _look_at_programs(self, view: View) -> None:
        """A program kept so far may turn out to be started by what was kept since, so none is forgotten before."""
        assert self._started is not None
        waiting = []
        for path in self._programs:
            found = view.root.find(path)
            if found is not None and found.executable and found.path in self._started:
                self._by_interpreter.see(posixpath.basename(path), found.path)
            else:
                waiting.append(path)
        self._programs = waiting

    def _keep(self, task: _Task, view: View) -> list[Need]:
        keep, reason = task.keep, task.reason()
        excluded = globs.whole(keep.excluding)
        entries: dict[str, Entry] = {}
        spelled: dict[str, Need] = {}
        for path, entry in (*self._named_paths(keep, view), *self._packaged_paths(keep, view)):
            if excluded.fullmatch(path) or excluded.fullmatch(entry.path) or self._is_heavy(entry, keep, view):
                continue
            entries[entry.path] = entry
            spelled[path] = Need(path, reason)
        if keep.limit and (size := size_of([e for p, e in entries.items() if p not in view.kept])) > keep.limit:
            view.unsure(
                Unsure(
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
        assert self._burden is not None
        limit = keep.brings or self._brings
        if not limit or entry.path in view.kept or (size := self._burden.of(entry, view.kept)) <= limit:
            return False
        view.unsure(doubt(entry.path, size))
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


class _Watch:
    """Tells the conditions that speak of a word when a kept path brings it."""

    def __init__(self, conditions: Iterable[_Condition], word: str, compile_globs: _Compile) -> None:
        having = [(each, getattr(each.when, word)) for each in conditions if getattr(each.when, word)]
        self._any = compile_globs(glob for _, patterns in having for glob in patterns)
        self._each = [(each, compile_globs(patterns)) for each, patterns in having]
        self._known: dict[str, list[_Condition]] = {}

    def knows(self, value: str) -> bool:
        """Whether any condition waits for this."""
        return bool(self._waiting(value))

    def _waiting(self, value: str) -> list[_Condition]:
        conditions = self._known.get(value)
        if conditions is None:
            conditions = []
            if self._any.fullmatch(value):
                conditions = [each for each, matches in self._each if matches.fullmatch(value)]
            self._known[value] = conditions
        return conditions

    def see(self, value: str, path: str) -> None:
        for condition in self._waiting(value):
            if not condition.fulfilled:
                condition.causes.add(path)


def _writable(profile: Profile) -> Iterator[Keep]:
    if profile.writable.paths:
        yield Keep(why=profile.writable.why, directories=profile.writable.paths)
