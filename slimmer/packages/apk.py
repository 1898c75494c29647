"""Alpine's package database: `lib/apk/db/installed`, records of one-letter fields parted by empty lines.

    P name  V version  A architecture  L licence  o origin  D dependencies  p provides
    F directory (without the first slash), then R names of files in it, each with a:owner:mode, Z:checksum, M: for F

Source: apk-tools' database.c, and the "Apk spec" page of Alpine's wiki. The directory
moved to `usr/lib/apk/db` with Alpine's usr-merge.
"""

from __future__ import annotations

from collections.abc import Iterator

from slimmer.packages.database import Database, Folders, Installed
from slimmer.packages.model import Package, PackageType
from slimmer.packages.places import Places
from slimmer.root.model import FileType, Root

HOMES = ("/lib/apk/db/installed", "/usr/lib/apk/db/installed")


def load(root: Root, places: Places) -> Database | None:
    """The database, or None where the root has none."""
    for name in HOMES:
        found = root.resolve(name)
        if found.entry is not None and found.entry.type is FileType.FILE:
            text = root.read(found.path).decode("utf-8", "surrogateescape")
            installed = (_installed(record, places) for record in records(text))
            return Database((each for each in installed if each is not None), found.path)
    return None


def records(text: str) -> Iterator[str]:
    """Each package's record as written, without the empty line that ends it."""
    for record in text.split("\n\n"):
        record = record.strip("\n")
        if record:
            yield record


def paths_of(record: str) -> Iterator[tuple[str, int]]:
    """(path without its first slash, number of its line) of each directory and file of a record."""
    folder = ""
    for number, line in enumerate(record.split("\n")):
        if line.startswith("F:"):
            folder = line[2:]
            if folder:
                yield folder, number
        elif line.startswith("R:"):
            yield f"{folder}/{line[2:]}" if folder else line[2:], number


def _installed(record: str, places: Places) -> tuple[Installed, Folders] | None:
    fields: dict[str, str] = {}
    for line in record.split("\n"):
        if line[1:2] == ":":
            fields.setdefault(line[0], line[2:])
    if not fields.get("P"):
        return None
    origin = fields.get("o", "")
    package = Package(
        type=PackageType.APK,
        name=fields["P"],
        version=fields.get("V", ""),
        architecture=fields.get("A", ""),
        source=origin if origin != fields["P"] else "",
        source_version=fields.get("V", "") if origin and origin != fields["P"] else "",
        license=fields.get("L", ""),
    )
    depends = {
        word.lstrip("!").split("=")[0].split("<")[0].split(">")[0].split("~")[0] for word in fields.get("D", "").split()
    }
    folders = places.folders("/" + path for path, _ in paths_of(record))
    return Installed(package=package, depends=sorted(depends), text=record), folders
