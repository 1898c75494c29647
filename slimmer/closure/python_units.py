"""Third-party Python distributions as units: the package directory whole, its metadata, its entry points."""

from __future__ import annotations

import configparser
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from slimmer.closure.model import Need, Reason, View
from slimmer.errors import SlimmerError
from slimmer.root.model import Entry, FileType, Root

# Inside a distribution's package: not used at run time unless something imports it.
TESTS = frozenset({"tests", "test", "__tests__", "testsuite"})
SOURCES = (
    ".pyx",
    ".pxd",
    ".pxi",
    ".c",
    ".cc",
    ".cpp",
    ".cxx",
    ".h",
    ".hpp",
    ".f",
    ".f90",
    ".a",
    ".o",
    ".la",
    ".pyi",
    ".rs",
)
BUILD_ONLY = re.compile(r"^/usr/share/(?:doc|man|info|lintian|bug|doc-base|locale|python3|dh-python|bash-completion)/")


def package_files(top: str, root: Root) -> Iterator[Entry]:
    """What stays of a package directory: everything but tests and the sources of compiled modules."""
    pending = [top]
    while pending:
        directory = pending.pop()
        for name in root.children(directory):
            entry = root.entry(f"{directory}/{name}")
            if entry is None:
                continue
            if entry.type is FileType.DIRECTORY:
                if name not in TESTS:
                    pending.append(entry.path)
                    yield entry
            elif not name.endswith(SOURCES) or name == "__init__.pyi":  # lazy_loader reads stubs when it runs
                yield entry


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

    def top_levels(self) -> set[str]:
        """Names that can be imported, as top_level.txt or RECORD tell; else guessed from the distribution's name."""
        listed = _text(self.root, f"{self.metadata}/top_level.txt").split()
        if not listed:
            for line in _text(self.root, f"{self.metadata}/RECORD").splitlines():
                first = line.split(",")[0]
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
            and not BUILD_ONLY.match(each)
            and posixpath.dirname(each) != "/usr/share"
        ):
            entry = view.root.entry(each)
            if entry is not None and entry.type is not FileType.DIRECTORY:
                yield each


SITE_PLACE = re.compile(r"(.*?/(?:site|dist)-packages)/(.+)$")


class Units:
    """Whole packages for modules of site directories, each once, with the metadata of their distributions."""

    def __init__(self, view: View) -> None:
        self.distributions = Distributions(view.root)
        self._view = view
        self._packages: set[str] = set()
        self._metadata: set[str] = set()

    def needs(self, path: str) -> Iterator[Need]:
        """What stays with a third-party module."""
        place = SITE_PLACE.match(path)
        if place is None:
            return
        site, rest = place[1], place[2].split("/")
        top = self._package(site, rest)
        if top and top not in self._packages:
            self._packages.add(top)
            init = f"{top}/__init__.py"
            reason = Reason("python-package", f"part of the package {posixpath.basename(top)}", init)
            for entry in package_files(top, self._view.root):
                yield Need(entry.path, reason)
            for data in shared_data(init, self._view):
                yield Need(data, reason)
        name = rest[0].partition(".")[0]
        for distribution in self.distributions.providing(site, name):
            if distribution.metadata not in self._metadata:
                self._metadata.add(distribution.metadata)
                reason = Reason("python-package", f"describes {distribution.name}", path)
                yield Need(distribution.metadata, reason, tree=True)
                for libs in (f"{site}/{distribution.name}.libs", f"{site}/{name}.libs"):
                    reason = Reason("python-package", f"libraries of {distribution.name}", path)
                    yield Need(libs, reason, tree=True)

    def _package(self, site: str, rest: Sequence[str]) -> str:
        """The outermost directory above a module that is a package; "" for a single module."""
        here = site
        for part in rest[:-1]:
            here = f"{here}/{part}"
            if any(self._view.root.find(f"{here}/__init__{suffix}") is not None for suffix in (".py", ".pyc")):
                return here
        return ""
