"""Python distributions installed in one directory.

    NAME-VERSION.dist-info/METADATA     mail headers (core metadata)
    NAME-VERSION.dist-info/RECORD       CSV: path relative to the directory, hash, size
    NAME-VERSION.egg-info/PKG-INFO      the same headers; installed-files.txt is relative to the egg-info
    NAME-VERSION.egg-info               a file: the headers only

Source: "Recording installed projects" and "Core metadata specifications" of the
Python packaging guide. A RECORD may name files outside (`../../../bin/pip`), so a
site directory of `PREFIX/lib/python3.X/site-packages` speaks for all of PREFIX.
"""

from __future__ import annotations

import csv
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from slimmer.packages.model import Package, PackageType
from slimmer.packages.places import Places
from slimmer.packages.scope import PackageScope, below, is_directory, legal_texts, text_of
from slimmer.packages.table import PathTable
from slimmer.root.model import FileType, Root, sort_key

_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PYC = re.compile(r"(.*)/__pycache__/([^/]+?)\.[a-z]+-?\d+[^/]*\.pyc")
_NAME_IN_FILE = re.compile(r"^(?P<name>.+?)-(?P<version>\d[^-]*)(?:-py\d.*)?$")


@dataclass(frozen=True, slots=True)
class Distribution:
    """What one metadata directory says."""

    package: Package
    requires: Sequence[str]
    listed: bool  # a list of files was installed
    tops: Sequence[str]  # names in the site directory that are its own as a whole


def claim(root: Root, places: Places, directory: str, names: Sequence[str]) -> Iterator[Site]:
    """The site directories that speak for this one: in it as a prefix, and itself."""
    if "lib" in names or "lib64" in names:
        for lib in ("lib", "lib64"):
            if lib not in names or places.directory(f"{directory}/{lib}") != f"{directory}/{lib}":
                continue
            for python in root.children(f"{directory}/{lib}"):
                if not python.startswith(("python", "pypy")):
                    continue
                for site in ("site-packages", "dist-packages"):
                    inner = f"{directory}/{lib}/{python}/{site}"
                    found = root.children(inner) if is_directory(root, inner) else ()
                    if any(name.endswith((".dist-info", ".egg-info")) for name in found):
                        yield Site(root, places, inner)
    if any(name.endswith((".dist-info", ".egg-info")) for name in names):
        yield Site(root, places, directory)


class Site(PackageScope):
    """A directory on somebody's sys.path."""

    def __init__(self, root: Root, places: Places, home: str) -> None:
        super().__init__(root, home)
        self._places = places
        self._found: dict[Package, Distribution] = {}
        self._tops: dict[str, Package] = {}
        self._forget()
        for name in root.children(home):
            if name.endswith((".dist-info", ".egg-info")):
                found = read(root, home, name)
                if found is not None and found.package not in self._found:
                    self._found[found.package] = found
                    for top in found.tops:
                        self._tops.setdefault(top, found.package)

    def _forget(self) -> None:
        self._table: PathTable | None = None  # numbered as `_found` is
        self._folders: dict[str, Package | None] = {}  # None: shared
        self._outside: set[str] | None = None  # directories with files of it that are not below its home

    def forget(self) -> None:
        self._forget()

    def _listed(self) -> PathTable:
        """Who lists what, read anew after it was forgotten."""
        if self._table is None:
            self._table = PathTable()
            self._alone = tuple((package,) for package in self._found)
            for package, found in self._found.items():
                folders = _recorded(self.root, self._places, self.home, package.location) if found.listed else None
                self._table.add(folders or {})
                for folder in folders or ():
                    self._hold(folder, package)
        return self._table

    def _hold(self, folder: str, package: Package) -> None:
        """A package lists something in a directory: it and those above are its, unless others have a part in them."""
        while len(folder) > len(self.home) and folder.startswith(self.home):
            before = self._folders.get(folder, package)
            if before is None:
                break
            if before != package:
                self._folders[folder] = None
            elif folder in self._folders:
                break
            else:
                self._folders[folder] = package
            folder = folder.rpartition("/")[0]

    def packages(self) -> Sequence[Package]:
        return tuple(self._found)

    def owners(self, path: str) -> Sequence[Package]:
        numbers = self._listed().at(path)
        if numbers:
            return self._alone[numbers[0]]
        found = self._folders.get(path)
        if found is None and path.startswith(self.home + "/"):
            found = self._tops.get(path[len(self.home) + 1 :].partition("/")[0])
            if found is None and path.endswith(".pyc"):
                compiled = _PYC.fullmatch(path)
                source = self._listed().at(f"{compiled[1]}/{compiled[2]}.py") if compiled else ()
                return self._alone[source[0]] if source else ()
            if found is None and path.endswith("/__pycache__"):
                found = self._folders.get(path.rpartition("/")[0])
        return (found,) if found else ()

    def among(self, directory: str, names: Sequence[str]) -> Iterator[tuple[str, Sequence[Package]]]:
        listed = self._listed().within(directory)
        for name in names:
            numbers = listed.get(name)
            held = self._alone[numbers[0]] if numbers else self.owners(f"{directory}/{name}")
            if held:
                yield name, held

    def reaches(self, directory: str) -> bool:
        if self._outside is None:
            self._outside = set()
            for folder in self._listed():
                while folder not in self._outside and not self._within(folder):
                    self._outside.add(folder)
                    folder = folder.rpartition("/")[0]
        return self._within(directory) or directory in self._outside

    def _within(self, directory: str) -> bool:
        return f"{directory}/".startswith(f"{self.home}/")

    def files(self, package: Package) -> Sequence[str]:
        found = self._found[package]
        listed = list(self._listed().of(list(self._found).index(package)))
        result = set(listed)
        result.update(path for path, owner in self._folders.items() if owner == package)
        for top in found.tops:
            path = f"{self.home}/{top}"
            if self.root.entry(path) is not None:
                result.add(path)
                if is_directory(self.root, path):
                    result.update(below(self.root, path))
        for folder in {path.rpartition("/")[0] for path in listed if path.endswith(".py")}:
            cache = f"{folder}/__pycache__"
            compiled = [f"{cache}/{name}" for name in self.root.children(cache)]
            result.update(path for path in compiled if self.owners(path) == (package,))
        return sorted((path for path in result if self.root.entry(path) is not None), key=sort_key)

    def metadata_files(self, package: Package) -> Sequence[str]:
        if not is_directory(self.root, package.location):
            return (package.location,)
        names = (
            "METADATA",
            "PKG-INFO",
            "RECORD",
            "top_level.txt",
            "installed-files.txt",
            "INSTALLER",
            "direct_url.json",
        )
        paths = [f"{package.location}/{name}" for name in sorted(names)]
        return [path for path in paths if self.root.entry(path) is not None]

    def copyright_files(self, package: Package) -> Sequence[str]:
        return legal_texts(self.root, package.location)

    def depends(self, package: Package) -> Sequence[str]:
        return self._found[package].requires


def read(root: Root, home: str, name: str) -> Distribution | None:
    """What the metadata at `home`/`name` says; None when it names no package."""
    location = f"{home}/{name}"
    folder = is_directory(root, location)
    if not folder:
        text = text_of(root, location)
    else:
        text = text_of(root, f"{location}/METADATA") or text_of(root, f"{location}/PKG-INFO")
    fields = _headers(text)
    title, version = fields.get("name", [""])[0], fields.get("version", [""])[0]
    if not title or not version:
        guess = _NAME_IN_FILE.match(name.rpartition(".")[0])
        if not text or guess is None:
            return None
        title, version = title or guess["name"], version or guess["version"]
    package = Package(PackageType.PYPI, title, version, license=_license(fields), location=location)
    listed = folder and any(text_of(root, f"{location}/{each}", 1) for each in ("RECORD", "installed-files.txt"))
    tops = [name]
    if not listed:
        tops += _importable(root, home, location if folder else "", title)
    requires = {found[0] for line in fields.get("requires-dist", ()) if (found := _REQUIREMENT.match(line))}
    return Distribution(package, sorted(requires), listed, tops)


def _recorded(root: Root, places: Places, home: str, location: str) -> dict[str, list[str]]:
    record = text_of(root, f"{location}/RECORD", limit=64 << 20)
    if record:
        named = [row[0] for row in csv.reader(record.splitlines()) if row and row[0]]
        base = home
    else:
        listed = text_of(root, f"{location}/installed-files.txt")
        named, base = [line for line in listed.splitlines() if line], location
    paths = []
    for path in named:
        if not path.startswith("/"):
            path = f"{base}/{path}"
        if "/." in path or "//" in path:
            path = posixpath.normpath(path)
        paths.append(path)
    return places.folders(paths)


def _importable(root: Root, home: str, location: str, title: str) -> list[str]:
    """The modules and packages of a distribution without a list of files, as its top_level.txt or its name says."""
    listed = text_of(root, f"{location}/top_level.txt").split() if location else []
    names = listed or [re.sub(r"[-.]+", "_", title), re.sub(r"[-.]+", "_", title).lower()]
    found = []
    for name in dict.fromkeys(names):
        for candidate in (name, f"{name}.py"):
            entry = root.entry(f"{home}/{candidate}")
            if entry is not None and entry.type in (FileType.DIRECTORY, FileType.FILE, FileType.SYMLINK):
                found.append(candidate)
        found += [each for each in root.children(home) if each.startswith(f"{name}.") and each.endswith(".so")]
    return found


def _headers(text: str) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    last: list[str] | None = None
    for line in text.split("\n"):
        if not line.strip():
            break
        if line[0] in " \t":
            if last:
                last[-1] += "\n" + line.strip()
            continue
        name, colon, value = line.partition(":")
        if colon:
            last = fields.setdefault(name.strip().lower(), [])
            last.append(value.strip())
    return fields


def _license(fields: dict[str, list[str]]) -> str:
    for name in ("license-expression", "license"):
        value = fields.get(name, [""])[0].split("\n")[0].strip()
        if value and value.upper() != "UNKNOWN":
            return value
    named = [each for each in fields.get("classifier", ()) if each.startswith("License ::")]
    return " AND ".join(each.rpartition("::")[2].strip() for each in named)
