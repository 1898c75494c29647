"""Packages of language runtimes: each kind claims directories, and answers for what is below them."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence

from slimmer.errors import SlimmerError
from slimmer.packages.model import Package
from slimmer.root.model import FileType, Root, sort_key

LEGAL = ("licen", "copying", "copyright", "notice", "authors", "unlicense")


class PackageScope(abc.ABC):
    """Some packages of one kind that live at and below one directory, or (pypi) in the prefix around it."""

    exclusive = False  # an inner territory of the same kind hides this one
    lazy = False  # its packages are not known before its files are looked into

    def __init__(self, root: Root, home: str) -> None:
        self.root = root
        self.home = home  # canonical, "" for the top

    @abc.abstractmethod
    def packages(self) -> Sequence[Package]:
        """What is installed here."""

    @abc.abstractmethod
    def owners(self, path: str) -> Sequence[Package]:
        """Who holds a canonical path that this territory was claimed for."""

    def forget(self) -> None:  # noqa: B027
        """Give up what takes memory and can be read again."""

    def among(self, directory: str, names: Sequence[str]) -> Iterator[tuple[str, Sequence[Package]]]:
        """Those of the names right in a directory, for which it was claimed, that somebody holds."""
        for name in names:
            held = self.owners(f"{directory}/{name}")
            if held:
                yield name, held

    def reaches(self, directory: str) -> bool:
        """Whether it may hold anything in a directory below the one that it was claimed for, or further below."""
        return True

    @abc.abstractmethod
    def files(self, package: Package) -> Sequence[str]:
        """Canonical paths, directories included, sorted as bytes."""

    @abc.abstractmethod
    def metadata_files(self, package: Package) -> Sequence[str]:
        """Files by which scanners know the package."""

    @abc.abstractmethod
    def copyright_files(self, package: Package) -> Sequence[str]:
        """Licence texts."""

    @abc.abstractmethod
    def depends(self, package: Package) -> Sequence[str]:
        """Names, sorted."""


def text_of(root: Root, path: str, limit: int = 4 << 20) -> str:
    """A metadata file's text; "" when it cannot be read. Metadata may be broken, an index must not be."""
    entry = root.entry(path)
    if entry is None:
        return ""
    try:
        return root.read(path, limit).decode("utf-8", "surrogateescape")
    except (SlimmerError, OSError):  # a permission, a vanished file, a link to nowhere
        return ""


def below(root: Root, top: str) -> Iterator[str]:
    """Every path below a directory, links not followed."""
    for name in root.children(top or "/"):
        path = f"{top}/{name}"
        yield path
        entry = root.entry(path)
        if entry is not None and entry.type is FileType.DIRECTORY:
            yield from below(root, path)


def legal_texts(root: Root, directory: str) -> list[str]:
    """Files in a directory that look like licence texts, and all in its `licenses/`; sorted as bytes."""
    found = []
    for name in root.children(directory or "/"):
        path = f"{directory}/{name}"
        if not name.lower().startswith(LEGAL):
            continue
        entry = root.entry(path)
        if entry is None:
            continue
        if entry.type is FileType.DIRECTORY:
            found += [inner for inner in below(root, path) if not is_directory(root, inner)]
        else:
            found.append(path)
    return sorted(found, key=sort_key)


def is_directory(root: Root, path: str) -> bool:
    entry = root.entry(path)
    return entry is not None and entry.type is FileType.DIRECTORY
