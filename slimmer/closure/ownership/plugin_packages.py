"""Packages that put files into the directories of another one's program: a spooler's filters, a database's extensions.

They come from other sources than the program, so they are no family; but the program lists those directories, or finds
there by name what a request asks for, and whoever installed such a package wanted it found.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator

from slimmer.closure.model import View
from slimmer.closure.ownership.base import SystemBase
from slimmer.closure.profiles import globs
from slimmer.closure.profiles.drops import Drops
from slimmer.packages.model import Package
from slimmer.root.model import Entry, FileType

DEEP = 3  # parts of a path: /usr/share/cups is somebody's, /usr/share is nobody's


def guests(
    family: Collection[Package], base: SystemBase, parts: globs.Globs, finer: globs.Globs, drops: Drops, view: View
) -> Iterator[tuple[Package, list[Entry]]]:
    """Each such package of a family's directories, with what it has there.

    One of the two must speak of the other. `parts`: names of packages that are nothing for run time; `finer`: paths
    from which other rules choose.
    """
    known = {each.name for each in family}
    spoken = {
        name
        for each in family
        for names in (view.packages.depends(each), view.packages.recommends(each), view.packages.suggests(each))
        for name in names
    }
    found = [
        each
        for each in view.packages.system_packages()
        if each not in family
        and (each.name in spoken or not known.isdisjoint(view.packages.depends(each)))
        and not parts.fullmatch(each.name)
        and not base.holds(each, view)
    ]
    if not found:
        return
    own = {*family, *found}
    homes = {
        path
        for each in family
        for path in view.packages.files(each)
        if path.count("/") >= DEEP and (entry := view.root.entry(path)) is not None
        if entry.type is FileType.DIRECTORY and own.issuperset(view.packages.owners(path))
    }
    for each in found:
        entries = [
            entry
            for entry in drops.package_files(view.root, view.packages, each)
            if entry.type is not FileType.DIRECTORY and not homes.isdisjoint(_above(entry.path))
            if not finer.fullmatch(entry.path)
        ]
        if entries:
            yield each, entries


def _above(path: str) -> Iterator[str]:
    while path != "/":
        path = posixpath.dirname(path)
        yield path
