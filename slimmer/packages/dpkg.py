"""Debian's package database.

var/lib/dpkg/status              stanzas, one a package (deb-control(5))
var/lib/dpkg/info/NAME.list      every path, undiverted, directories first ("/." is the top)
var/lib/dpkg/info/NAME:ARCH.list the same for Multi-Arch: same packages
var/lib/dpkg/info/NAME.md5sums   "md5  path" for regular files that are not configuration
var/lib/dpkg/diversions          three lines each: the path, where others' files go, who diverts
var/lib/dpkg/status.d/NAME       distroless: one stanza a file, and NAME.md5sums beside it
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from slimmer.packages.database import Database, Folders, Installed
from slimmer.packages.model import Package, PackageType
from slimmer.packages.places import Places
from slimmer.root.model import FileType, Root, sort_key

HOME = "/var/lib/dpkg"

# dpkg-query(1): packages in these states have their files on disk.
UNPACKED = frozenset({"unpacked", "half-configured", "triggers-awaited", "triggers-pending", "installed"})

_SOURCE = re.compile(r"(\S+)(?:\s+\(([^)]+)\))?")
_DEPENDENCY = re.compile(r"[a-z0-9][a-z0-9+.-]+")


def load(root: Root, places: Places) -> Database | None:
    """The database, or None where the root has none."""
    home = root.resolve(HOME)
    if home.entry is None or home.entry.type is not FileType.DIRECTORY:
        return None
    names = set(root.children(home.path))
    database = Database(_both(root, places, home.path, names), home.path)
    return database if database.installed else None


def _both(root: Root, places: Places, home: str, names: Collection[str]) -> Iterator[tuple[Installed, Folders]]:
    known: set[str] = set()
    if "status" in names:
        for each in _whole(root, places, home):
            known.add(each[0].package.name)
            yield each
    if "status.d" in names:
        yield from (each for each in _distroless(root, places, home) if each[0].package.name not in known)


def stanzas(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Each stanza as written and its fields; continuation lines joined by newlines, names in lower case."""
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        last = ""
        for line in stanza.split("\n"):
            if line[:1] in (" ", "\t"):
                if last:
                    fields[last] += "\n" + line[1:]
            else:
                name, colon, value = line.partition(":")
                if colon:
                    last = name.lower()
                    fields[last] = value.strip()
        if "package" in fields:
            yield stanza.strip("\n") + "\n", fields


def _whole(root: Root, places: Places, home: str) -> Iterator[tuple[Installed, Folders]]:
    info = f"{home}/info"
    names = set(root.children(info))
    diverted = _diversions(root, home)
    for text, fields in stanzas(_text(root, f"{home}/status")):
        if fields.get("status", "").split()[-1:] and fields["status"].split()[-1] not in UNPACKED:
            continue
        package = _package(fields)
        base = f"{package.name}:{package.architecture}"
        if f"{base}.list" not in names:
            base = package.name
        paths = _text(root, f"{info}/{base}.list").split("\n") if f"{base}.list" in names else []
        yield _installed(fields, package, [path for path in paths if path], places, diverted, f"{info}/{base}", text)


def _distroless(root: Root, places: Places, home: str) -> Iterator[tuple[Installed, Folders]]:
    folder = f"{home}/status.d"
    names = root.children(folder)
    for name in names:
        if name.endswith((".md5sums", ".list", ".preinst", ".postinst", ".prerm", ".postrm")):
            continue
        sums = f"{folder}/{name}.md5sums" if f"{name}.md5sums" in names else ""
        for text, fields in stanzas(_text(root, f"{folder}/{name}")):
            paths = ["/" + path for path, _ in sums_of(_text(root, sums))] if sums else []
            yield _installed(fields, _package(fields), paths, places, {}, f"{folder}/{name}", text)


def sums_of(text: str) -> Iterator[tuple[str, str]]:
    """(path without its first slash, md5) of a .md5sums file."""
    for line in text.split("\n"):
        digest, _, path = line.partition("  ")
        if path:
            yield path.removeprefix("./").lstrip("/"), digest


def _installed(
    fields: Mapping[str, str],
    package: Package,
    paths: Sequence[str],
    places: Places,
    diverted: Mapping[str, tuple[str, str]],
    origin: str,
    text: str,
) -> tuple[Installed, Folders]:
    if diverted:
        paths = [undivert(path, package.name, diverted) for path in paths]
    configuration = _conffiles(fields.get("conffiles", ""))
    digests = {
        places.canonical(undivert(path, package.name, diverted)): digest for path, digest in configuration.items()
    }
    described = Installed(
        package=package,
        conffiles=sorted(digests, key=sort_key),
        depends=depends_of(fields.get("depends", ""), fields.get("pre-depends", "")),
        recommends=depends_of(fields.get("recommends", "")),
        suggests=depends_of(fields.get("suggests", "")),
        essential=fields.get("essential", "") == "yes",
        priority=fields.get("priority", ""),
        origin=origin,
        text=text,
        digests=digests,
    )
    return described, places.folders(paths)


def _package(fields: Mapping[str, str]) -> Package:
    version = fields.get("version", "")
    source = _SOURCE.match(fields.get("source", ""))
    return Package(
        type=PackageType.DEB,
        name=fields["package"],
        version=version,
        architecture=fields.get("architecture", ""),
        source=source[1] if source else "",
        source_version=(source[2] or version) if source else "",
    )


def _conffiles(value: str) -> dict[str, str]:
    found = {}
    for line in value.split("\n"):
        words = line.rsplit(" ")
        flags = {"obsolete", "remove-on-upgrade"}
        while words and words[-1] in flags:
            words.pop()
        if len(words) >= 2 and words[0].startswith("/"):
            found[" ".join(words[:-1])] = words[-1]
    return found


def depends_of(*fields: str) -> tuple[str, ...]:
    """Package names in dependency fields, alternatives each, without versions and architectures."""
    names = set()
    for field in fields:
        for part in re.split(r"[,|]", field):
            found = _DEPENDENCY.match(part.strip())
            if found:
                names.add(found[0])
    return tuple(sorted(names))


def _diversions(root: Root, home: str) -> dict[str, tuple[str, str]]:
    """Path as listed → (where it goes, the package that diverts and is not diverted itself; ":" for a local one)."""
    if root.entry(f"{home}/diversions") is None:
        return {}
    lines = _text(root, f"{home}/diversions").split("\n")
    return {old: (new, who) for old, new, who in zip(lines[0::3], lines[1::3], lines[2::3], strict=False)}


def undivert(path: str, package: str, diverted: Mapping[str, tuple[str, str]]) -> str:
    """Where dpkg really put a path of this package (dpkg-divert(1))."""
    found = diverted.get(path)
    return found[0] if found and found[1] != package else path


def _text(root: Root, path: str) -> str:
    return root.read(path).decode("utf-8", "surrogateescape")


def md5sums(root: Root, places: Places, installed: Installed) -> dict[str, str]:
    """Canonical path → md5 of the package's regular files as it shipped them, configuration included."""
    sums = f"{installed.origin}.md5sums"
    found = dict(installed.digests)
    if root.entry(sums) is not None:
        home = installed.origin.rsplit("/", 2)[0]
        diverted = _diversions(root, home)
        listed = list(sums_of(_text(root, sums)))
        where: Iterable[str] = places.canonical_all(
            undivert("/" + path, installed.package.name, diverted) for path, _ in listed
        )
        found.update(zip(where, (digest for _, digest in listed), strict=True))
    return found
