"""What the review says, as data: a row for each path, and the report that sums them up."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from slimmer.closure.model import ClosureWarning, LevelSize, Reason
from slimmer.packages.model import Package
from slimmer.root.model import Entry

MANIFEST = "slimmer.manifest/1"
REMOVED = "slimmer.removed/1"
REPORT = "slimmer.report/1"


class Risk(enum.StrEnum):
    """Marks a reviewer looks for. What each means exactly stands in `risk.DEFINITIONS`."""

    SETUID = "setuid"
    SETGID = "setgid"
    CAPABILITY = "file-capability"
    SHELL = "shell"
    INTERPRETER = "interpreter"
    COMPILER = "compiler"
    PACKAGE_MANAGER = "package-manager"
    NETWORK_CLIENT = "network-client"
    PRIVILEGE_TOOL = "privilege-tool"
    KERNEL = "kernel"
    DEBUGGER = "debugger"
    WORLD_WRITABLE = "world-writable"
    CREDENTIAL = "credential"
    USER_WRITABLE = "user-writable"
    PRIVILEGED_PORT = "privileged-port"


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A risk that a path carries; `kind` says which one of it ("private-key" of a credential), never content."""

    risk: Risk
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.risk}:{self.kind}" if self.kind else str(self.risk)


@dataclass(frozen=True, slots=True)
class KeptPath:
    """A path of the image. `also` are further packages that hold it (a deb's file that is a wheel's too)."""

    entry: Entry
    sha256: str = ""  # hex; of regular files
    xattrs: Mapping[str, bytes] = field(default_factory=dict)  # those that the image carries
    package: Package | None = None
    reasons: tuple[Reason, ...] = ()
    risks: tuple[Mark, ...] = ()
    also: tuple[Package, ...] = ()
    was: str = ""  # mode and owner in the fat root, where --chmod or --chown changed them: "0644 0:0"


@dataclass(frozen=True, slots=True)
class Held:
    """What of a package is in a removed directory. Files are all but directories; bytes of regular files."""

    package: Package
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Tree:
    """What is below a removed directory from which nothing stays: one row tells all of it.

    Paths with a row of their own, for a mark that they carry, are not counted.
    """

    paths: int
    files: int
    bytes: int  # each hard-linked file once, and only where no row before has it
    packages: tuple[Held, ...] = ()  # sorted
    risks: tuple[tuple[Risk, int], ...] = ()  # paths without a row that carry marks, in the order of Risk


@dataclass(frozen=True, slots=True)
class RemovedPath:
    """A path of the fat root that nothing needed."""

    entry: Entry
    package: Package | None = None
    risks: tuple[Mark, ...] = ()
    also: tuple[Package, ...] = ()
    tree: Tree | None = None  # of a directory whose content has no rows


class PackageState(enum.StrEnum):
    WHOLE = "whole"  # every file of it stays
    PART = "part"
    REMOVED = "removed"  # no file of it stays


@dataclass(frozen=True, slots=True)
class PackageReport:
    """What became of one package. Files are all but directories; bytes of regular files."""

    package: Package
    state: PackageState
    kept_files: int
    kept_bytes: int
    removed_files: int
    removed_bytes: int
    copyright: bool  # a copyright or licence text of it stays
    part: tuple[str, ...] = ()  # of a partly kept one: the first kept files, at most PART_SHOWN


@dataclass(frozen=True, slots=True)
class Total:
    """One side of the comparison. Bytes count each hard-linked file once."""

    paths: int = 0
    files: int = 0  # regular files
    bytes: int = 0
    packages: int = 0
    executables: int = 0
    shared_objects: int = 0

    def without(self, other: Total) -> Total:
        """This side less what was added to it."""
        return Total(
            self.paths - other.paths,
            self.files - other.files,
            self.bytes - other.bytes,
            self.packages - other.packages,
            self.executables - other.executables,
            self.shared_objects - other.shared_objects,
        )


@dataclass(frozen=True, slots=True)
class RiskCount:
    risk: Risk
    fat: int
    slim: int


@dataclass(frozen=True, slots=True)
class RiskyPath:
    """A kept path that carries marks, and its first reason."""

    path: str
    marks: tuple[Mark, ...]
    package: Package | None
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory's weight with all below it, at most FOLDER_DEPTH names deep."""

    path: str
    kept_files: int
    kept_bytes: int
    removed_files: int
    removed_bytes: int


@dataclass(frozen=True, slots=True)
class Subject:
    """What the report is about. Everything here is the same for the same inputs: no times, no host names."""

    source: str = ""  # the directory or image reference
    source_digest: str = ""  # of an image's manifest, where it came with one
    command: tuple[str, ...] = ()
    architecture: str = ""
    image: str = ""  # image id, "sha256:…"
    image_bytes: int = 0  # compressed, as transferred
    version: str = ""  # of slimmer
    recorder: tuple[str, ...] = ()
    user: str = ""
    distribution: str = ""  # os-release's ID: "debian"
    release: str = ""  # os-release's VERSION_ID: "12"
    support_end: str = ""  # the last day of the distribution's security support, "YYYY-MM-DD"; empty: not known
    compressor: str = ""  # what made the layers' bytes: "zlib 1.3 level 5"


@dataclass(frozen=True, slots=True)
class Report:
    """report.json."""

    subject: Subject
    fat: Total
    slim: Total
    packages: tuple[PackageReport, ...]  # sorted by package
    risks: tuple[RiskCount, ...]  # every Risk, in its order
    risky: tuple[RiskyPath, ...]  # at most RISKY_SHOWN, in path order
    folders: tuple[Folder, ...]
    rules: Mapping[str, int]  # how many kept paths each rule's first reason brought
    warnings: tuple[ClosureWarning, ...] = ()  # heaviest first
    levels: tuple[LevelSize, ...] = ()
    notes: tuple[str, ...] = ()


PART_SHOWN = 20
RISKY_SHOWN = 5000
FOLDER_DEPTH = 3
