"""Package URLs, by the purl specification's type definitions (through packageurl-python)."""

from __future__ import annotations

from collections.abc import Mapping

from packageurl import PackageURL

from slimmer.errors import SlimmerError
from slimmer.packages.model import Package, PackageType
from slimmer.root.model import Root

OS_TYPES = frozenset({PackageType.DEB, PackageType.APK, PackageType.RPM})
_NAMESPACES = {PackageType.DEB: "debian", PackageType.APK: "alpine", PackageType.RPM: "redhat"}


def purl(package: Package, release: Mapping[str, str] | None = None) -> str:
    """The purl of a package. `release` is the root's os-release: the namespace and the distro of an OS package."""
    facts = release or {}
    qualifiers: dict[str, str] = {}
    namespace: str | None = None
    name, version = package.name, package.version
    if package.type in OS_TYPES:
        namespace = facts.get("ID") or _NAMESPACES[package.type]
        if package.architecture:
            qualifiers["arch"] = package.architecture
        if facts.get("ID") and facts.get("VERSION_ID"):
            qualifiers["distro"] = f"{facts['ID']}-{facts['VERSION_ID']}"
        if package.type is PackageType.RPM and ":" in version:
            qualifiers["epoch"], _, version = version.partition(":")
        if package.source and package.type is PackageType.RPM:
            qualifiers["upstream"] = f"{package.source}-{package.source_version}.src.rpm"
        elif package.source:
            qualifiers["upstream"] = package.source
            if package.source_version and package.source_version != package.version:
                qualifiers["upstream"] += f"@{package.source_version}"
    elif package.type is PackageType.NPM and name.startswith("@") and "/" in name:
        namespace, _, name = name.partition("/")
    elif package.type is PackageType.GOLANG and "/" in name:
        namespace, _, name = name.rpartition("/")
    elif package.type is PackageType.MAVEN and ":" in name:
        namespace, _, name = name.partition(":")
    return PackageURL(package.type.value, namespace, name, version or None, qualifiers or None).to_string()


def os_release(root: Root) -> dict[str, str]:
    """The root's os-release(5); empty when it has none."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            text = root.read(path, 1 << 16).decode("utf-8", "replace")
        except SlimmerError:
            continue
        return _assignments(text)
    return {}


def _assignments(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and name.isidentifier():
            if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
                value = value[1:-1]
            for escaped in ('\\"', "\\$", "\\`", "\\\\"):
                value = value.replace(escaped, escaped[1])
            found[name] = value
    return found
