"""Python: from every kept module to what it can import, through the interpreter's real search path in the root.

The standard library is followed module by module; of a third-party distribution
the whole package stays, without its tests, because what it looks up by computed
names (drivers, codecs, templates, workers) is its own affair. The application's
own modules are followed and searched for names in strings as well.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from slimmer.closure.embedded import EMBEDDED
from slimmer.closure.layouts import SYSTEM, matches
from slimmer.closure.model import Level, Need, Reason, Rule, Unsure, View
from slimmer.closure.programs import Libraries, Programs, head
from slimmer.closure.python_bytecode import scan_bytecode
from slimmer.closure.python_imports import Import, Imports, When, scan
from slimmer.closure.python_path import (
    ZIPS,
    Finder,
    Installation,
    Module,
    archive_members,
    archive_source,
    environment_directories,
    installation_of,
    pth_lines,
    site_directories,
)
from slimmer.closure.python_tables import COMMON_WORDS, DEVELOPER, IMPLIED, STARTUP, UNREACHED, WHOLE, Origin
from slimmer.closure.python_units import TESTS, Units
from slimmer.closure.scripts import BUFFER, parse_shebang
from slimmer.closure.started import Started
from slimmer.errors import SlimmerError
from slimmer.root.model import Entry, FileType

NAME = re.compile(rb"(?<=\0)([A-Za-z_]\w*(?:\.\w+)*)(?=\0)")
ARGUMENT = re.compile(r"(?:--?[\w-]+=)?([A-Za-z_]\w*(?:\.\w+)*)(?::[\w.]+)?(?:\(.*\))?$")
LARGEST = 8 << 20  # bytes of a source or of an extension module that is searched


@dataclass(slots=True)
class Python:
    """An installation with its search path: `library` first, then `sites`. All as named."""

    installation: Installation
    finder: Finder
    library: tuple[str, ...]
    sites: list[str] = field(default_factory=list)
    done: set[str] = field(default_factory=set)  # sources that were followed for this installation

    @property
    def path(self) -> tuple[str, ...]:
        return (*self.library, *self.sites)


class PythonRule(Rule):
    """Imports, package data, metadata, entry points, started programs and loaded libraries of kept Python code."""

    name = "python-import"
    level = Level.REACHABLE

    def __init__(self) -> None:
        self._pythons: dict[str, Python] = {}
        self._sources: dict[str, Imports] = {}  # by canonical path; insertion order is order of entry
        self._extensions: dict[str, tuple[str, ...]] = {}
        self._local: list[str] = []  # directories that the application adds to sys.path
        self._environments: list[str] = []
        self._groups: dict[str, str] = {}  # a group that is looked up → by whom
        self._named: dict[str, frozenset[str]] = {}  # who looks up entry points → all its literals

    # -------------------------------------------------------------- the rule

    def begin(self, view: View) -> Iterable[Need]:
        self._started = Started(view, EMBEDDED, "python-command")
        self._libraries = Libraries(view)
        self._units = Units(view)
        variables = [*(view.application.env or {}).items()]
        variables += [pair for each in view.recording.executions for pair in each.environment]
        for name, value in variables:
            if name == "PYTHONPATH":
                self._local.extend(part for part in value.split(":") if part.startswith("/"))
        self._local.append(view.application.workdir)
        self._local.extend(each.workdir for each in view.recording.executions)
        self._local = list(dict.fromkeys(self._local))
        return ()

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        path = entry.path
        if path.endswith("/pyvenv.cfg"):
            yield from self._environment(posixpath.dirname(path), view)
        elif entry.type is FileType.SYMLINK:
            yield from self._interpreter_link(path, view)
        if entry.type is not FileType.FILE or "/__pycache__/" in path:
            return
        installation = installation_of(entry, view.root)
        if installation is not None:
            yield from self._install(installation, view)
        if path.endswith(".so"):
            yield from self._extension(entry, view)
        elif path.endswith(".pth"):
            yield from self._pth(entry, view)
        elif path.endswith(ZIPS):
            yield from self._archive(entry, view)
        elif self._is_source(entry, view):
            yield from self._source(entry, view)

    def settle(self, view: View) -> Iterable[Need]:
        for python in list(self._pythons.values()):
            for site in list(python.sites):
                for distribution in self._units.distributions.all(site):
                    for point in distribution.entry_points:
                        asker = self._asker(point.group, distribution.name)
                        if asker:
                            reason = Reason(
                                "python-entry-point",
                                f"{point.group} of {distribution.name}, looked up by {asker}",
                                asker,
                            )
                            yield Need(f"{distribution.metadata}/entry_points.txt", reason)
                            yield from self._absolute(point.module, python, python.path, reason, view)

    def _asker(self, group: str, distribution: str) -> str:
        for asker, literals in self._named.items():
            if group in literals:
                if group in ("console_scripts", "gui_scripts") and distribution not in literals:
                    continue
                return asker
        return ""

    # --------------------------------------------------------- interpreters

    def _install(self, installation: Installation, view: View) -> Iterator[Need]:
        if installation.library in self._pythons:
            return
        library = installation.library
        python = Python(
            installation,
            Finder(view.root, installation.version),
            (installation.archive, library, f"{library}/lib-dynload"),
        )
        self._pythons[library] = python
        homes = {"/root", *(f"/home/{name}" for name in view.root.children("/home"))}
        homes |= {value for name, value in (view.application.env or {}).items() if name in ("HOME", "PYTHONUSERBASE")}
        base = f"{installation.prefix.rstrip('/')}/bin/python{installation.version}"
        reason = Reason("python", f"needed by every start of Python {installation.version}", base)
        for directory in (installation.archive, f"{library}/lib-dynload"):
            yield Need(directory, reason)
        for name in STARTUP:
            yield from self._absolute(name, python, python.library, reason, view)
        for home in self._environments:
            yield from self._add_sites(python, environment_directories(home, installation, view.root), view)
        yield from self._add_sites(python, site_directories(installation, view.root, sorted(homes)), view)
        for name in ("sitecustomize", "usercustomize"):
            yield from self._absolute(name, python, python.path, reason, view)
        for path in list(self._sources):
            yield from self._follow(path, python, view)
        for path in list(self._extensions):
            yield from self._names(path, python, view)
        yield from self._command_lines(python, view)

    def text(self, found: Imports, installation: Installation, reason: Reason, view: View) -> Iterator[Need]:
        """The needs of a text's imports alone; what they import follows when they enter the closure."""
        yield from self._install(installation, view)
        python = self._pythons[installation.library]
        for each in found.imports:
            yield from self._import(each, "/", python, [(*self._local, *python.path)], reason, view)

    def _interpreter_link(self, path: str, view: View) -> Iterator[Need]:
        if re.search(r"/bin/python[\d.]*$", path):
            home = posixpath.dirname(posixpath.dirname(path))
            for place in (f"{home}/pyvenv.cfg", f"{posixpath.dirname(path)}/pyvenv.cfg"):
                yield Need(place, Reason("python", f"tells {path} where its modules are", path))

    def _environment(self, home: str, view: View) -> Iterator[Need]:
        if home in self._environments:
            return
        self._environments.append(home)
        for python in list(self._pythons.values()):
            yield from self._add_sites(python, environment_directories(home, python.installation, view.root), view)
            yield from self._again(python, view)

    def _again(self, python: Python, view: View) -> Iterator[Need]:
        """Follow every source once more: the search path has grown since."""
        python.done.clear()
        for path in list(self._sources):
            yield from self._follow(path, python, view)

    def _add_sites(self, python: Python, sites: Sequence[str], view: View) -> Iterator[Need]:
        for site in sites:
            if site in python.sites:
                continue
            python.sites.append(site)
            reason = Reason(
                "python", f"on the module path of Python {python.installation.version}", python.installation.library
            )
            yield Need(site, reason)
            for name in view.root.children(view.root.resolve(site).path):
                if name.endswith(".pth"):
                    yield Need(f"{site}/{name}", reason)
                    yield from self._pth_paths(f"{site}/{name}", python, view)

    def _pth_paths(self, path: str, python: Python, view: View) -> Iterator[Need]:
        site = posixpath.dirname(path)
        for code, line in pth_lines(self._text(path, view)):
            if not code:
                place = posixpath.normpath(posixpath.join(site, line))
                if view.root.find(place) is not None:
                    yield from self._add_sites(python, [place], view)

    def _pth(self, entry: Entry, view: View) -> Iterator[Need]:
        lines = [line for code, line in pth_lines(self._text(entry.path, view)) if code]
        if lines:
            self._sources[entry.path] = scan("\n".join(lines).encode())
            for python in list(self._pythons.values()):
                yield from self._follow(entry.path, python, view)

    def _text(self, path: str, view: View) -> str:
        try:
            return view.root.read(path, LARGEST).decode("utf-8", "replace")
        except SlimmerError:
            return ""

    def _command_lines(self, python: Python, view: View) -> Iterator[Need]:
        """`gunicorn app:app`, `python -m package`, `DJANGO_SETTINGS_MODULE=site.settings`."""
        lines = [view.application.argv, *view.recording.commands, tuple((view.application.env or {}).values())]
        reason = Reason(self.name, "named on the command line or in the environment")
        for word in dict.fromkeys(word for line in lines for word in line):
            found = ARGUMENT.fullmatch(word)
            if found and ("." in found[1] or ":" in word):
                yield from self._absolute(found[1], python, (*self._local, *python.path), reason, view)

    # --------------------------------------------------------------- sources

    def _is_source(self, entry: Entry, view: View) -> bool:
        path = entry.path
        if path.endswith((".py", ".pyw")):
            return True
        if path.endswith(".pyc"):
            return view.root.find(path[:-1]) is None
        if not entry.executable or "." in posixpath.basename(path):
            return False
        shebang = parse_shebang(head(entry, view, BUFFER))
        return shebang is not None and re.fullmatch(r"python[\d.]*", shebang.program) is not None

    def _source(self, entry: Entry, view: View) -> Iterator[Need]:
        if entry.size > LARGEST:
            view.unsure(Unsure("python-import", entry.path, "too large to be read for imports", 20))
            return
        source = head(entry, view, LARGEST)
        origin = self._origin(entry.path, view)
        own = origin is Origin.APPLICATION
        if entry.path.endswith(".pyc"):
            found = scan_bytecode(source)
        else:
            found = scan(source, words=own, commands=origin is not Origin.LIBRARY)
        self._sources[entry.path] = found
        if own:
            added = list(self._added(found, entry.path, view))
            self._local.extend(added)
            if added:
                for python in list(self._pythons.values()):
                    yield from self._again(python, view)
            for line in found.computed[:1]:
                view.unsure(
                    Unsure("python-import", entry.path, f"line {line} imports a module whose name is computed", 25)
                )
        if found.groups:
            self._named[entry.path] = found.groups
        if origin is not Origin.LIBRARY:
            yield from self._starts(entry.path, found)
        for python in list(self._pythons.values()):
            yield from self._follow(entry.path, python, view)

    def _added(self, found: Imports, path: str, view: View) -> Iterator[str]:
        here = posixpath.dirname(path)
        for text in found.paths:
            for place in dict.fromkeys(
                (posixpath.normpath(posixpath.join(here, text)), posixpath.normpath(f"{here}/../{text}"))
            ):
                entry = view.root.find(place)
                if entry is not None and entry.type is FileType.DIRECTORY and place not in self._local and place != "/":
                    yield place

    def _starts(self, path: str, found: Imports) -> Iterator[Need]:
        yield from self._started.calls(found.commands, path)
        for mention in found.libraries:
            yield from self._libraries.needs(
                mention.text, Reason("python-library", f"loaded by {path} line {mention.line}", path)
            )

    def _origin(self, path: str, view: View) -> Origin:
        if re.search(r"/(?:site|dist)-packages/", path):
            return Origin.SITE
        if re.search(r"/lib(?:64)?/python\d+\.\d+/", path):
            return Origin.LIBRARY
        owner = view.packages.owner(path)
        return Origin.SITE if owner is not None and owner.type in SYSTEM else Origin.APPLICATION

    def _belongs(self, path: str, python: Python) -> bool:
        """Whether an installation would ever load a source: not one of another version's library."""
        found = re.search(r"/lib(?:64)?/python(\d+\.\d+)/", path)
        return found is None or found[1] == python.installation.version

    # --------------------------------------------------------------- imports

    def _follow(self, path: str, python: Python, view: View) -> Iterator[Need]:
        if path in python.done or not self._belongs(path, python):
            return
        python.done.add(path)
        found, origin = self._sources[path], self._origin(path, view)
        own = _top(path)
        places = self._places(path, origin, python, view)
        for each in found.imports:
            if each.when is When.MAIN and origin is not Origin.APPLICATION and path.endswith(".py"):
                continue
            first = each.module.partition(".")[0]
            if each.when and first != own and not each.level and first in UNREACHED[origin]:
                continue
            reason = Reason(self.name, f"imported by {path} line {each.line}", path)
            yield from self._import(each, path, python, places, reason, view)
        yield from self._computed(path, found, python, places, view)
        name = posixpath.basename(path).partition(".")[0]
        name = posixpath.basename(posixpath.dirname(path)) if name == "__init__" else name
        if origin is Origin.LIBRARY:
            yield from self._implied(name, path, python, view)
            if name in WHOLE and path.endswith("/__init__.py"):
                yield from self._family(posixpath.dirname(path), "", python, Reason("python", WHOLE[name], path), view)
        if origin is Origin.SITE:
            yield from self._units.needs(path)

    def _places(self, path: str, origin: Origin, python: Python, view: View) -> list[tuple[str, ...]]:
        """The search paths by which a source's absolute imports may be answered; each is asked."""
        if origin is not Origin.APPLICATION:
            return [python.path]
        here = top = posixpath.dirname(path)
        while top != "/" and view.root.find(f"{top}/__init__.py") is not None:
            top = posixpath.dirname(top)
        return [(*dict.fromkeys((top, here, *self._local)),), python.path]

    def _import(
        self, each: Import, path: str, python: Python, places: list[tuple[str, ...]], reason: Reason, view: View
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
                yield from self._members(each.names, (base,), python, reason, view)
                return
        for search in searches:
            chain = python.finder.chain(search, each.module)
            yield from self._needs(chain, reason, search, python, view)
            if each.names and len(chain) == each.module.count(".") + 1 and chain[-1].locations:
                yield from self._members(each.names, chain[-1].locations, python, reason, view)

    def _members(
        self, names: Sequence[str], locations: tuple[str, ...], python: Python, reason: Reason, view: View
    ) -> Iterator[Need]:
        if "*" in names:
            package = python.finder.find((posixpath.dirname(locations[0]),), posixpath.basename(locations[0]))
            if package is not None and package.source.endswith("__init__.py"):
                found = view.root.find(package.source)
                if found is not None:
                    names = (*names, *self._exports(found, view))
        for name in names:
            module = python.finder.find(locations, name)
            if module is not None:
                yield from self._need(module, reason)

    def _exports(self, entry: Entry, view: View) -> tuple[str, ...]:
        if entry.path not in self._sources:
            return scan(head(entry, view, LARGEST)).exported
        return self._sources[entry.path].exported

    def _absolute(self, name: str, python: Python, search: Sequence[str], reason: Reason, view: View) -> Iterator[Need]:
        if name.endswith("*"):
            for each in python.finder.names(search):
                if each.startswith(name[:-1]):
                    yield from self._absolute(each, python, search, reason, view)
            return
        chain = python.finder.chain(search, name)
        yield from self._needs(chain, reason, search, python, view)

    def _needs(
        self, chain: Sequence[Module], reason: Reason, search: Sequence[str], python: Python, view: View
    ) -> Iterator[Need]:
        for module in chain:
            yield from self._need(module, reason)

    def _need(self, module: Module, reason: Reason) -> Iterator[Need]:
        for file in module.files:
            yield Need(file, reason)
        if not module.files:
            for location in module.locations:
                yield Need(location, reason)

    def _family(self, location: str, prefix: str, python: Python, reason: Reason, view: View) -> Iterator[Need]:
        """All modules of a package whose names begin with `prefix`, and their subpackages."""
        for name in python.finder.names((location,)):
            if not name.startswith(prefix) or name in TESTS:
                continue
            module = python.finder.find((location,), name)
            if module is not None and (module.files or module.locations):
                yield from self._need(module, reason)
                for inner in module.locations:
                    if module.files:
                        yield from self._family(inner, "", python, reason, view)

    def _computed(
        self, path: str, found: Imports, python: Python, places: list[tuple[str, ...]], view: View
    ) -> Iterator[Need]:
        """Names with a known beginning, and names in strings."""
        for family in found.families:
            package, _, prefix = family.prefix.rpartition(".")
            reason = Reason(self.name, f"may be imported by {path} line {family.line}", path)
            if family.level:
                base = posixpath.dirname(path)
                for _ in range(family.level - 1):
                    base = posixpath.dirname(base)
                locations: list[str] = [base]
                if package:
                    chain = python.finder.chain((base,), package)
                    locations = [*chain[-1].locations] if len(chain) == package.count(".") + 1 else []
            elif package:
                locations = []
                for search in places:
                    chain = python.finder.chain(search, package)
                    yield from self._needs(chain, reason, search, python, view)
                    if len(chain) == package.count(".") + 1:
                        locations.extend(chain[-1].locations)
            else:
                continue
            for location in locations:
                yield from self._family(location, prefix, python, reason, view)
        yield from self._mentioned(path, found, python, places, view)

    def _mentioned(
        self, path: str, found: Imports, python: Python, places: list[tuple[str, ...]], view: View
    ) -> Iterator[Need]:
        origin = self._origin(path, view)
        own = _top(path)
        for mention in found.dotted:
            first = mention.text.partition(".")[0]
            if origin is not Origin.APPLICATION and first != own:
                continue
            reason = Reason(self.name, f"named by {path} line {mention.line}", path)
            for search in places:
                chain = python.finder.chain(search, mention.text)
                if len(chain) > 1:  # at least a module of a package, not a package's attribute
                    yield from self._needs(chain, reason, search, python, view)
        for mention in found.words:
            module = python.finder.find(tuple(python.sites), mention.text)
            if module is not None and module.files:
                yield from self._need(module, Reason(self.name, f"named by {path} line {mention.line}", path))

    def _implied(self, name: str, path: str, python: Python, view: View) -> Iterator[Need]:
        for other in IMPLIED.get(name, ()):
            reason = Reason(self.name, f"loaded by {path} under a name it computes", path)
            yield from self._absolute(other, python, python.library, reason, view)

    # ----------------------------------------------------- extensions, archives

    def _extension(self, entry: Entry, view: View) -> Iterator[Need]:
        """Names that compiled modules import: C code and Cython hold them as plain strings."""
        path = entry.path
        if not EXTENSION_PLACE.search(path) and not re.search(r"\.(?:cpython-\d+[\w-]*|abi3)\.so$", path):
            return
        names = [name.decode() for name in matches(entry, view, NAME)]
        if not any(name.startswith(("PyImport_", "PyInit_", "PyModule_")) for name in names):
            return
        self._extensions[path] = tuple(names)
        for python in list(self._pythons.values()):
            yield from self._names(path, python, view)

    def _names(self, path: str, python: Python, view: View) -> Iterator[Need]:
        if not self._belongs(path, python):
            return
        origin = self._origin(path, view) if "-packages/" in path or "/lib-dynload/" in path else Origin.LIBRARY
        reason = Reason(self.name, f"named in {path}", path)
        own = _top(path)
        search = python.library if origin is Origin.LIBRARY else python.path
        for name in self._extensions[path]:
            first = name.partition(".")[0]
            if first in DEVELOPER or (first == name and origin is Origin.LIBRARY and name in COMMON_WORDS):
                continue
            if (
                origin is not Origin.LIBRARY
                and first != own
                and first == name
                and not name.startswith("_")  # a word is often no module, but _cffi_backend is nothing else
                and python.finder.find(python.library, name) is None
            ):
                continue
            yield from self._absolute(name, python, search, reason, view)
        if origin is Origin.SITE:
            yield from self._units.needs(path)

    def _archive(self, entry: Entry, view: View) -> Iterator[Need]:
        """An archive of modules on the path, or one that is run: it stays whole, and its modules are followed."""
        members = [name for name in archive_members(view.root, entry.path) if name.endswith(".py")]
        if "__main__.py" not in members and not any(
            entry.path == f"{site}" for python in self._pythons.values() for site in python.path
        ):
            return
        for member in members:
            place = f"{entry.path}/{member}"
            self._sources[place] = scan(archive_source(view.root, entry.path, member))
            for python in list(self._pythons.values()):
                yield from self._follow(place, python, view)


EXTENSION_PLACE = re.compile(r"/(?:lib-dynload|site-packages|dist-packages)/")


def _top(path: str) -> str:
    """The first name of a module's dotted name."""
    found = re.search(r"/(?:site-packages|dist-packages|python\d+\.\d+(?:/lib-dynload)?)/([^/.]+)", path)
    return found[1] if found else ""


def python_text(view: View, text: str, reason: Reason) -> Iterator[Need]:
    """What a program text that no file holds imports (`python3 -c`), by every Python that PATH finds."""
    rule = PythonRule()
    rule.begin(view)
    found = scan(text.encode("utf-8", "surrogateescape"))
    for name in ("python3", "python"):
        for path in Programs(view).find(name):
            entry = view.root.find(path)
            installation = installation_of(entry, view.root) if entry is not None else None
            if installation is not None:
                yield from rule.text(found, installation, reason, view)
