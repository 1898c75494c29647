"""What a library or a module reads by name: the data of its package, and of those that hold nothing else.

A library's tables lie apart from it, so that architectures share them: libthai0 and
libthai-data, python3-matplotlib and python-matplotlib-data. Which of them a run reads depends on the
text it was given. Executables, and what profiles choose from by finer rules, are no data.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator

from slimmer.closure import globs
from slimmer.closure.drops import Drops, size_of
from slimmer.closure.model import Level, Need, Reason, Rule, Unsure, View
from slimmer.closure.profiles import Profile
from slimmer.closure.started_programs import SYSTEM
from slimmer.packages.model import Package
from slimmer.root.model import Entry, FileType, sort_key

LIBRARY = re.compile(r"\.so(?:\.\d|$)|\.(?:py|pm|rb|js|cjs|mjs|php|jar|tcl|lua)$")
CODE = re.compile(r"\.so(?:\.\d|$)|\.jar$")  # that other rules follow, wherever it lies
SHARED = frozenset({"all", "noarch"})  # dpkg's and rpm's word for a package that fits every architecture


class LibraryDataRule(Rule):
    """Keeps the data packages of kept libraries."""

    name = "library-data"
    level = Level.REACHABLE

    def __init__(self, profiles: Iterable[Profile] = ()) -> None:
        profiles = tuple(profiles)
        programs = [profile.programs for profile in profiles]
        self._never = globs.names(name for each in programs for name in (*each.base, *each.parts))
        self._data = globs.matcher(path for each in programs for path in each.data)
        self._finer = globs.matcher(path for each in programs for path in each.finer)
        self._limit = max((each.data_limit for each in programs), default=0)
        self._drops = Drops(profiles)
        self._libraries: dict[Package, str] = {}
        self._done: set[Package] = set()
        self._named: dict[str, list[Package]] | None = None

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        if entry.type is FileType.FILE and LIBRARY.search(posixpath.basename(entry.path)):
            owner = view.packages.owner(entry.path)
            if owner is not None and owner.type in SYSTEM:
                known = self._libraries.get(owner)
                if known is None or sort_key(entry.path) < sort_key(known):
                    self._libraries[owner] = entry.path
        return ()

    def settle(self, view: View) -> Iterator[Need]:
        for owner in sorted(set(self._libraries) - self._done):
            self._done.add(owner)
            for package in self._sources(owner, view):
                yield from self._keep(package, owner, view)

    def _sources(self, owner: Package, view: View) -> Iterator[Package]:
        if self._named is None:
            self._named = {}
            for package in view.packages.system_packages():
                self._named.setdefault(package.name, []).append(package)
        yield owner
        for name in sorted({*view.packages.depends(owner), *view.packages.recommends(owner)}):
            for package in self._named.get(name, ()):
                if package.architecture in SHARED and not self._never.fullmatch(name):
                    yield package

    def _keep(self, package: Package, owner: Package, view: View) -> Iterator[Need]:
        library = self._libraries[owner]
        files = [
            entry
            for entry in self._drops.package_files(view.root, view.packages, package)
            if entry.type is not FileType.DIRECTORY
        ]
        if package != owner and any(entry.executable for entry in files):
            return
        data = [each for each in files if self._is_data(each)]
        fresh = size_of([each for each in data if each.path not in view.kept])
        if fresh > self._limit:
            text = f"the data of {package.name}, {fresh:,} bytes, stays with used files only; --keep packages keeps it"
            view.unsure(Unsure("large-package", library, text, 30))
            return
        text = f"data of {package.name}, which {posixpath.basename(library)} may read by name"
        yield from (Need(entry.path, Reason(self.name, text, library)) for entry in data)

    def _is_data(self, entry: Entry) -> bool:
        path = entry.path
        if entry.executable or CODE.search(path):
            return False
        return self._data.fullmatch(path) and not self._finer.fullmatch(path)
