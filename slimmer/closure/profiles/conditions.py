"""Conditions of profiles: which of them the closure fulfils, and by which path.

They are decided when the worklist runs dry, so what a reason names as its cause
does not depend on the order in which paths entered.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from slimmer.closure.model import View
from slimmer.closure.profiles import globs
from slimmer.closure.profiles.load import When
from slimmer.closure.started import SYSTEM, Started
from slimmer.root.model import Entry, FileType, sort_key

_Compile = Callable[[Iterable[str]], globs.Globs]


@dataclass(slots=True)
class Condition:
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


class Conditions:
    """Watches a closure for conditions; `see` is told of each path that enters it, `decide` when it runs dry."""

    def __init__(self, whens: Iterable[When]) -> None:
        self._each = [Condition(when, fulfilled=not when) for when in whens]
        self._by_path = _Watch(self._each, "paths", globs.matcher)
        self._by_soname = _Watch(self._each, "sonames", globs.names)
        self._by_interpreter = _Watch(self._each, "interpreters", globs.names)
        self._by_package = _Watch(self._each, "packages", globs.names)
        self._programs: list[str] = []  # kept programs of a name that some profile waits for
        self._started: Started | None = None

    def __getitem__(self, place: int) -> Condition:
        """The condition of the `when` that was given at this place."""
        return self._each[place]

    def begin(self, view: View) -> None:
        """Conditions on the environment are known from the start."""
        self._started = Started(view)
        names = set(view.application.env or ())
        names.update(name for each in view.recording.executions for name, _ in each.environment)
        for condition in self._each:
            if names.intersection(condition.when.environment):
                condition.fulfilled = True

    def see(self, entry: Entry, view: View) -> None:
        path = entry.path
        self._by_path.see(path, path)
        if entry.type is FileType.DIRECTORY:
            return
        name = posixpath.basename(path)
        self._by_soname.see(name, path)
        if (entry.executable or entry.type is FileType.SYMLINK) and self._by_interpreter.knows(name):
            self._programs.append(path)
        if entry.type is FileType.FILE:
            owner = view.packages.owner(path)
            if owner is not None and owner.type in SYSTEM:
                self._by_package.see(owner.name, path)

    def decide(self, view: View) -> None:
        self._look_at_programs(view)
        for condition in self._each:
            condition.decide()

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


class _Watch:
    """Tells the conditions that speak of a word when a kept path brings it."""

    def __init__(self, conditions: Iterable[Condition], word: str, compile_globs: _Compile) -> None:
        having = [(each, getattr(each.when, word)) for each in conditions if getattr(each.when, word)]
        self._any = compile_globs(glob for _, patterns in having for glob in patterns)
        self._each = [(each, compile_globs(patterns)) for each, patterns in having]
        self._known: dict[str, list[Condition]] = {}

    def knows(self, value: str) -> bool:
        """Whether any condition waits for this."""
        return bool(self._waiting(value))

    def _waiting(self, value: str) -> list[Condition]:
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
