"""Program packages: what the application runs stays with its family, not only with the files one run touched.

A program's helpers, plugins, templates, error pages and tables lie in its own
package and in those that its source builds beside it (postgresql-15 and its
client; apache2-bin, apache2, apache2-data). The system's base and the language
runtimes are left to finer rules: the profiles' `[programs]` says which.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator

from slimmer.closure.binaries.cost import DependencyCost, heavy_plugin
from slimmer.closure.commands.search import Programs, head
from slimmer.closure.commands.shebang import BUFFER, parse_shebang
from slimmer.closure.model import ClosureWarning, Level, Need, Reason, Rule, View
from slimmer.closure.ownership.base import SystemBase
from slimmer.closure.ownership.plugin_packages import DEEP, guests
from slimmer.closure.profiles import globs
from slimmer.closure.profiles.drops import Drops, size_of
from slimmer.closure.profiles.load import Profile
from slimmer.closure.started import SYSTEM, Started
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
        self._base = SystemBase(profiles)
        self._modules = globs.names(name for each in programs for name in each.modules)
        self._finer = globs.matcher(path for each in programs for path in each.finer)
        self._parts = globs.names(name for each in programs for name in each.parts)
        self._limit = max((each.limit for each in programs), default=0)
        self._family_limit = max((each.family_limit for each in programs), default=0)
        self._helper_limit = max((each.helper_limit for each in programs), default=0)
        self._max_dependency = max((each.max_dependency_bytes for each in programs), default=0)
        self._companion_limit = max((each.companion_limit for each in programs), default=0)
        self._interpreter_limit = max((each.interpreter_limit for each in programs), default=0)
        self._declared_limit = max((each.declared_limit for each in programs), default=0)
        self._mention_limit = max((each.mention_limit for each in programs), default=0)
        self._config_limit = max((each.config_limit for each in programs), default=0)
        self._drops = Drops(profiles)
        self._started: Started | None = None
        self._programs: Programs | None = None
        self._cost: DependencyCost | None = None
        self._candidates: dict[str, Package] = {}  # kept executables that may turn out to be started
        self._configured: dict[Package, str] = {}
        self._done: set[Package] = set()
        self._config_done: set[Package] = set()
        self._sources: dict[tuple[PackageType, str], list[Package]] | None = None

    def begin(self, view: View) -> Iterable[Need]:
        self._started = Started(view)
        self._programs = Programs(view)
        self._cost = DependencyCost(view.root)
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

    def _family(self, owner: Package, program: str, view: View) -> Iterator[Need]:
        if self._base.holds(owner, view):
            if self._modules.fullmatch(owner.name):
                yield from self._scripts(owner, program, view)
            return
        relatives = self._relatives(owner, view)
        units = [(each, list(self._drops.package_files(view.root, view.packages, each))) for each in relatives]
        units += guests(relatives, self._base, self._parts, self._finer, self._drops, view)
        sized = [
            (package != owner, size_of([each for each in entries if each.path not in view.kept]), package, entries)
            for package, entries in units
        ]
        total = 0
        for other, size, package, entries in sorted(sized, key=lambda unit: unit[:3]):
            guest = package not in relatives
            if (
                (self._limit and size > self._limit)
                or (other and self._family_limit and total + size > self._family_limit)
                or (guest and self._helper_limit and size > self._helper_limit)
            ):
                view.warn(
                    ClosureWarning(
                        "large-package",
                        program,
                        f"{package.name} would add {size:,} bytes and stays with its used files only;"
                        " --keep packages keeps it whole",
                        40,
                    )
                )
                if package == owner:
                    yield from self._commands(entries, owner, program, view)
                continue
            total += size
            text = f"a run-time file of {package.name}, of which {posixpath.basename(program)} is run"
            if other:
                text = f"a run-time file of {package.name}, which comes with {owner.name}"
            if guest:
                text = f"{package.name} has it in a directory of the packages that come with {owner.name}"
            reason = Reason(self.name, text, program)
            foreign: dict[str, list[str]] = {}
            large: list[str] = []
            own = package == owner or package.name in view.packages.depends(owner)
            for entry in entries:
                led_to = view.root.find(entry.path) or entry
                if led_to.path in view.kept or not (
                    self._is_heavy(led_to, package, owner, program, view)
                    or self._is_foreign(led_to, own, foreign, view)
                    or (package != owner and self._is_large(led_to, large))
                ):
                    yield Need(entry.path, reason)
                    if entry.type is FileType.SYMLINK and led_to.type is FileType.DIRECTORY and _deep(entry, led_to):
                        yield from self._led_to(entry.path, led_to.path, program, view)
            for language, scripts in sorted(foreign.items()):
                brings = self._interpreter_cost(language, view)
                why = f"nothing else needs {language}" + (f", which would bring {brings:,} bytes" if brings else "")
                view.warn(_helpers(package, why, scripts))
            if large:
                view.warn(_helpers(package, "they are large and nothing starts them", large))

    def _led_to(self, link: str, directory: str, program: str, view: View) -> Iterator[Need]:
        """What packages hold where a family's own link leads: squid's error pages are squid-langpack's."""
        found = [
            entry
            for entry in view.root.walk(directory)
            if entry.type is not FileType.DIRECTORY
            and any(each.type in SYSTEM for each in view.packages.owners(entry.path))
            and not self._drops.of_package(entry.path)
        ]
        size = size_of([entry for entry in found if entry.path not in view.kept])
        if size <= self._mention_limit:
            text = f"in {directory}, to which {link} leads"
            yield from (Need(entry.path, Reason(self.name, text, program)) for entry in found)
        else:
            text = f"{link} leads here, and it is too large to stay whole ({size:,} bytes)"
            view.warn(ClosureWarning("mentioned-directory", directory, text, 35))

    def _commands(self, entries: Iterable[Entry], owner: Package, program: str, view: View) -> Iterator[Need]:
        """The programs in PATH of a package that is too large to stay whole: its own administration."""
        reason = Reason(
            self.name, f"another command of {owner.name}, of which {posixpath.basename(program)} is run", program
        )
        foreign: dict[str, list[str]] = {}
        for entry in entries:
            led_to = view.root.find(entry.path) or entry
            if (
                _in_path(entry.path)
                and led_to.executable
                and not (
                    self._is_heavy(led_to, owner, owner, program, view) or self._is_foreign(led_to, True, foreign, view)
                )
            ):
                yield Need(entry.path, reason)

    def _scripts(self, owner: Package, program: str, view: View) -> Iterator[Need]:
        """The commands of a package of modules, of which one is run; the modules are left to the language's rule."""
        directory, name = posixpath.split(program)
        reason = Reason(self.name, f"another command of {owner.name}, of which {name} is run", program)
        if posixpath.basename(directory) in ("bin", "sbin"):
            for entry in self._drops.package_files(view.root, view.packages, owner):
                if posixpath.dirname(entry.path) == directory and entry.type is not FileType.DIRECTORY:
                    yield Need(entry.path, reason)

    def _interpreter_cost(self, word: str, view: View) -> int:
        """Bytes of an interpreter's packages that nothing has kept: what a script in its language would begin with."""
        assert self._programs is not None
        found = next((view.root.find(place) for place in self._programs.find(word)), None)
        owner = view.packages.owner(found.path) if found is not None else None
        if owner is None:
            return 0
        by_name = {each.name: each for each in view.packages.system_packages()}
        group, pending = {owner}, [owner]
        while pending:
            for name in view.packages.depends(pending.pop()):
                other = by_name.get(name)
                if (
                    other is not None
                    and other not in group
                    and (other.source or other.name) == (owner.source or owner.name)
                ):
                    group.add(other)
                    pending.append(other)
        entries = [
            entry for each in sorted(group) for entry in self._drops.package_files(view.root, view.packages, each)
        ]
        return size_of([entry for entry in entries if entry.path not in view.kept])

    def _is_foreign(self, entry: Entry, own: bool, foreign: dict[str, list[str]], view: View) -> bool:
        """Whether a helper is a script in a language that nothing else brings; it would bring all of it.

        What the program's own package holds, and those of its source that it depends on, may bring a small one.
        """
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
        if own and 0 < self._interpreter_cost(word, view) <= self._interpreter_limit:
            return False
        if entry.path not in foreign.setdefault(shebang.program, []):
            foreign[shebang.program].append(entry.path)
        return True

    def _is_large(self, entry: Entry, large: list[str]) -> bool:
        """Whether a helper is a program in PATH, for a person to call, and large."""
        if not entry.executable or not _in_path(entry.path) or not 0 < self._helper_limit < entry.size:
            return False
        if entry.path not in large:
            large.append(entry.path)
        return True

    def _is_heavy(self, entry: Entry, package: Package, owner: Package, program: str, view: View) -> bool:
        """Whether a plugin or a command would bring too many libraries that nothing else needs.

        More is allowed where the program's own package declares them, or the part of its family that a program which
        ran depends on: what it can do is why they are installed.
        """
        assert self._cost is not None
        size = self._cost.of_program(entry, view.kept) if self._max_dependency and _is_code(entry) else 0
        if size <= self._max_dependency:
            return False
        asked = self._started is not None and self._started.executed(program)
        own = package == owner or (asked and package.name in view.packages.depends(owner))
        if own and size <= self._declared_limit:
            declared = set(view.packages.depends(package))
            holders = [view.packages.owner(path) for path in self._cost.direct(entry)]
            if all(
                each is not None and (each == package or each.name in declared or self._base.holds(each, view))
                for each in holders
            ):
                return False
        view.warn(heavy_plugin(entry.path, size))
        return True

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
        family.update(each for each in group if each not in family and self._is_companion(each, view))
        return sorted(each for each in family if not self._base.holds(each, view))

    def _is_companion(self, package: Package, view: View) -> bool:
        """Whether a package that was installed beside, from the same source, has commands and costs little."""
        if not self._companion_limit:
            return False
        entries = list(self._drops.package_files(view.root, view.packages, package))
        fresh = [each for each in entries if each.path not in view.kept]
        return (
            any(each.executable and _in_path(each.path) for each in entries) and size_of(fresh) <= self._companion_limit
        )

    def _configuration(self, owner: Package, cause: str, view: View) -> Iterator[Need]:
        paths = [path for path in _configuration_files(owner, view) if not self._drops.of_package(path)]
        entries = [entry for path in paths if (entry := view.root.entry(path)) is not None]
        if self._config_limit and size_of(entries) > self._config_limit:
            return
        for entry in entries:
            yield Need(entry.path, Reason("config", f"configuration of {owner.name}", cause))


def _deep(*entries: Entry) -> bool:
    """Whether all are below somebody's directory: /lib, which many packages list, leads to /usr/lib in merged roots."""
    return all(each.path.count("/") >= DEEP for each in entries)


def _in_path(path: str) -> bool:
    return posixpath.basename(posixpath.dirname(path)) in ("bin", "sbin")


def _is_code(entry: Entry) -> bool:
    return ".so" in posixpath.basename(entry.path) or (entry.executable and _in_path(entry.path))


def _helpers(package: Package, why: str, paths: list[str]) -> ClosureWarning:
    names = ", ".join(posixpath.basename(path) for path in paths[:3]) + (", …" if len(paths) > 3 else "")
    count = f"{len(paths)} helper{'s' * (len(paths) > 1)} of {package.name}"
    return ClosureWarning("helpers", paths[0], f"{count} not kept, as {why}: {names}", 20)


def _configuration_files(owner: Package, view: View) -> list[str]:
    """What a package calls configuration; for systems that do not say, its files below /etc."""
    if owner.type is PackageType.DEB:
        return list(view.packages.conffiles(owner))
    return [
        path
        for path in view.packages.files(owner)
        if path.startswith("/etc/") and (found := view.root.entry(path)) and found.type is not FileType.DIRECTORY
    ]
