"""Third-party Python distributions as units: the package directory whole, its metadata, its entry points."""

from __future__ import annotations

import configparser
import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from slimmer.closure.binaries.cost import DependencyCost
from slimmer.closure.languages import suites
from slimmer.closure.languages.content import PackageContent
from slimmer.closure.languages.python.imports import scan
from slimmer.closure.languages.python.path import Python, pth_lines
from slimmer.closure.model import ClosureWarning, Need, Reason, View
from slimmer.closure.profiles.load import Profile
from slimmer.closure.profiles.modules import known_modules
from slimmer.closure.started import SYSTEM
from slimmer.errors import SlimmerError
from slimmer.packages.model import Package, PackageType
from slimmer.root.model import Entry, FileType, Root

BUILD_ONLY = re.compile(
    r"/share/(?:doc|man|info|lintian|bug|doc-base|locale|python3|dh-python|bash-completion|zsh|fish|pixmaps|applications)/"
    r"|/include/|/lib/pkgconfig/|/lib/cmake/"
)


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """One line of an entry_points.txt."""

    group: str
    module: str


@dataclass(slots=True)
class Distribution:
    """An installed distribution: its metadata (a directory, or Debian's single file) and what it provides."""

    name: str
    metadata: str  # path as named
    root: Root
    _entry_points: list[EntryPoint] | None = field(default=None)

    @property
    def entry_points(self) -> list[EntryPoint]:
        if self._entry_points is None:
            self._entry_points = list(_entry_points(_text(self.root, f"{self.metadata}/entry_points.txt")))
        return self._entry_points

    def files(self) -> list[str]:
        """What its RECORD lists, relative to its site directory."""
        return [line.split(",")[0].strip('"') for line in _text(self.root, f"{self.metadata}/RECORD").splitlines()]

    def top_levels(self) -> set[str]:
        """Names that can be imported, as top_level.txt or RECORD tell; else guessed from the distribution's name."""
        listed = _text(self.root, f"{self.metadata}/top_level.txt").split()
        if not listed:
            for first in self.files():
                head, slash, _ = first.partition("/")
                if (slash or head.endswith(".py")) and not head.endswith((".dist-info", ".data")) and head != "..":
                    listed.append(head.partition(".")[0])
        return {*listed} or {self.name.replace("-", "_"), self.name.replace("-", "_").lower()}


def _entry_points(text: str) -> Iterator[EntryPoint]:
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(text)
    except configparser.Error:
        return
    for group in parser.sections():
        for _, value in parser.items(group):
            module = re.match(r"[\w.]+", value.strip())
            if module:
                yield EntryPoint(group, module[0])


def _text(root: Root, path: str) -> str:
    try:
        return root.read(path).decode("utf-8", "replace")
    except SlimmerError:
        return ""


class Distributions:
    """The distributions of site directories, by what can be imported from them."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._sites: dict[str, dict[str, list[Distribution]]] = {}

    def providing(self, site: str, top: str) -> list[Distribution]:
        """Those that provide a top-level name in a site directory."""
        return self._index(site).get(top, [])

    def all(self, site: str) -> list[Distribution]:
        """Every distribution of a site directory, once."""
        found: dict[str, Distribution] = {}
        for listed in self._index(site).values():
            found.update({each.metadata: each for each in listed})
        return list(found.values())

    def _index(self, site: str) -> dict[str, list[Distribution]]:
        if site not in self._sites:
            index: dict[str, list[Distribution]] = {}
            for name in self._root.children(self._root.resolve(site).path):
                if name.endswith((".dist-info", ".egg-info")):
                    distribution = Distribution(name.split("-")[0], f"{site}/{name}", self._root)
                    for top in distribution.top_levels():
                        index.setdefault(top, []).append(distribution)
            self._sites[site] = index
        return self._sites[site]


def shared_data(path: str, view: View) -> Iterator[str]:
    """Data outside the module path of the OS package that owns a Python package: /usr/share/NAME, /etc."""
    owner = view.packages.owner(path)
    if owner is None:
        return
    for each in view.packages.files(owner):
        if (
            each.startswith(("/usr/share/", "/etc/"))
            and not BUILD_ONLY.search(each)
            and posixpath.dirname(each) != "/usr/share"
        ):
            entry = view.root.entry(each)
            if entry is not None and entry.type is not FileType.DIRECTORY:
                yield each


# setuptools writes such lines into NAME-nspkg.pth: its namespaces.py, _nspkg_tmpl.
NAMESPACE = re.compile(r"""PathFinder\.find_spec\(\s*['"]([\w.]+)['"]""")
SITE_PLACE = re.compile(r"(.*?/(?:site|dist)-packages)/(.+)$")


class DistributionUnits:
    """Whole distributions for modules of site directories, each once: code, commands, data, metadata."""

    def __init__(self, view: View, profiles: Sequence[Profile] = ()) -> None:
        self.distributions = Distributions(view.root)
        self._content = PackageContent("python", profiles, view)
        self._limit = known_modules((each.modules for each in profiles), "python").optional_limit
        self._view = view
        self._packages: set[str] = set()
        self._metadata: set[str] = set()
        self._done: set[tuple[Package, frozenset[Package]]] = set()
        self._suites: set[str] = set()
        self._cost = DependencyCost(view.root)
        self._shims: dict[str, frozenset[str]] = {}
        self._namespaces: dict[str, frozenset[str]] = {}

    def needs(self, path: str) -> Iterator[Need]:
        """What stays with a third-party module."""
        place = SITE_PLACE.match(path)
        if place is None:
            return
        site, rest = place[1], place[2].split("/")
        top = self._package(site, rest)
        if top:
            yield from self._directory(top, f"part of the package {posixpath.basename(top)}")
            yield from self._suite(top, path)
        name = rest[0].partition(".")[0]
        if path.endswith(".pth") or name in self.shims(site):
            return
        owner = next((each for each in self._view.packages.owners(path) if each.type is PackageType.PYPI), None)
        system = self._system(path)
        if owner is not None and (owner, system) not in self._done:
            self._done.add((owner, system))
            yield from self._distribution(owner, site, path, system)
        for distribution in self.distributions.providing(site, name):
            if distribution.metadata not in self._metadata and self._is_of(distribution, owner):
                self._metadata.add(distribution.metadata)
                reason = Reason("python-package", f"describes {distribution.name}", path)
                yield Need(distribution.metadata, reason, tree=True)
                for libs in (f"{site}/{distribution.name}.libs", f"{site}/{name}.libs"):
                    reason = Reason("python-package", f"libraries of {distribution.name}", path)
                    yield Need(libs, reason, tree=True)

    def _is_of(self, distribution: Distribution, owner: Package | None) -> bool:
        """Of those that share a namespace, the one that holds the module."""
        return owner is None or self._view.root.resolve(distribution.metadata).path == owner.location

    def shims(self, site: str) -> frozenset[str]:
        """Modules that .pth files import at every start: they come without the rest of their distribution.

        What they redirect to stays when something imports it.
        """
        if site not in self._shims:
            imports = scan("\n".join(self._start_lines(site)).encode()).imports
            self._shims[site] = frozenset(each.module.partition(".")[0] for each in imports)
        return self._shims[site]

    def namespaces(self, site: str) -> frozenset[str]:
        """Dotted names of packages that .pth files make at every start and that hold several distributions' parts."""
        if site not in self._namespaces:
            lines = self._start_lines(site)
            self._namespaces[site] = frozenset(name for line in lines for name in NAMESPACE.findall(line))
        return self._namespaces[site]

    def of_start(self, path: str) -> bool:
        """Whether every start reads a file of a distribution, used or not: a .pth file, and what those import."""
        place = SITE_PLACE.match(path)
        if path.endswith(".pth") or place is None:
            return place is not None
        directory = posixpath.dirname(place[2]).replace("/", ".")
        if posixpath.basename(path).startswith("__init__.") and directory in self.namespaces(place[1]):
            return True
        top = place[2].partition("/")[0].partition(".")[0]
        return top in self.shims(place[1]) - self.namespaces(place[1])

    def _start_lines(self, site: str) -> list[str]:
        """The code of a site directory's .pth files."""
        root = self._view.root
        names = [name for name in root.children(root.resolve(site).path) if name.endswith(".pth")]
        return [line for name in names for code, line in pth_lines(_text(root, f"{site}/{name}")) if code]

    def _directory(self, top: str, text: str) -> Iterator[Need]:
        if top in self._packages:
            return
        self._packages.add(top)
        init = f"{top}/__init__.py"
        reason = Reason("python-package", text, init)
        for entry in self._content.entries(self._view.root.resolve(top).path):
            yield Need(entry.path, reason)
            if entry.type is FileType.SYMLINK:
                yield from self._linked(entry, reason)
        for data in shared_data(init, self._view):
            yield Need(data, reason)

    def _linked(self, link: Entry, reason: Reason) -> Iterator[Need]:
        """What a package has in another place: Debian's babel its locales, which all architectures share."""
        found = self._view.root.find(link.path)
        if found is None or found.type is not FileType.DIRECTORY:
            return
        owners = self._view.packages.owners(found.path)
        if len({each.name for each in owners}) != 1 or {each.type for each in owners} - SYSTEM:
            return  # a place of many, or of nobody
        size = sum(entry.size for entry in self._view.root.walk(found.path) if entry.type is FileType.FILE)
        if self._limit and size > self._limit:
            text = f"{found.path}, to which {link.path} leads, holds {size:,} bytes and stays with used files only"
            self._view.warn(ClosureWarning("large-package", link.path, text, 30))
        else:
            yield Need(found.path, reason, tree=True)

    def _suite(self, top: str, path: str) -> Iterator[Need]:
        """A directory of tests from which something is used: helpers and data, without the tests themselves."""
        directory = posixpath.dirname(path)
        while len(directory) > len(top) and posixpath.basename(directory) not in suites.NAMES:
            directory = posixpath.dirname(directory)
        if len(directory) <= len(top) or directory in self._suites or suites.FILE.fullmatch(posixpath.basename(path)):
            return
        self._suites.add(directory)
        reason = Reason("python-package", f"beside {posixpath.basename(path)}, which is in use", path)
        here = posixpath.dirname(path)
        for name in self._view.root.children(here):
            entry = self._view.root.entry(f"{here}/{name}")
            if entry is None or suites.FILE.fullmatch(name) or self._content.omitted(entry, top):
                continue
            if entry.type is FileType.FILE:
                yield Need(entry.path, reason)

    def _system(self, path: str) -> frozenset[Package]:
        """The distribution's packages that hold a path; none for what pip installed."""
        return frozenset(each for each in self._view.packages.owners(path) if each.type in SYSTEM)

    def required(self, packages: frozenset[Package], beyond: Collection[str] = ()) -> frozenset[str]:
        """Names of system packages and of all that they depend on, in any number of steps, those `beyond` aside."""
        known = {each.name: each for each in self._view.packages.system_packages()} if packages else {}
        names: set[str] = set()
        pending = [each.name for each in packages]
        while pending:
            name = pending.pop()
            if name not in names and name not in beyond:
                names.add(name)
                pending += self._view.packages.depends(known[name]) if name in known else ()
        return frozenset(names)

    def _distribution(self, package: Package, site: str, path: str, system: frozenset[Package]) -> Iterator[Need]:
        """What a wheel's RECORD lists: its other modules, its commands, and what lies below the prefix.

        Where system packages divide it (Debian's pkg_resources and setuptools), those count that the module's own
        requires: a machine without the others is whole.
        """
        required = self.required(system)
        reason = Reason("python-package", f"installed by {package.name}", path)
        base = self._view.root.resolve(site).path
        for each in self._view.packages.files(package):
            entry = self._view.root.entry(each)
            if entry is None or entry.type is FileType.DIRECTORY or BUILD_ONLY.search(each):
                continue
            others = self._system(each) if system else ()
            if others and required.isdisjoint(other.name for other in others):
                continue
            if not each.startswith(f"{base}/"):
                yield Need(each, reason)
                continue
            first, slash, _ = each[len(base) + 1 :].partition("/")
            if first.endswith((".dist-info", ".egg-info")) or (slash and f"{base}/{first}" in self._packages):
                continue
            if not self._omitted(base, each):
                yield Need(each, reason)

    def weigh(self, packages: Sequence[Package]) -> int:
        """Bytes that distributions would add, with the libraries of the system that they load.

        Of a system package what lies in a site directory counts.
        """
        kept, found, objects = self._view.kept, dict[str, int](), []
        for package in packages:
            for path in self._view.packages.files(package):
                place = SITE_PLACE.match(path)
                if path in kept or BUILD_ONLY.search(path) or (package.type in SYSTEM and place is None):
                    continue
                entry = self._view.root.entry(path)
                if entry is None or entry.type is not FileType.FILE:
                    continue
                if place is None or not self._omitted(place[1], path, told=False):
                    found[path] = entry.size
                    objects += [entry] if ".so" in posixpath.basename(path) else []
        return self._with_libraries(found, objects)

    def weigh_module(self, path: str, python: Python) -> int:
        """The same of a package of the library (the path of its __init__), with its compiled part ("_NAME")."""
        directory = posixpath.dirname(path)
        compiled = python.finder.find(python.library, f"_{posixpath.basename(directory)}")
        objects = [self._view.root.find(each) for each in (compiled.files if compiled is not None else ())]
        found = [*self._view.root.walk(directory), *(each for each in objects if each is not None)]
        sizes = {each.path: each.size for each in found if each.type is FileType.FILE}
        return self._with_libraries(sizes, [each for each in found if each.path.endswith(".so")])

    def _with_libraries(self, sizes: dict[str, int], objects: Iterable[Entry]) -> int:
        for entry in objects:
            sizes |= self._cost.libraries(entry)
        return sum(size for path, size in sizes.items() if path not in self._view.kept)

    def _omitted(self, base: str, path: str, *, told: bool = True) -> bool:
        """Whether a file or a directory above it is left out."""
        top = f"{base}/{path[len(base) + 1 :].partition('/')[0]}"
        here = path
        above = []
        while len(here) >= len(top):
            above.append(here)
            here = posixpath.dirname(here)
        return any(
            (self._content.omitted(entry, top) if told else self._content.why_omitted(entry, top))
            for each in reversed(above)
            if (entry := self._view.root.entry(each)) is not None
        )

    def _package(self, site: str, rest: Sequence[str]) -> str:
        """The outermost directory above a module that is a package, namespaces aside; "" for a single module."""
        here = site
        for count, part in enumerate(rest[:-1], 1):
            here = f"{here}/{part}"
            if ".".join(rest[:count]) in self.namespaces(site):
                continue
            if any(self._view.root.find(f"{here}/__init__{suffix}") is not None for suffix in (".py", ".pyc")):
                return here
        return ""
