"""What the loaders answer: one entry point's closure as data."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from slimmer.elf.file import Elf
from slimmer.root.model import Entry


class Libc(enum.StrEnum):
    """Whose rules a program interpreter follows."""

    GLIBC = "glibc"
    MUSL = "musl"


@dataclass(frozen=True, slots=True)
class Load:
    """One object that the loader maps, by the name it was first asked for.

    `path` is as the loader finds it: links are not resolved, and it is relative where
    the search path is. `rule` is the step of the search that found it, for a person:
    "rpath of /usr/bin/x", "runpath of …", "ld.so.cache", "default", "LD_LIBRARY_PATH",
    "path", "preload", "audit", or "filter"/"auxiliary" with one of these in brackets.
    """

    name: str
    path: str
    needed_by: str
    rule: str


@dataclass(frozen=True, slots=True)
class Missing:
    """A name that the loader needs and does not find, or finds and cannot load (then `why` says so)."""

    name: str
    needed_by: str
    why: str = "not found"


@dataclass(frozen=True, slots=True)
class Kept:
    """A path that has to stay for this closure, absolute inside the root; it may pass links."""

    path: str
    needed_by: str
    text: str  # for a person: "libz.so.1, from ld.so.cache"


@dataclass(frozen=True, slots=True)
class Resolved:
    """The closure of one entry point.

    `loads` is in the loader's own order and holds no path twice; where processors
    differ in what they load, the variants follow the baseline. The interpreter is not
    repeated in it. `kept` is everything that must stay: interpreter, loads, every name
    by which one of them was opened, preload and path files of the loader.
    """

    file: str  # canonical
    arch: str
    libc: Libc | None  # None: the file is static, or nobody knows its interpreter
    interpreter: str | None  # as the file names it
    loads: tuple[Load, ...] = ()
    missing: tuple[Missing, ...] = ()
    kept: tuple[Kept, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Start:
    """How a program is started: what of it decides which files its loader loads."""

    file: Elf
    path: str  # canonical: the kernel's /proc/self/exe
    env: Mapping[str, str] = field(default_factory=dict)
    secure: bool = False  # AT_SECURE: setuid, setgid or file capabilities
    workdir: str = "/"


@dataclass(frozen=True, slots=True)
class Found:
    """A file that a search came upon: `path` as searched for, `entry` what it leads to."""

    path: str
    entry: Entry
    file: Elf


@dataclass(frozen=True, slots=True)
class Cpu:
    """A kind of processor, as far as loaders ask: which variants of a library it takes, best first."""

    name: str
    hwcaps: tuple[str, ...] = ()  # glibc-hwcaps subdirectories
    platform: str | None = None  # $PLATFORM
    capabilities: tuple[str, ...] = ()  # legacy subdirectories of glibc before 2.37
    hwcap: int = 0  # legacy capability bits of cache entries
