"""What the recording says was touched: the roots of the graph of reasons."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import translate
from re import compile as regex

from slimmer.closure.model import ClosureWarning, Level, Need, Reason, Rule, View
from slimmer.packages.model import Package, PackageType
from slimmer.root.model import FileType
from tracer.recording import Access, Kind

LANGUAGES = frozenset({PackageType.PYPI, PackageType.NPM, PackageType.GEM})
VERBS = {
    Kind.EXEC: "executed",
    Kind.READ: "read",
    Kind.WRITE: "written",
    Kind.LIST: "listed",
    Kind.LINK: "read as a link",
    Kind.STAT: "looked at",
}


def describe(access: Access) -> str:
    """ "read and looked at by /usr/bin/python3.11 and 2 more programs" """
    verbs = " and ".join(verb for kind, verb in VERBS.items() if kind in access.kinds)
    programs = sorted(access.by - {""})
    if not programs:
        return verbs
    rest = len(programs) - 1
    return f"{verbs} by {programs[0]}" + (f" and {rest} more program{'s' * (rest > 1)}" if rest else "")


class RecordedRule(Rule):
    """Each recorded path that the fat root has; for one that the run created, the directory it wrote to."""

    name = "recorded"
    level = Level.RECORDED

    def begin(self, view: View) -> Iterable[Need]:
        used = _used_packages(view)
        for access in view.recording.accesses:
            if _only_passed(access, used, view):
                continue
            reason = Reason(self.name, describe(access))
            yield Need(access.path, reason, follow=access.kinds != {Kind.LINK})
            if Kind.WRITE in access.kinds and view.root.find(access.path) is None:
                parent = existing_parent(view, access.path)
                # Not by name: what a run creates is called otherwise each time.
                who = min(access.by - {""}, default="a program")
                yield Need(parent, Reason(self.name, f"{who} creates files there"))
            elif Kind.LIST in access.kinds:
                self._listed(access, view)

    def _listed(self, access: Access, view: View) -> None:
        found = view.root.find(access.path)
        if found is not None and found.type is FileType.DIRECTORY and view.root.children(found.path):
            view.warn(
                ClosureWarning(
                    "listed-directory",
                    found.path,
                    f"its names were {describe(access)}; not all of them may be kept",
                    30,
                )
            )


def _used_packages(view: View) -> frozenset[Package]:
    """The language packages of which the run touched a file."""
    used: set[Package] = set()
    for access in view.recording.accesses:
        found = view.root.find(access.path)
        if found is not None and found.type is not FileType.DIRECTORY:
            used.update(each for each in view.packages.owners_of_file(found.path) if each.type in LANGUAGES)
    return frozenset(used)


def _only_passed(access: Access, used: frozenset[Package], view: View) -> bool:
    """Whether an import system or a walk came by a directory of a package that the run used nothing of.

    The directory alone is no state that the package leaves, installed or not: Python would import it.
    """
    if Kind.WRITE in access.kinds:
        return False
    found = view.root.find(access.path)
    if found is None or found.type is not FileType.DIRECTORY:
        return False
    owners = view.packages.owners(found.path)
    languages = [each for each in owners if each.type in LANGUAGES]
    return bool(languages) and len(languages) == len(owners) and used.isdisjoint(languages)


def existing_parent(view: View, path: str) -> str:
    """The nearest directory above a path that the fat root has."""
    parent = posixpath.dirname(path)
    while parent != "/" and view.root.find(parent) is None:
        parent = posixpath.dirname(parent)
    return parent


class IncludeRule(Rule):
    """What --include names: globs over canonical paths, or plain paths; a directory stays whole."""

    name = "include"
    level = Level.RECORDED

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = patterns

    def begin(self, view: View) -> Iterator[Need]:
        for pattern in self._patterns:
            reason = Reason(self.name, f"named by --include {pattern}")
            if not any(mark in pattern for mark in "*?["):
                yield Need(pattern, reason, tree=True)
                continue
            top = posixpath.dirname(pattern.split("*")[0].split("?")[0].split("[")[0]) or "/"
            matches = regex(translate(pattern)).match
            found = view.root.find(top)
            if found is not None:
                yield from (
                    Need(e.path, reason, follow=False, tree=True) for e in view.root.walk(found.path) if matches(e.path)
                )
