"""Plugins that stay behind: a directory of which one loadable object was kept and others of its package were not."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable

from slimmer.closure.model import ClosureWarning
from slimmer.packages.model import PackageIndex
from slimmer.root.model import FileType, Root, sort_key

PLUGIN = re.compile(r"\.(?:so|node|la)$|\.so\.[\d.]+$")
# Directories that the loader searches are no plugin directories: their content is needed by name.
LOADED = re.compile(
    r"/(?:usr/|usr/local/)?lib(?:32|64|x32)?(?:/[^/]+-linux-[^/]+)?(?:/glibc-hwcaps/[^/]+)?"
    r"|/(?:usr/|usr/local/)?lib/ld-.*"
)

ABSENT = frozenset({"heavy-plugin", "helpers", "optional-import"})  # kinds of warnings about a path that stays out


def standing(warnings: Iterable[ClosureWarning], kept: Collection[str]) -> list[ClosureWarning]:
    """The warnings that a finished closure leaves: not those about an absent path that came in after all."""
    return [warning for warning in warnings if warning.kind not in ABSENT or warning.path not in kept]


def unkept(
    kept: Collection[str], root: Root, packages: PackageIndex, left_out: Collection[str] = ()
) -> tuple[ClosureWarning, ...]:
    """One warning for each plugin directory of a finished closure: "12 siblings of X not kept". Sorted.

    What was `left_out` on purpose is known, and no sibling that somebody may miss.
    """
    directories: dict[str, list[str]] = {}
    for path in kept:
        if PLUGIN.search(path):
            directories.setdefault(posixpath.dirname(path), []).append(path)
    warnings = []
    for directory in sorted(directories, key=sort_key):
        if LOADED.fullmatch(directory):
            continue
        mine = sorted(directories[directory], key=sort_key)
        owners = {packages.owner(path) for path in mine}
        left = [
            path
            for name in root.children(directory)
            if PLUGIN.search(name)
            and (path := posixpath.join(directory, name)) not in kept
            and path not in left_out
            and packages.owner(path) in owners
            and (entry := root.entry(path)) is not None
            and entry.type is FileType.FILE
        ]
        if left:
            names = ", ".join(posixpath.basename(path) for path in left[:3]) + (", …" if len(left) > 3 else "")
            plural = "sibling" if len(left) == 1 else "siblings"
            warnings.append(
                ClosureWarning("siblings", mine[0], f"{len(left)} {plural} of {mine[0]} not kept: {names}", 30)
            )
    return tuple(warnings)
