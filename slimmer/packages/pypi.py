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
from slimmer.root.model import FileType, Root, sort_key

_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PYC = re.compile(r"(.*)/__pycache__/([^/]+?)\.[a-z]+-?\d+[^/]*\.pyc")
_NAME_IN_FILE = re.compile(r"^(?P<name>.+?)-(?P<version>\d[^-]*)(?:-py\d.*)?$")


@dataclass(frozen=True, slots=True)
class Distribution:
    """What one metadata directory says."""

    package: Package
    requires: Sequence[str]
    paths: Sequence[str] | None  # files, absolute and canonical; None where no list was installed
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
        self._found: dict[Package, Distribution] = {}
        self._files: dict[str, Package] = {}
        self._folders: dict[str, Package | None] = {}  # None: shared
        self._tops: dict[str, Package] = {}
        self._outside: set[str] | None = None  # directories with files of it that are not below its home
        for name in root.children(home):
            if name.endswith((".dist-info", ".egg-info")):
                found = read(root, places, home, name)
                if found is not None:
                    self._add(found)

    def _add(self, found: Distribution) -> None:
        package = found.package
        self._found[package] = found
        for top in found.tops:
            self._tops.setdefault(top, package)
        last = ""
        for path in found.paths or ():
            self._files.setdefault(path, package)
            folder = path[: path.rfind("/")]
            if folder == last:  # a list goes folder by folder
                continue
            last = folder
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
        found = self._files.get(path) or self._folders.get(path)
        if found is None and path.startswith(self.home + "/"):
            found = self._tops.get(path[len(self.home) + 1 :].partition("/")[0])
            if found is None and path.endswith(".pyc"):
                compiled = _PYC.fullmatch(path)
                found = self._files.get(f"{compiled[1]}/{compiled[2]}.py") if compiled else None
            elif found is None and path.endswith("/__pycache__"):
                found = self._folders.get(path.rpartition("/")[0])
        return (found,) if found else ()

    def reaches(self, directory: str) -> bool:
        if self._outside is None:
            self._outside = set()
            for path in self._files:
                folder = path.rpartition("/")[0]
                while folder not in self._outside and not self._within(folder):
                    self._outside.add(folder)
                    folder = folder.rpartition("/")[0]
        return self._within(directory) or directory in self._outside

    def _within(self, directory: str) -> bool:
        return f"{directory}/".startswith(f"{self.home}/")

    def files(self, package: Package) -> Sequence[str]:
        found = self._found[package]
        result = set(found.paths or ())
        result.update(path for path, owner in self._folders.items() if owner == package)
        for top in found.tops:
            path = f"{self.home}/{top}"
            if self.root.entry(path) is not None:
                result.add(path)
                if is_directory(self.root, path):
                    result.update(below(self.root, path))
        for folder in {path.rpartition("/")[0] for path in found.paths or () if path.endswith(".py")}:
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


def read(root: Root, places: Places, home: str, name: str) -> Distribution | None:
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
    paths = _recorded(root, places, home, location) if folder else None
    tops = [name]
    if paths is None:
        tops += _importable(root, home, location if folder else "", title)
    requires = {found[0] for line in fields.get("requires-dist", ()) if (found := _REQUIREMENT.match(line))}
    return Distribution(package, sorted(requires), paths, tops)


def _recorded(root: Root, places: Places, home: str, location: str) -> list[str] | None:
    record = text_of(root, f"{location}/RECORD", limit=64 << 20)
    if record:
        named = [row[0] for row in csv.reader(record.splitlines()) if row and row[0]]
        base = home
    else:
        listed = text_of(root, f"{location}/installed-files.txt")
        if not listed:
            return None
        named, base = [line for line in listed.splitlines() if line], location
    paths = []
    for path in named:
        if not path.startswith("/"):
            path = f"{base}/{path}"
        if "/." in path or "//" in path:
            path = posixpath.normpath(path)
        paths.append(path)
    return places.canonical_all(paths)


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
