"""The package database of a slim image: truthful about what is in it, in the places where scanners look.

    dpkg  var/lib/dpkg/status.d/NAME and NAME.md5sums: packages with a kept file, and those files
          (the form of distroless images, read by syft, trivy and grype)
    apk   lib/apk/db/installed, only with kept packages and their kept files
    rpm   rpmdb.sqlite, whatever form the real one has, only with the headers of kept packages
    language packages: their own metadata stays with them (slimmer.closure.ownership.scanner_metadata)

A whole database would show packages that are gone; none at all would hide what is there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from slimmer.packages import dpkg, rpm
from slimmer.packages.database import Database, Installed
from slimmer.packages.index import Index
from slimmer.packages.model import Package, PackageIndex, PackageType
from slimmer.root.model import FileType, Root, sort_key

_CONFFILES = "conffiles:"


def generated(root: Root, index: PackageIndex, kept_paths: Sequence[str]) -> Mapping[str, bytes]:
    """Canonical path → content of each database file to put into the image; the same for the same input.

    `kept_paths` are canonical. A package counts as kept when one of its files, not only a directory,
    is. Where the application itself read dpkg's own `status`, that file stays what it was and
    nothing is added: two databases would contradict each other.
    """
    if not isinstance(index, Index):
        return {}
    present = set(kept_paths)
    files: dict[str, bytes] = {}
    for database in index.databases:
        kept = kept_files(root, index, database, kept_paths)
        if not database.installed:
            continue
        kind = database.installed[0].package.type
        if kind is PackageType.DEB:
            if f"{database.home}/status" not in present:
                files.update(_dpkg(root, index, database, kept))
        elif kind is PackageType.RPM:
            target = f"{database.home.rpartition('/')[0]}/{rpm.SQLITE}"
            if database.home not in present:
                files[target] = rpm.trimmed(root, database, set(kept))
        elif kind is PackageType.APK:
            files[database.home] = _apk(database, kept, present, index)
    return files


def whole(index: PackageIndex, kept_paths: Collection[str]) -> Sequence[str]:
    """Canonical paths of real databases that stay as they were, and so name packages that are gone."""
    if not isinstance(index, Index):
        return ()
    found = []
    for database in index.databases:
        for package in [each.package for each in database.installed[:1]]:
            home = f"{database.home}/status" if package.type is PackageType.DEB else database.home
            if package.type is not PackageType.APK and home in kept_paths:
                found.append(home)
    return sorted(found, key=sort_key)


def replaced(index: PackageIndex) -> Sequence[str]:
    """Canonical paths of the real databases, which a slim image leaves out unless the application read them."""
    if not isinstance(index, Index):
        return ()
    found: list[str] = []
    for database in index.databases:
        if database.installed and database.installed[0].package.type is PackageType.DEB:
            found += [f"{database.home}/status", f"{database.home}/info", f"{database.home}/status.d"]
        else:
            found.append(database.home)
    return sorted(found, key=sort_key)


def kept_files(root: Root, index: Index, database: Database, kept_paths: Iterable[str]) -> dict[Package, list[str]]:
    """The kept files of each package of a database that has any; no directories, nor links in place of one."""
    kept: dict[Package, list[str]] = {}
    for path in kept_paths:
        owners = database.owners(path)
        if owners and not index.names_directory(path):
            entry = root.entry(path)
            if entry is not None and entry.type is not FileType.DIRECTORY:
                for package in owners:
                    kept.setdefault(package, []).append(path)
    return kept


def _dpkg(root: Root, index: Index, database: Database, kept: Mapping[Package, list[str]]) -> dict[str, bytes]:
    names: dict[str, int] = {}
    for package in kept:
        names[package.name] = names.get(package.name, 0) + 1
    files: dict[str, bytes] = {}
    for package in sorted(kept):
        record = database.by_package[package]
        base = f"{database.home}/status.d/{package.name}"
        if names[package.name] > 1:  # two architectures of one Multi-Arch: same package
            base += f":{package.architecture}"
        paths = set(kept[package])
        files[base] = _stanza(record, paths, index).encode("utf-8", "surrogateescape")
        sums = dpkg.md5sums(root, index.places, record)
        listed = sorted((path for path in paths if path in sums), key=sort_key)
        lines = "".join(f"{sums[path]}  {path[1:]}\n" for path in listed)
        files[f"{base}.md5sums"] = lines.encode("utf-8", "surrogateescape")
    return files


def _stanza(record: Installed, kept: set[str], index: Index) -> str:
    """The package's stanza with only the kept ones of its Conffiles."""
    lines: list[str] = []
    inside = False
    for line in record.text.rstrip("\n").split("\n"):
        if not line.startswith((" ", "\t")):
            inside = line.lower().startswith(_CONFFILES)
            lines.append(line)
        elif not inside or index.places.canonical(line.strip().split(" ")[0]) in kept:
            lines.append(line)
    if record.conffiles and not kept.intersection(record.conffiles):
        lines = [line for line in lines if not line.lower().startswith(_CONFFILES)]
    return "\n".join(lines) + "\n"


def _apk(database: Database, kept: Mapping[Package, list[str]], present: set[str], index: Index) -> bytes:
    records: list[str] = []
    for record in sorted(database.installed, key=lambda each: each.package):
        if record.package in kept:
            records.append(_apk_record(record, present, index))
    return "".join(f"{record}\n\n" for record in records).encode("utf-8", "surrogateescape")


def _apk_record(record: Installed, present: set[str], index: Index) -> str:
    lines: list[str] = []
    folder = ""
    pending: list[str] = []  # a directory's own lines, said only when it or a file in it is kept
    keeping = True
    for line in record.text.split("\n"):
        field = line[:2]
        if field == "F:":
            folder = line[2:]
            pending = [line]
            keeping = index.places.canonical(f"/{folder}") in present
            if keeping:
                lines.append(line)
                pending = []
        elif field == "R:":
            keeping = index.places.canonical(f"/{folder}/{line[2:]}" if folder else f"/{line[2:]}") in present
            if keeping:
                lines += pending
                pending = []
                lines.append(line)
        elif field == "M:" and pending:
            pending.append(line)
        elif keeping or field not in ("a:", "Z:", "M:"):
            lines.append(line)
    return "\n".join(lines)
