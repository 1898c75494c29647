"""Program packages: what the application runs stays with its family, not only with the files one run touched.

A program's helpers, plugins, templates, error pages and tables lie in its own
package and in those that its source builds beside it (postgresql-15 and its
client; apache2-bin, apache2, apache2-data). The system's base and the language
runtimes are left to finer rules: the profiles' `[programs]` says which.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator

from slimmer.closure import globs
from slimmer.closure.burden import Burden, doubt
from slimmer.closure.drops import Drops, size_of
from slimmer.closure.model import Level, Need, Reason, Rule, Unsure, View
from slimmer.closure.profiles import Profile
from slimmer.closure.programs import Programs, head
from slimmer.closure.scripts import BUFFER, parse_shebang
from slimmer.closure.started_programs import SYSTEM, Started
from slimmer.packages.model import Package, PackageType
from slimmer.root.model import Entry, FileType, sort_key

SHELLS = frozenset({"sh", "dash", "ash"})  # small enough to come along with a helper


class FamilyRule(Rule):
    """Keeps the packages of started programs whole, and the configuration of every used program and library."""

    name = "family"
    level = Level.REACHABLE

    def __init__(self, profiles: Iterable[Profile] = ()) -> None:
        profiles = tuple(profiles)
        programs = [profile.programs for profile in profiles]
        self._base = globs.names(name for each in programs for name in each.base)
        self._modules = globs.names(name for each in programs for name in each.modules)
        self._parts = globs.names(name for each in programs for name in each.parts)
        self._priorities = frozenset(name for each in programs for name in each.priorities)
        self._limit = max((each.limit for each in programs), default=0)
        self._family_limit = max((each.family_limit for each in programs), default=0)
        self._helper_limit = max((each.helper_limit for each in programs), default=0)
        self._brings = max((each.brings for each in programs), default=0)
        self._config_limit = max((each.config_limit for each in programs), default=0)
        self._drops = Drops(profiles)
        self._started: Started | None = None
        self._programs: Programs | None = None
        self._burden: Burden | None = None
        self._candidates: dict[str, Package] = {}  # kept executables that may turn out to be started
        self._configured: dict[Package, str] = {}
        self._done: set[Package] = set()
        self._config_done: set[Package] = set()
        self._sources: dict[tuple[PackageType, str], list[Package]] | None = None

    def begin(self, view: View) -> Iterable[Need]:
        self._started = Started(view)
        self._programs = Programs(view)
        self._burden = Burden(view.root)
        return ()

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        if entry.type is FileType.FILE and (entry.executable or ".so" in posixpath.basename(entry.path)):
            owner = view.packages.owner(entry.path)
            if owner is not None and owner.type in SYSTEM:
                if entry.executable:
                    self._candidates[entry.path] = owner
                if owner not in self._configured or sort_key(entry.path) < sort_key(self._configured[owner]):
                    self._configured[owner] = entry.path
        return ()

    def settle(self, view: View) -> Iterator[Need]:
        assert self._started is not None
        started: dict[Package, str] = {}
        for path in sorted(self._candidates, key=sort_key):
            owner = self._candidates[path]
            if owner in self._done or owner in started:
                continue
            if path in self._started:
                started[owner] = path
        for owner in sorted(started):
            self._done.add(owner)
            yield from self._family(owner, started[owner], view)
        for owner in sorted(set(self._configured) - self._config_done):
            self._config_done.add(owner)
            yield from self._configuration(owner, self._configured[owner], view)

    def _is_base(self, package: Package, view: View) -> bool:
        return (
            self._base.fullmatch(package.name)
            or view.packages.essential(package)
            or view.packages.priority(package) in self._priorities
        )

    def _family(self, owner: Package, program: str, view: View) -> Iterator[Need]:
        if self._is_base(owner, view):
            if self._modules.fullmatch(owner.name):
                yield from self._scripts(owner, program, view)
            return
        units = [
            (package, list(self._drops.package_files(view.root, view.packages, package)))
            for package in self._relatives(owner, view)
        ]
        sized = [
            (package != owner, size_of([each for each in entries if each.path not in view.kept]), package, entries)
            for package, entries in units
        ]
        total = 0
        for other, size, package, entries in sorted(sized, key=lambda unit: unit[:3]):
            if (self._limit and size > self._limit) or (
                other and self._family_limit and total + size > self._family_limit
            ):
                view.unsure(
                    Unsure(
                        "large-package",
                        program,
                        f"{package.name} would add {size:,} bytes and stays with its used files only;"
                        " --keep packages keeps it whole",
                        40,
                    )
                )
                continue
            total += size
            text = f"a run-time file of {package.name}, of which {posixpath.basename(program)} is run"
            if other:
                text = f"a run-time file of {package.name}, which comes with {owner.name}"
            reason = Reason(self.name, text, program)
            foreign: dict[str, list[str]] = {}
            large: list[str] = []
            for entry in entries:
                led_to = view.root.find(entry.path) or entry
                if led_to.path in view.kept or not (
                    self._is_heavy(led_to, view)
                    or self._is_foreign(led_to, foreign, view)
                    or self._is_large(led_to, large)
                ):
                    yield Need(entry.path, reason)
            for language, scripts in sorted(foreign.items()):
                view.unsure(_helpers(package, f"nothing else needs {language}", scripts))
            if large:
                view.unsure(_helpers(package, "they are large and nothing starts them", large))

    def _scripts(self, owner: Package, program: str, view: View) -> Iterator[Need]:
        """The commands of a package of modules, of which one is run; the modules are left to the language's rule."""
        directory, name = posixpath.split(program)
        reason = Reason(self.name, f"another command of {owner.name}, of which {name} is run", program)
        if posixpath.basename(directory) in ("bin", "sbin"):
            for entry in self._drops.package_files(view.root, view.packages, owner):
                if posixpath.dirname(entry.path) == directory and entry.type is not FileType.DIRECTORY:
                    yield Need(entry.path, reason)

    def _is_foreign(self, entry: Entry, foreign: dict[str, list[str]], view: View) -> bool:
        """Whether a helper is a script in a language that nothing else brings; it would bring all of it."""
        if not entry.executable or ".so" in posixpath.basename(entry.path):
            return False
        assert self._programs is not None
        shebang = parse_shebang(head(entry, view, BUFFER))
        if shebang is None or shebang.program in SHELLS:
            return False
        word = shebang.program if posixpath.basename(shebang.interpreter) == "env" else shebang.interpreter
        places = [found.path for place in self._programs.find(word) if (found := view.root.find(place)) is not None]
        if not places or any(place in view.kept for place in places):
            return False
        if entry.path not in foreign.setdefault(shebang.program, []):
            foreign[shebang.program].append(entry.path)
        return True

    def _is_large(self, entry: Entry, large: list[str]) -> bool:
        """Whether a helper is a program in PATH, for a person to call, and large."""
        directory = posixpath.basename(posixpath.dirname(entry.path))
        if not entry.executable or directory not in ("bin", "sbin") or not 0 < self._helper_limit < entry.size:
            return False
        if entry.path not in large:
            large.append(entry.path)
        return True

    def _is_heavy(self, entry: Entry, view: View) -> bool:
        assert self._burden is not None
        size = self._burden.of(entry, view.kept) if self._brings else 0
        if size > self._brings:
            view.unsure(doubt(entry.path, size))
        return size > self._brings

    def _relatives(self, owner: Package, view: View) -> list[Package]:
        """A package and those of its source that it depends on or that depend on it, over any number of steps."""
        if self._sources is None:
            self._sources = {}
            for package in view.packages.system_packages():
                self._sources.setdefault((package.type, package.source or package.name), []).append(package)
        group = [
            package
            for package in self._sources.get((owner.type, owner.source or owner.name), [owner])
            if package == owner
            or (
                package.architecture in (owner.architecture, "all", "noarch")
                and not self._parts.fullmatch(package.name)
            )
        ]
        family, pending = {owner}, [owner]
        while pending:
            here = pending.pop()
            needed = set(view.packages.depends(here))
            for other in group:
                if other not in family and (other.name in needed or here.name in view.packages.depends(other)):
                    family.add(other)
                    pending.append(other)
        return sorted(each for each in family if not self._is_base(each, view))

    def _configuration(self, owner: Package, cause: str, view: View) -> Iterator[Need]:
        paths = [path for path in _configuration_files(owner, view) if not self._drops.of_package(path)]
        entries = [entry for path in paths if (entry := view.root.entry(path)) is not None]
        if self._config_limit and size_of(entries) > self._config_limit:
            return
        for entry in entries:
            yield Need(entry.path, Reason("config", f"configuration of {owner.name}", cause))


def _helpers(package: Package, why: str, paths: list[str]) -> Unsure:
    names = ", ".join(posixpath.basename(path) for path in paths[:3]) + (", …" if len(paths) > 3 else "")
    count = f"{len(paths)} helper{'s' * (len(paths) > 1)} of {package.name}"
    return Unsure("helpers", paths[0], f"{count} not kept, as {why}: {names}", 20)


def _configuration_files(owner: Package, view: View) -> list[str]:
    """What a package calls configuration; for systems that do not say, its files below /etc."""
    if owner.type is PackageType.DEB:
        return list(view.packages.conffiles(owner))
    return [
        path
        for path in view.packages.files(owner)
        if path.startswith("/etc/") and (found := view.root.entry(path)) and found.type is not FileType.DIRECTORY
    ]
