"""Where imports lead: from the imports of one source to the modules that one Python finds for them."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence

from slimmer.closure.commands.search import head
from slimmer.closure.languages import suites
from slimmer.closure.languages.python.distributions import DistributionUnits
from slimmer.closure.languages.python.imports import Import, Imports, When, scan
from slimmer.closure.languages.python.optional import OptionalImports
from slimmer.closure.languages.python.origins import Origin, belongs, dotted_name, origin_of, top_name
from slimmer.closure.languages.python.path import Module, Python
from slimmer.closure.model import Need, Reason, View
from slimmer.closure.profiles.modules import Modules
from slimmer.root.model import Entry
from tracer.recording import Kind

RULE = "python-import"
LARGEST = 8 << 20  # bytes of a source or of an extension module that is searched


class Importer:
    """Follows sources. `sources` and `local`, directories that the application adds to sys.path, grow meanwhile."""

    def __init__(
        self,
        view: View,
        sources: Mapping[str, Imports],
        local: Sequence[str],
        units: DistributionUnits,
        modules: Modules,
        run: Callable[[], frozenset[str]],
    ) -> None:
        self._view = view
        self._sources = sources
        self._local = local
        self._units = units
        self._modules = modules
        self._optional = OptionalImports(
            view,
            sources,
            units,
            modules.optional_limit,
            modules.desktop,
            run,
            self._leads_to,
        )
        self._asked: set[str] = set()  # files of the modules that somebody imports
        self._plugins: list[tuple[str, Import, Python]] = []  # imports of builders that wait for who imports the source
        # Whose optional imports do not reach what.
        self._unreached = {Origin.LIBRARY: frozenset(modules.developer), Origin.SITE: frozenset(modules.builders)}

    def follow(self, path: str, python: Python) -> Iterator[Need]:
        """All that a source imports, once for each Python."""
        if path in python.done or not belongs(path, python.installation):
            return
        python.done.add(path)
        origin = origin_of(path, self._view)
        if origin is Origin.SITE:
            self._optional.enter(path, python)
        elif origin is Origin.LIBRARY:
            self._optional.enter_library(path)
        for need in self._followed(path, origin, python):
            if origin is Origin.APPLICATION:
                self._optional.name(need.path)
            yield need

    def settle(self) -> Iterator[Need]:
        """What waited until all else was known."""
        yield from self._of_plugins()
        for held in self._optional.released():
            reason = Reason(RULE, f"imported by {held.path} line {held.each.line}", held.path)
            yield from self.imported(held.each, held.path, held.python, [held.python.path], reason)

    def holds(self, name: str, path: str, python: Python) -> bool:
        """Whether a module of a distribution, which names another's, can do without it so far."""
        return self._optional.holds(Import(name, 1, when=When.LATER), path, python)

    def _leads_to(self, each: Import, path: str, python: Python) -> Iterator[str]:
        for need in self.imported(each, path, python, [python.path], Reason(RULE, "")):
            found = self._view.root.find(need.path)
            if found is not None:
                yield found.path

    def _followed(self, path: str, origin: Origin, python: Python) -> Iterator[Need]:
        found = self._sources[path]
        own = top_name(path)
        places = self._places(path, origin, python)
        builds = self._only_builds(path, origin)
        for each in found.imports:
            if each.when is When.MAIN and origin is not Origin.APPLICATION and path.endswith(".py"):
                continue
            first = each.module.partition(".")[0]
            if each.when and first != own and not each.level and first in self._unreached.get(origin, ()):
                continue
            if builds and first in self._modules.builders:
                continue
            if origin is Origin.SITE and first != own and not each.level and first in self._modules.builders:
                self._plugins.append((path, each, python))
                continue
            if origin is Origin.SITE and self._optional.holds(each, path, python):
                continue
            reason = Reason(RULE, f"imported by {path} line {each.line}", path)
            yield from self.imported(each, path, python, places, reason)
        yield from self._computed(path, found, origin, python, places)
        yield from self._known(path, origin, python)
        if origin is Origin.SITE:
            yield from self._units.needs(path)

    def _only_builds(self, path: str, origin: Origin) -> bool:
        """Whether a source is the application's own way to be built, which the run did without."""
        return (
            origin is Origin.APPLICATION
            and posixpath.basename(path) in self._modules.build_scripts
            and not any(each.path == path and Kind.READ in each.kinds for each in self._view.recording.accesses)
        )

    def _places(self, path: str, origin: Origin, python: Python) -> list[tuple[str, ...]]:
        """The search paths by which a source's absolute imports may be answered; each is asked."""
        if origin is not Origin.APPLICATION:
            return [python.path]
        here = top = posixpath.dirname(path)
        while top != "/" and self._view.root.find(f"{top}/__init__.py") is not None:
            top = posixpath.dirname(top)
        return [(*dict.fromkeys((top, here, *self._local)),), python.path]

    def imported(
        self, each: Import, path: str, python: Python, places: list[tuple[str, ...]], reason: Reason
    ) -> Iterator[Need]:
        searches = places
        if each.level:
            base = posixpath.dirname(path)
            for _ in range(each.level - 1):
                base = posixpath.dirname(base)
            searches = [(base,)]
            if not each.module:
                package = python.finder.find((posixpath.dirname(base),), posixpath.basename(base))
                if package is not None:
                    yield from self._need(package, reason)
                yield from self._members(each.names, (base,), python, reason)
                return
        yield from self._redirected(each.module, python, reason)
        for search in searches:
            chain = python.finder.chain(search, each.module)
            yield from self._needs(chain, reason)
            if each.names and len(chain) == each.module.count(".") + 1 and chain[-1].locations:
                yield from self._members(each.names, chain[-1].locations, python, reason)

    def _redirected(self, name: str, python: Python, reason: Reason) -> Iterator[Need]:
        """Where a finder that a .pth file installs at start-up looks instead."""
        first, dot, rest = name.partition(".")
        shim, target = self._modules.redirected.get(first, ("", ""))
        if shim and any(shim in self._units.shims(site) for site in python.sites):
            yield from self.absolute(f"{target}{dot}{rest}", python, python.sites, reason)

    def _members(
        self, names: Sequence[str], locations: tuple[str, ...], python: Python, reason: Reason
    ) -> Iterator[Need]:
        if "*" in names:
            package = python.finder.find((posixpath.dirname(locations[0]),), posixpath.basename(locations[0]))
            if package is not None and package.source.endswith("__init__.py"):
                found = self._view.root.find(package.source)
                if found is not None:
                    names = (*names, *self._exports(found))
        for name in names:
            module = python.finder.find(locations, name)
            if module is not None:
                yield from self._need(module, reason)

    def _exports(self, entry: Entry) -> tuple[str, ...]:
        if entry.path not in self._sources:
            return scan(head(entry, self._view, LARGEST)).exported
        return self._sources[entry.path].exported

    def absolute(self, name: str, python: Python, search: Sequence[str], reason: Reason) -> Iterator[Need]:
        """A module by its whole name; a last "*" stands for any end."""
        if name.endswith("*"):
            package, _, prefix = name[:-1].rpartition(".")
            if package:
                chain = python.finder.chain(search, package)
                yield from self._needs(chain, reason)
                search = chain[-1].locations if len(chain) == package.count(".") + 1 else ()
            for each in python.finder.names(search):
                module = python.finder.find(search, each) if each.startswith(prefix) else None
                if module is not None:
                    yield from self._need(module, reason)
            return
        yield from self._needs(python.finder.chain(search, name), reason)

    def _of_plugins(self) -> Iterator[Need]:
        """What modules import of builders, if somebody imports the modules.

        The command that isort gives setuptools, a package's fixtures for pytest: such a module lies in its package,
        and the builder alone imports it, which is there then anyway.
        """
        if not self._plugins:
            return
        seen = (each.path for each in self._view.recording.accesses if each.path.endswith(".py"))
        asked = {dotted_name(path) for path in (*self._asked, *seen)}
        waiting, self._plugins = self._plugins, []
        for path, each, python in waiting:
            name = dotted_name(path) if path.endswith(".py") else ""
            if name and name not in asked:
                self._plugins.append((path, each, python))
            elif not self._optional.holds(each, path, python):
                reason = Reason(RULE, f"imported by {path} line {each.line}", path)
                yield from self.imported(each, path, python, [python.path], reason)

    def _needs(self, chain: Sequence[Module], reason: Reason) -> Iterator[Need]:
        for module in chain:
            yield from self._need(module, reason)

    def _need(self, module: Module, reason: Reason) -> Iterator[Need]:
        self._asked.update(module.files)
        for file in module.files:
            yield Need(file, reason)
        if not module.files:
            for location in module.locations:
                yield Need(location, reason)

    def _family(self, location: str, prefix: str, python: Python, reason: Reason) -> Iterator[Need]:
        """All modules of a package whose names begin with `prefix`, and their subpackages."""
        for name in python.finder.names((location,)):
            if not name.startswith(prefix) or (name in suites.NAMES and self._is_suite(f"{location}/{name}")):
                continue
            module = python.finder.find((location,), name)
            if module is not None and (module.files or module.locations):
                yield from self._need(module, reason)
                for inner in module.locations:
                    if module.files:
                        yield from self._family(inner, "", python, reason)

    def _is_suite(self, location: str) -> bool:
        return suites.is_suite(self._view.root.resolve(location).path, self._view.root)

    def _computed(
        self, path: str, found: Imports, origin: Origin, python: Python, places: list[tuple[str, ...]]
    ) -> Iterator[Need]:
        """Names with a known beginning, and names in strings."""
        for family in found.families:
            package, _, prefix = family.prefix.rpartition(".")
            reason = Reason(RULE, f"may be imported by {path} line {family.line}", path)
            if family.level:
                base = posixpath.dirname(path)
                for _ in range(family.level - 1):
                    base = posixpath.dirname(base)
                locations: list[str] = [base]
                if package:
                    chain = python.finder.chain((base,), package)
                    locations = [*chain[-1].locations] if len(chain) == package.count(".") + 1 else []
            elif package and not (origin is Origin.SITE and self.holds(package, path, python)):
                locations = []
                for search in places:
                    chain = python.finder.chain(search, package)
                    yield from self._needs(chain, reason)
                    if len(chain) == package.count(".") + 1:
                        locations.extend(chain[-1].locations)
            else:
                continue
            for location in locations:
                yield from self._family(location, prefix, python, reason)
        yield from self._mentioned(path, found, origin, python, places)

    def _mentioned(
        self, path: str, found: Imports, origin: Origin, python: Python, places: list[tuple[str, ...]]
    ) -> Iterator[Need]:
        own = top_name(path)
        for mention in found.dotted:
            first = mention.text.partition(".")[0]
            if origin is not Origin.APPLICATION and first != own:
                continue
            reason = Reason(RULE, f"named by {path} line {mention.line}", path)
            for search in places:
                chain = python.finder.chain(search, mention.text)
                if len(chain) > 1:  # at least a module of a package, not a package's attribute
                    yield from self._needs(chain, reason)
        for mention in found.words:
            module = python.finder.find(tuple(python.sites), mention.text)
            if module is not None and module.files:
                yield from self._need(module, Reason(RULE, f"named by {path} line {mention.line}", path))

    def _known(self, path: str, origin: Origin, python: Python) -> Iterator[Need]:
        """What profiles know that a module loads under names it computes."""
        name = dotted_name(path)
        search = python.library if origin is Origin.LIBRARY else python.path
        reason = Reason(RULE, f"loaded by {path} under a name it computes", path)
        for other in self._modules.implied.get(name, ()):
            yield from self.absolute(other, python, search, reason)
        if family := self._modules.families.get(name):
            for location in [place for each in python.finder.chain(search, family)[-1:] for place in each.locations]:
                yield from self._family(location, "", python, reason)
