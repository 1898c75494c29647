"""Python: from every kept module to what it can import, through the interpreter's real search path in the root.

The standard library is followed module by module; of a third-party distribution
the whole package stays, without its tests, because what it looks up by computed
names (drivers, codecs, templates, workers) is its own affair. The application's
own modules are followed and searched for names in strings as well.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from slimmer.closure.commands.needs import Embedded
from slimmer.closure.commands.search import Programs, said
from slimmer.closure.languages.base import NOTHING, LanguageRule
from slimmer.closure.languages.python.bytecode import scan_bytecode
from slimmer.closure.languages.python.distributions import DistributionUnits
from slimmer.closure.languages.python.importer import LARGEST, RULE, Importer
from slimmer.closure.languages.python.imports import Imports, scan
from slimmer.closure.languages.python.origins import Origin, belongs, origin_of, top_name, unit_of
from slimmer.closure.languages.python.path import (
    ZIPS,
    Finder,
    Installation,
    Python,
    archive_members,
    archive_source,
    environment_directories,
    installation_of,
    pth_lines,
    site_directories,
)
from slimmer.closure.languages.python.started import Started
from slimmer.closure.languages.runtimes import matches
from slimmer.closure.model import ClosureWarning, Need, Reason, View
from slimmer.closure.profiles.load import Profile
from slimmer.errors import SlimmerError
from slimmer.root.model import Entry, FileType

NAME = re.compile(rb"(?<=\0)([A-Za-z_]\w*(?:\.\w+)*)(?=\0)")
ARGUMENT = re.compile(r"(?:--?[\w-]+=)?([A-Za-z_]\w*(?:\.\w+)*)(?::[\w.]+)?(?:\(.*\))?$")


class PythonRule(LanguageRule):
    """Imports, package data, metadata, entry points, started programs and loaded libraries of kept Python code."""

    name = RULE
    language = "python"
    command_rule = "python-command"
    suffixes = re.compile(r"\.pyw?$")
    programs = re.compile(r"python[\d.]*")

    def __init__(self, inline: Mapping[str, Embedded] = NOTHING, profiles: Sequence[Profile] | None = None) -> None:
        super().__init__(inline, profiles)
        self._pythons: dict[str, Python] = {}
        self._sources: dict[str, Imports] = {}  # by canonical path; insertion order is order of entry
        self._extensions: dict[str, tuple[str, ...]] = {}
        self._local: list[str] = []  # directories that the application adds to sys.path
        self._virtual: list[str] = []
        self._groups: dict[str, str] = {}  # a group that is looked up → by whom
        self._named: dict[str, frozenset[str]] = {}  # who looks up entry points → all its literals

    # -------------------------------------------------------------- the rule

    def begin(self, view: View) -> Iterable[Need]:
        yield from super().begin(view)
        self._programs = Started(view, self._started, self._known.builders)
        self._units = DistributionUnits(view, self._profiles)
        self._local[:] = dict.fromkeys((*self._environment.directories("PYTHONPATH"), *self._environment.workdirs))
        self._importer = Importer(view, self._sources, self._local, self._units, self._known, self._programs.run)

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        path = entry.path
        if path.endswith("/pyvenv.cfg"):
            yield from self._virtual_environment(posixpath.dirname(path), view)
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
        yield from self._programs.settle()
        yield from self._importer.settle()
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
                            yield from self._importer.absolute(point.module, python, python.path, reason)

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
        for name in self._known.startup:
            yield from self._importer.absolute(name, python, python.library, reason)
        for home in self._virtual:
            yield from self._add_sites(python, environment_directories(home, installation, view.root), view)
        yield from self._add_sites(python, site_directories(installation, view.root, sorted(homes)), view)
        for name in ("sitecustomize", "usercustomize"):
            yield from self._importer.absolute(name, python, python.path, reason)
        for path in list(self._sources):
            yield from self._importer.follow(path, python)
        for path in list(self._extensions):
            yield from self._names(path, python, view)
        yield from self._command_lines(python, view)

    def text(self, found: Imports, installation: Installation, reason: Reason, view: View) -> Iterator[Need]:
        """The needs of a text's imports alone; what they import follows when they enter the closure."""
        yield from self._install(installation, view)
        python = self._pythons[installation.library]
        for each in found.imports:
            yield from self._importer.imported(each, "/", python, [(*self._local, *python.path)], reason)

    def _interpreter_link(self, path: str, view: View) -> Iterator[Need]:
        if re.search(r"/bin/python[\d.]*$", path):
            home = posixpath.dirname(posixpath.dirname(path))
            for place in (f"{home}/pyvenv.cfg", f"{posixpath.dirname(path)}/pyvenv.cfg"):
                yield Need(place, Reason("python", f"tells {path} where its modules are", path))

    def _virtual_environment(self, home: str, view: View) -> Iterator[Need]:
        if home in self._virtual:
            return
        self._virtual.append(home)
        for python in list(self._pythons.values()):
            yield from self._add_sites(python, environment_directories(home, python.installation, view.root), view)
            yield from self._again(python, view)

    def _again(self, python: Python, view: View) -> Iterator[Need]:
        """Follow every source once more: the search path has grown since."""
        python.done.clear()
        for path in list(self._sources):
            yield from self._importer.follow(path, python)

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
                yield from self._importer.follow(entry.path, python)

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
                yield from self._importer.absolute(found[1], python, (*self._local, *python.path), reason)

    # --------------------------------------------------------------- sources

    def _is_source(self, entry: Entry, view: View) -> bool:
        path = entry.path
        if path.endswith((".py", ".pyw")):
            return True
        if path.endswith(".pyc"):
            return view.root.find(path[:-1]) is None
        return self.is_script(entry)

    def _source(self, entry: Entry, view: View) -> Iterator[Need]:
        if entry.size > LARGEST:
            view.warn(ClosureWarning(RULE, entry.path, "too large to be read for imports", 20))
            return
        origin = origin_of(entry.path, view)
        own = origin is Origin.APPLICATION
        if entry.path.endswith(".pyc"):
            found = said(entry, view, LARGEST, scan_bytecode)
        else:
            third = origin is Origin.SITE
            texts = third and self._programs.runs(entry.path)
            found = said(entry, view, LARGEST, scan, words=own, commands=own or third, texts=texts)
        self._sources[entry.path] = found
        if own:
            added = list(self._added(found, entry.path, view))
            self._local.extend(added)
            if added:
                for python in list(self._pythons.values()):
                    yield from self._again(python, view)
            for line in found.computed[:1]:
                view.warn(ClosureWarning(RULE, entry.path, f"line {line} imports a module whose name is computed", 25))
        if found.groups:
            self._named[entry.path] = found.groups
        if origin is not Origin.LIBRARY:
            yield from self._programs.see(entry.path, "" if own else unit_of(entry.path), found)
        for python in list(self._pythons.values()):
            yield from self._importer.follow(entry.path, python)

    def _added(self, found: Imports, path: str, view: View) -> Iterator[str]:
        here = posixpath.dirname(path)
        for text in found.paths:
            for place in dict.fromkeys(
                (posixpath.normpath(posixpath.join(here, text)), posixpath.normpath(f"{here}/../{text}"))
            ):
                entry = view.root.find(place)
                if entry is not None and entry.type is FileType.DIRECTORY and place not in self._local and place != "/":
                    yield place

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
        if not belongs(path, python.installation):
            return
        origin = origin_of(path, view) if "-packages/" in path or "/lib-dynload/" in path else Origin.LIBRARY
        reason = Reason(self.name, f"named in {path}", path)
        own = top_name(path)
        search = python.library if origin is Origin.LIBRARY else python.path
        for name in self._extensions[path]:
            first = name.partition(".")[0]
            if first in self._known.developer or (
                first == name and origin is Origin.LIBRARY and name in self._known.words
            ):
                continue
            if (
                origin is not Origin.LIBRARY
                and first != own
                and first == name
                and not name.startswith("_")  # a word is often no module, but _cffi_backend is nothing else
                and python.finder.find(python.library, name) is None
            ):
                continue
            if origin is Origin.SITE and self._importer.holds(name, path, python):
                continue
            yield from self._importer.absolute(name, python, search, reason)
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
                yield from self._importer.follow(place, python)


EXTENSION_PLACE = re.compile(r"/(?:lib-dynload|site-packages|dist-packages)/")


def python_text(view: View, text: str, reason: Reason) -> Iterator[Need]:
    """What a program text that no file holds imports (`python3 -c`), by every Python that PATH finds."""
    rule = PythonRule()
    list(rule.begin(view))
    found = scan(text.encode("utf-8", "surrogateescape"))
    for name in ("python3", "python"):
        for path in Programs(view).find(name):
            entry = view.root.find(path)
            installation = installation_of(entry, view.root) if entry is not None else None
            if installation is not None:
                yield from rule.text(found, installation, reason, view)
