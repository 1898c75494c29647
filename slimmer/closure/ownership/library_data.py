"""What a library, a module or a run program reads by name: data of its package, and of those that hold nothing else.

A library's tables lie apart from it, so that architectures share them: libthai0 and
libthai-data, python3-matplotlib and python-matplotlib-data. Which of them a run reads depends on the
text it was given. Executables, and what profiles choose from by finer rules, are no data.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator

from slimmer.closure.model import ClosureWarning, Level, Need, Reason, Rule, View
from slimmer.closure.profiles import globs
from slimmer.closure.profiles.drops import Drops, size_of
from slimmer.closure.profiles.load import Profile
from slimmer.closure.started import SYSTEM, Started
from slimmer.packages.model import Package
from slimmer.root.model import Entry, FileType, sort_key
from tracer.recording import Kind

LIBRARY = re.compile(r"\.so(?:\.\d|$)|\.(?:py|pm|rb|js|cjs|mjs|php|jar|tcl|lua)$")
CODE = re.compile(r"\.so(?:\.\d|$)|\.jar$")  # that other rules follow, wherever it lies
FAMILY = "family"  # the rule that keeps the packages of run programs whole
COMPILED = re.compile(r"(.*/)__pycache__/([^/.]+)\.[^/]+\.pyc")  # PEP 3147; its source is only looked at
FAINT = frozenset({"recorded", "link", "directory", "licence"})  # reasons that say no more than that it is there
SHARED = frozenset({"all", "noarch"})  # dpkg's and rpm's word for a package that fits every architecture


class LibraryDataRule(Rule):
    """Keeps the data packages of kept libraries and of the families of run programs."""

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
        self._programs: set[str] = set()  # kept executables that may turn out to be started
        self._done: set[Package] = set()
        self._named: dict[str, list[Package]] | None = None
        self._read: set[str] = set()
        self._seen: set[str] = set()  # modules that the run looked at and did not load

    def begin(self, view: View) -> Iterable[Need]:
        self._started = Started(view)
        for access in view.recording.accesses:
            if Kind.READ in access.kinds:
                compiled = COMPILED.fullmatch(access.path)
                self._read.add(view.root.resolve(f"{compiled[1]}{compiled[2]}.py" if compiled else access.path).path)
        return ()

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        if entry.type is FileType.FILE:
            library = LIBRARY.search(posixpath.basename(entry.path)) is not None
            if library and entry.path.endswith(".py") and entry.path not in self._read:
                self._seen.add(entry.path)
            elif library or any(reason.rule == FAMILY for reason in view.kept.get(entry.path, ())):
                self._note(entry.path, view)
            elif entry.executable:
                self._programs.add(entry.path)
        return ()

    def _note(self, path: str, view: View) -> None:
        owner = view.packages.owner(path)
        if owner is not None and owner.type in SYSTEM:
            known = self._libraries.get(owner)
            if known is None or sort_key(path) < sort_key(known):
                self._libraries[owner] = path

    def settle(self, view: View) -> Iterator[Need]:
        started = {path for path in self._programs if path in self._started}
        self._programs -= started
        for path in started:
            owner = view.packages.owner(path)
            if owner is not None and not self._never.fullmatch(owner.name):
                self._note(path, view)
        # A .pth file looks for the packages of its distribution at every start, whoever imports them.
        for path in [path for path in self._seen if _is_asked_for(view.kept[path])]:
            self._seen.discard(path)
            self._note(path, view)
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
            view.warn(ClosureWarning("large-package", library, text, 30))
            return
        text = f"data of {package.name}, which {posixpath.basename(library)} may read by name"
        yield from (Need(entry.path, Reason(self.name, text, library)) for entry in data)

    def _is_data(self, entry: Entry) -> bool:
        path = entry.path
        if entry.executable or CODE.search(path):
            return False
        return self._data.fullmatch(path) and not self._finer.fullmatch(path)


def _is_asked_for(reasons: Iterable[Reason]) -> bool:
    return any(each.rule not in FAINT and not each.needed_by.endswith(".pth") for each in reasons)
