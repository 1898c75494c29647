"""What rules see (View) and what they say (Need), and the reasons that stay with each path."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from slimmer.packages.model import PackageIndex
from slimmer.root.model import Entry, Root
from tracer.recording import Recording


class Level(enum.IntEnum):
    """How far the closure reaches; each holds the ones below it."""

    RECORDED = 0
    REACHABLE = 1
    PACKAGES = 2


@dataclass(frozen=True, slots=True)
class LevelSize:
    """What the image would weigh at a keep level."""

    level: str  # "recorded", "reachable", "packages"
    paths: int
    bytes: int
    chosen: bool = False
    estimate: bool = False  # from the sizes of packages, since nothing was grown so far


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a path stays. `needed_by` is a canonical kept path, or "" when the reason is a root of the graph."""

    rule: str  # short and stable: "recorded", "link", "elf", "python-import", "profile:nginx"
    text: str  # for a person: "opened by /usr/bin/python3.11", "runpath of /usr/bin/foo"
    needed_by: str = ""


@dataclass(frozen=True, slots=True)
class Need:
    """A rule's word: this path must stay. The path may pass links; all of them stay too.

    Nothing at the path: ignored. With `follow` False a link in the last component is
    kept but not what it leads to. With `tree` a directory stays with everything below it.
    """

    path: str
    reason: Reason
    follow: bool = True
    tree: bool = False


UNREAD = 45  # the weight of a file that asked too much of its reader


@dataclass(frozen=True, slots=True)
class ClosureWarning:
    """Something that may be missing from the image, for the report's "where it may be wrong" list."""

    kind: str  # short and stable: "siblings", "dlopen-string", "listed-directory"
    path: str  # the kept path that raises the question
    text: str  # for a person, one sentence
    weight: int = 50  # 0 harmless … 100 will break
    remedy: str = ""  # a line to paste, where one helps


@dataclass(frozen=True, slots=True, order=True)
class Omission:
    """A path (with all below it, where it is a directory) that a package which stays whole stays without."""

    why: str  # for a person: "type declarations"; "" where a profile leaves it out of what it keeps, and says why there
    path: str


@dataclass(frozen=True, slots=True)
class Application:
    """How the image will be started; what "the application's own files" are measured from."""

    argv: tuple[str, ...] = ()
    env: Mapping[str, str] | None = None
    user: str = ""
    workdir: str = "/"
    executables: tuple[str, ...] = ()  # other commands of the exercise
    volumes: tuple[str, ...] = ()  # directories that the image declares as volumes


@dataclass(frozen=True, slots=True)
class View:
    """What a rule may look at. `kept` grows while the rules run: look, but do not hold on to a snapshot."""

    root: Root
    recording: Recording
    packages: PackageIndex
    application: Application
    kept: Mapping[str, Sequence[Reason]]  # canonical path → reasons; iteration order is order of entry
    warn: Callable[[ClosureWarning], None]
    left_out: Callable[[Omission], None] = lambda omission: None


class Rule:
    """One rule, made anew for each closure, so it may hold state. Subclasses override what they need.

    `level` is the lowest level at which it speaks. A rule never removes, never
    executes the target, and yields the same needs for the same root whatever the
    order of visits.
    """

    name: str = ""
    level: Level = Level.RECORDED

    def begin(self, view: View) -> Iterable[Need]:
        """Once, before anything else."""
        return ()

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        """Once for each path that enters the closure."""
        return ()

    def settle(self, view: View) -> Iterable[Need]:
        """Each time the worklist runs dry, until no rule has anything new: for what depends on the whole."""
        return ()
