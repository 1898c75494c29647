"""Java archives: Maven's own coordinates in them, those of archives inside them, else the manifest and the name.

META-INF/maven/GROUP/ARTIFACT/pom.properties   groupId=, artifactId=, version=
META-INF/MANIFEST.MF                           Implementation-Title, Implementation-Version, Bundle-…
BOOT-INF/lib/*.jar, WEB-INF/lib/*.jar, lib/    archives inside (Spring Boot, WAR, EAR)
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from slimmer.errors import SlimmerError
from slimmer.packages.embedded import EmbeddedPackages
from slimmer.packages.model import Package, PackageType
from slimmer.packages.places import Places
from slimmer.root.model import Entry, Root
from slimmer.root.zips import DEEPEST, Allowance, inside, unpacked, unzipped

if TYPE_CHECKING:
    import zipfile

SUFFIXES = (".jar", ".war", ".ear", ".par", ".sar", ".nar")
_NAMED = re.compile(r"^(?P<name>.+?)-(?P<version>\d[\w.+-]*)$")


def claim(root: Root, places: Places, directory: str, names: Sequence[str]) -> Iterator[Archives]:
    """A directory with archives."""
    archives = frozenset(name for name in names if name.lower().endswith(SUFFIXES))
    if archives:
        yield Archives(root, directory, archives)


class Archives(EmbeddedPackages):
    """The archives of one directory; each is opened only when it is asked for."""

    def look(self, entry: Entry) -> tuple[Package, ...]:
        return tuple(artifacts(self.root, entry.path))


def artifacts(root: Root, path: str) -> Iterator[Package]:
    """What is in an archive: itself first, then archives inside it; nothing when it is no archive."""
    try:
        with unzipped(root, path) as archive:
            found = list(dict.fromkeys(_archive(archive, path.rpartition("/")[2], 0, Allowance())))
    except SlimmerError:
        return
    for name, version, license_ in found:
        yield Package(PackageType.MAVEN, name, version, license=license_, location=path)


def _archive(archive: zipfile.ZipFile, file: str, depth: int, allowance: Allowance) -> Iterator[tuple[str, str, str]]:
    names = archive.namelist()
    manifest = _manifest(archive) if "META-INF/MANIFEST.MF" in names else {}
    license_ = manifest.get("bundle-license", "").split(";")[0].strip()
    poms = [name for name in names if name.startswith("META-INF/maven/") and name.endswith("/pom.properties")]
    found = [
        (f"{group}:{artifact}", version)
        for group, artifact, version in (_pom(archive, name) for name in sorted(poms))
        if artifact
    ]
    if not found:
        found = list(_by_manifest(manifest, file))
    for number, (name, version) in enumerate(found):
        yield name, version, license_ if number == 0 else ""
    for inner in inside(archive, SUFFIXES, allowance) if depth < DEEPEST else ():
        if not inner.refused:
            with contextlib.suppress(SlimmerError), unpacked(inner.data, inner.name) as opened:
                yield from list(_archive(opened, inner.name.rpartition("/")[2], depth + 1, allowance))


def _pom(archive: zipfile.ZipFile, name: str) -> tuple[str, str, str]:
    """(group, artifact, version) of a pom.properties."""
    values: dict[str, str] = {}
    for line in archive.read(name).decode("utf-8", "replace").splitlines():
        key, _, value = line.partition("=")
        if not line.startswith("#"):
            values[key.strip()] = value.strip()
    return values.get("groupId", ""), values.get("artifactId", ""), values.get("version", "")


def _manifest(archive: zipfile.ZipFile) -> dict[str, str]:
    """The main section, continuation lines joined."""
    text = archive.read("META-INF/MANIFEST.MF").decode("utf-8", "replace").replace("\r\n", "\n").replace("\n ", "")
    fields: dict[str, str] = {}
    for line in text.split("\n\n")[0].split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            fields[name.strip().lower()] = value.strip()
    return fields


def _by_manifest(manifest: dict[str, str], file: str) -> Iterator[tuple[str, str]]:
    base = file.rpartition(".")[0]
    named = _NAMED.match(base)
    version = named["version"] if named else ""
    for field in ("implementation-version", "bundle-version", "specification-version"):
        version = version or manifest.get(field, "")
    symbolic = manifest.get("bundle-symbolicname", "").split(";")[0].strip()
    group = manifest.get("implementation-vendor-id", "") or symbolic.rpartition(".")[0]
    name = named["name"] if named else base
    if version:
        yield (f"{group}:{name}" if group else name), version
