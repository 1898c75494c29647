"""rpm's package database, in any of its three forms and any of its three places."""

from __future__ import annotations

import re
from collections.abc import Iterator

from slimmer.errors import SlimmerError
from slimmer.packages import rpmheader
from slimmer.packages.database import Database, Folders, Installed
from slimmer.packages.model import Package, PackageType
from slimmer.packages.places import Places
from slimmer.root.model import FileType, Root, sort_key

HOMES = ("/usr/lib/sysimage/rpm", "/var/lib/rpm", "/usr/share/rpm")
SQLITE = "rpmdb.sqlite"
_SOURCE = re.compile(r"(.+)-([^-]+)-([^-]+)\.(?:no)?src\.rpm$")


def load(root: Root, places: Places) -> Database | None:
    """The database, or None where the root has none. Raises SlimmerError when it is damaged."""
    for name in HOMES:
        home = root.resolve(name)
        if home.entry is None or home.entry.type is not FileType.DIRECTORY:
            continue
        names = set(root.children(home.path))
        for file in (SQLITE, "Packages.db", "Packages"):
            if file in names:
                path = f"{home.path}/{file}"
                try:
                    installed = (_installed(number, blob, places) for number, blob in _blobs(root, path))
                    database = Database((each for each in installed if each is not None), path)
                except ValueError as error:
                    raise SlimmerError(f"{root.name}: {path}: {error}", "repair it with rpm --rebuilddb") from error
                if database.installed:
                    return database
    return None


def _blobs(root: Root, path: str) -> Iterator[tuple[int, bytes]]:
    from slimmer.packages import rpmdb  # most roots have no rpm, and need not wait for sqlite

    content = root.read(path)
    if path.endswith(".sqlite"):
        wal = root.read(f"{path}-wal") if root.entry(f"{path}-wal") is not None else b""
        return rpmdb.sqlite_blobs(content, wal)
    return rpmdb.ndb_blobs(content) if path.endswith(".db") else rpmdb.bdb_blobs(content)


def _installed(number: int, blob: bytes, places: Places) -> tuple[Installed, Folders] | None:
    header = rpmheader.parse(blob)
    if header is None or header.name == "gpg-pubkey":  # a key that rpm trusts, no software
        return None
    source = _SOURCE.match(header.source)
    described = Installed(
        package=Package(
            type=PackageType.RPM,
            name=header.name,
            version=header.version,
            architecture=header.architecture,
            source=source[1] if source else "",
            source_version=f"{source[2]}-{source[3]}" if source else "",
            license=header.license,
        ),
        conffiles=sorted(places.canonical_all(header.config), key=sort_key),
        depends=header.requires,
        origin=str(number),
    )
    return described, places.folders(header.files)


def trimmed(root: Root, database: Database, kept: set[Package]) -> bytes:
    """An rpmdb.sqlite with only the headers of kept packages. The headers are whole: they are signed."""
    from slimmer.packages import rpmdb

    numbers = {int(record.origin) for record in database.installed if record.package in kept}
    return rpmdb.write_sqlite((number, blob) for number, blob in _blobs(root, database.home) if number in numbers)
