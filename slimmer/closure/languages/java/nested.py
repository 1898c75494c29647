"""A Java application as one archive: the archive, and the archives inside it.

BOOT-INF/lib/*.jar, WEB-INF/lib/*.jar, WEB-INF/lib-provided/*.jar     Spring Boot's executable jar and WAR
lib/*.jar, main/main.jar, *.jar                                       EAR, One-JAR, Capsule
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slimmer.closure.languages.java.archive import (
    LARGEST_JAR,
    Jar,
    class_names,
    jar_of,
    manifest_of,
    own_packages,
    read_jar,
    start_class,
)
from slimmer.errors import SlimmerError
from slimmer.root.model import Entry, Root
from slimmer.root.zips import DEEPEST, Allowance, inside, unpacked, unzipped

if TYPE_CHECKING:
    import zipfile

SUFFIXES = (".jar", ".war", ".ear")
INSIDE = (*SUFFIXES, ".rar")  # a resource adapter of an EAR; elsewhere the name is another format's


@dataclass(frozen=True, slots=True)
class Whole:
    """`jars`: the archive itself first, under "", then those inside it by their places, a `!/` at each border."""

    jars: tuple[tuple[str, Jar], ...] = ()
    absent: tuple[str, ...] = ()  # providers that none of them holds
    unread: tuple[tuple[str, str], ...] = ()  # (place, why)

    @property
    def top(self) -> Jar:
        """The archive itself."""
        return self.jars[0][1] if self.jars else Jar()


def read_whole(root: Root, entry: Entry, own: tuple[str, ...] = ()) -> Whole:
    """An archive of a root with all that stands inside it; what cannot be read is said.

    `own`: packages of the application (`own_packages`), beside that of the archive's own Start-Class.
    """
    reading = _Reading()
    try:
        with unzipped(root, entry.path) as archive:
            reading.own = tuple(sorted({*own, *own_packages(start_class(manifest_of(archive)))}))
            if entry.size <= LARGEST_JAR:  # known by its bytes the next time
                top = read_jar(root.beginning(entry, LARGEST_JAR), reading.own)
            else:
                top = jar_of(archive, reading.own)
            reading.jars.append(("", top))
            reading.inside(archive, "", 0)
    except SlimmerError as error:
        reading.unread.append(("", error.message))
    absent = {name: None for _, jar in reading.jars for name in jar.absent if name not in reading.held}
    return Whole(tuple(reading.jars), tuple(absent), tuple(reading.unread))


@dataclass(slots=True)
class _Reading:
    """What was read of one archive so far."""

    own: tuple[str, ...] = ()
    jars: list[tuple[str, Jar]] = field(default_factory=list)
    unread: list[tuple[str, str]] = field(default_factory=list)
    held: set[str] = field(default_factory=set)  # classes
    allowance: Allowance = field(default_factory=Allowance)

    def inside(self, archive: zipfile.ZipFile, place: str, depth: int) -> None:
        self.held |= class_names(archive)
        if depth == DEEPEST:
            return
        for inner in inside(archive, INSIDE, self.allowance):
            there = f"{place}!/{inner.name}" if place else inner.name
            if inner.refused:
                self.unread.append((there, inner.refused))
                continue
            try:
                with unpacked(inner.data, inner.name) as opened:
                    self.jars.append((there, read_jar(inner.data, self.own)))
                    self.inside(opened, there, depth + 1)
            except SlimmerError as error:
                self.unread.append((there, error.message))
