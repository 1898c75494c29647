"""Where a Python inside a root looks for modules, worked out from its layout as Modules/getpath.py and site.py do."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from slimmer.errors import SlimmerError
from slimmer.root.model import Entry, FileType, Root
from slimmer.root.zips import unzipped

EXECUTABLE = re.compile(r"/(?:bin|sbin)/python(\d+\.\d+)t?d?$")
LIBRARY = re.compile(r"/libpython(\d+\.\d+)t?d?[.\w-]*\.so[.\d]*$")
EXTENDS = (b"extend_path", b"declare_namespace")
LARGEST_INIT = 1 << 16  # bytes; the __init__.py of a namespace is a line
ZIPS = (".zip", ".egg", ".whl", ".pyz", ".pex")


@dataclass(frozen=True, slots=True)
class Installation:
    """One Python: its prefix ("/usr"), version ("3.11") and the directory of its standard library."""

    prefix: str
    version: str
    library: str

    @property
    def tag(self) -> str:
        """The cache tag of its bytecode (PEP 3147)."""
        return f"cpython-{self.version.replace('.', '')}"

    @property
    def archive(self) -> str:
        return f"{self.prefix.rstrip('/')}/lib/python{self.version.replace('.', '')}.zip"


def installation_of(entry: Entry, root: Root) -> Installation | None:
    """The Python to which an interpreter or libpython belongs."""
    if entry.type is not FileType.FILE:
        return None
    found = EXECUTABLE.search(entry.path) or LIBRARY.search(entry.path)
    if found is None:
        return None
    version = found[1]
    prefix = posixpath.dirname(entry.path)
    while True:
        for lib in ("lib", "lib64"):
            library = f"{prefix.rstrip('/')}/{lib}/python{version}"
            if any(root.find(f"{library}/os{suffix}") for suffix in (".py", ".pyc")):
                return Installation(prefix, version, library)
        if prefix == "/":
            return None
        prefix = posixpath.dirname(prefix)


def site_directories(installation: Installation, root: Root, homes: Iterable[str]) -> list[str]:
    """Directories that site.py would add, Debian's patches and users' own directories included."""
    version, prefix = installation.version, installation.prefix.rstrip("/")
    names = [
        f"{prefix}/local/lib/python{version}/dist-packages",
        f"{prefix}/local/lib/python{version}/site-packages",
        f"/usr/local/lib/python{version}/dist-packages",
        f"{prefix}/lib/python3/dist-packages",
        f"{prefix}/lib/python{version}/dist-packages",
        f"{prefix}/lib/python{version}/site-packages",
        f"{prefix}/lib64/python{version}/site-packages",
        *(f"{home.rstrip('/')}/.local/lib/python{version}/site-packages" for home in homes),
    ]
    return [name for name in dict.fromkeys(names) if _is_directory(root, name)]


def environment_directories(home: str, installation: Installation, root: Root) -> list[str]:
    """The site directories of a virtual environment (the directory that holds pyvenv.cfg)."""
    names = [f"{home}/{lib}/python{installation.version}/site-packages" for lib in ("lib", "lib64")]
    return [name for name in names if _is_directory(root, name)]


def _is_directory(root: Root, path: str) -> bool:
    found = root.find(path)
    return found is not None and found.type is FileType.DIRECTORY


def pth_lines(text: str) -> Iterator[tuple[bool, str]]:
    """A .pth file's lines as site.addpackage reads them: (is code, line)."""
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        yield line.startswith(("import ", "import\t")), line.rstrip()


@dataclass(frozen=True, slots=True)
class Module:
    """A module that was found: its files (source, bytecode, extension), and where its submodules are.

    `files` is empty for a namespace package. `source` is "" when there is none to read.
    """

    files: tuple[str, ...]
    locations: tuple[str, ...] = ()
    source: str = ""
    inner: str = ""  # the name inside an archive, when `source` is one


@dataclass(slots=True)
class Finder:
    """Finds modules in directories and archives by the rules of importlib's FileFinder, for one Python version."""

    root: Root
    version: str
    _listings: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    _archives: dict[str, frozenset[str]] = field(default_factory=dict)
    _found: dict[tuple[tuple[str, ...], str], Module | None] = field(default_factory=dict)

    def find(self, locations: Sequence[str], name: str) -> Module | None:
        """A module of this last name component in these directories, or in these archives."""
        key = (tuple(locations), name)
        if key not in self._found:
            self._found[key] = self._find(key[0], name)
        return self._found[key]

    def chain(self, locations: Sequence[str], dotted: str) -> list[Module]:
        """The modules that `import a.b.c` loads, as far as they are found."""
        chain: list[Module] = []
        for part in dotted.split("."):
            module = self.find(locations, part)
            if module is None:
                break
            chain.append(module)
            locations = module.locations
        return chain

    def names(self, locations: Sequence[str]) -> list[str]:
        """Names of all modules directly in these directories."""
        found: dict[str, None] = {}
        for location in locations:
            found.update(dict.fromkeys(self._listing(location)))
        return [name for name in found if name not in ("", "__init__", "__pycache__")]

    def _find(self, locations: tuple[str, ...], name: str) -> Module | None:
        portions = []
        for location in locations:
            if location.endswith(ZIPS) or any(f"{end}/" in location for end in ZIPS):
                module = self._in_archive(location, name)
                if module is not None:
                    return module
            candidates = self._listing(location).get(name)
            if not candidates:
                continue
            place = f"{location.rstrip('/')}/{name}"
            if name in candidates and _is_directory(self.root, place):
                if "__init__" in self._listing(place):
                    module = self._file(place, "__init__")
                    if module is not None:
                        return Module(
                            module.files, (place, *self._extended(module, locations, place, name)), module.source
                        )
                portions.append(place)
            module = self._file(location, name)
            if module is not None:
                return module
        return Module((), tuple(portions)) if portions else None

    def _extended(self, module: Module, locations: Sequence[str], place: str, name: str) -> list[str]:
        """The other portions of a package that calls pkgutil.extend_path or pkg_resources.declare_namespace."""
        others = [f"{each.rstrip('/')}/{name}" for each in locations]
        others = [each for each in others if each != place and _is_directory(self.root, each)]
        if not others or not module.source:
            return []
        try:
            text = self.root.read(module.source, LARGEST_INIT)
        except SlimmerError:
            return []
        return others if any(word in text for word in EXTENDS) else []

    def _file(self, location: str, stem: str) -> Module | None:
        names = self._listing(location).get(stem, [])
        base = location.rstrip("/")
        extensions = [name for name in names if name.endswith(".so") and self._suits(name[len(stem) : -3])]
        source = f"{stem}.py" if f"{stem}.py" in names else ""
        bytecode = [f"{stem}.pyc"] if f"{stem}.pyc" in names else []
        cached = [
            f"__pycache__/{name}"
            for name in self._listing(f"{base}/__pycache__").get(stem, [])
            if name.split(".")[1] == self._tag and ".opt-" not in name  # those of -O stay when they were recorded
        ]
        if extensions:  # the loader takes the first suffix, an interpreter of another build the next
            return Module(tuple(f"{base}/{name}" for name in (*extensions, *filter(None, [source]), *cached)))
        if source:
            return Module(tuple(f"{base}/{name}" for name in (source, *bytecode, *cached)), (), f"{base}/{source}")
        if bytecode:
            return Module((f"{base}/{bytecode[0]}",), (), f"{base}/{bytecode[0]}")
        return None

    @property
    def _tag(self) -> str:
        return f"cpython-{self.version.replace('.', '')}"

    def _suits(self, middle: str) -> bool:
        return middle in ("", ".abi3") or middle.startswith(f".{self._tag}")

    def _listing(self, location: str) -> dict[str, list[str]]:
        """Names in a directory by what stands before their first dot."""
        if location not in self._listings:
            listing: dict[str, list[str]] = {}
            for name in self.root.children(self.root.resolve(location).path):
                listing.setdefault(name.partition(".")[0], []).append(name)
            self._listings[location] = listing
        return self._listings[location]

    # ------------------------------------------------------------- archives

    def _in_archive(self, location: str, name: str) -> Module | None:
        archive, inner = split_archive(location)
        members = self._members(archive)
        stem = f"{inner}/{name}" if inner else name
        for member, packaged in ((f"{stem}/__init__.py", True), (f"{stem}/__init__.pyc", True),
                                 (f"{stem}.py", False), (f"{stem}.pyc", False)):  # fmt: skip
            if member in members:
                return Module((archive,), (f"{location}/{name}",) if packaged else (), archive, member)
        return None

    def _members(self, archive: str) -> frozenset[str]:
        if archive not in self._archives:
            self._archives[archive] = frozenset(archive_members(self.root, archive))
        return self._archives[archive]


def split_archive(location: str) -> tuple[str, str]:
    """An archive's path and the directory inside it."""
    found = re.match(r"(.*?\.(?:zip|egg|whl|pyz|pex))(?:/(.*))?$", location)
    return (found[1], found[2] or "") if found else (location, "")


def archive_members(root: Root, archive: str) -> list[str]:
    """Names in a zip archive; none when it is no archive."""
    found = root.find(archive)
    if found is None or found.type is not FileType.FILE:
        return []
    try:
        with unzipped(root, found.path) as opened:
            return opened.namelist()
    except SlimmerError:
        return []


def archive_source(root: Root, archive: str, member: str) -> bytes:
    """A member's content; empty when it cannot be read."""
    found = root.find(archive)
    if found is None or found.type is not FileType.FILE:
        return b""
    try:
        with unzipped(root, found.path) as opened:
            return opened.read(member)
    except SlimmerError:
        return b""


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
