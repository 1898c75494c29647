"""What a run program of a package starts by name: a shell, and programs of other packages as its own declares.

gnuplot calls popen for `plot '< sort data'`, which needs /bin/sh whatever the run plotted. pandoc suggests groff and
holds the text "pdfroff"; doxygen suggests graphviz and holds "dot". Neither alone says that one starts the other, and
a run that made no PDF has not shown it; whoever installed both meant it to.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator

from slimmer.closure.commands.needs import CommandNeed
from slimmer.closure.commands.search import DEFAULT_PATH, Programs, head
from slimmer.closure.limits import OWN_TEXT
from slimmer.closure.model import Level, Need, Reason, Rule, View
from slimmer.closure.ownership.base import SystemBase
from slimmer.closure.profiles.load import Profile
from slimmer.closure.started import SYSTEM, Started
from slimmer.elf.file import ElfError
from slimmer.elf.finder import Finder
from slimmer.elf.symbols import SHELLS, STARTS, imports
from slimmer.packages.model import Package
from slimmer.root.model import Entry

ELF = b"\x7fELF"
LARGEST = 256 << 20  # bytes of a program that are looked through: pandoc has 172 million


class DeclaredProgramsRule(Rule):
    """Keeps the shell of who calls one, and programs that it names of packages that its own needs or suggests."""

    name = "declared-program"
    level = Level.REACHABLE

    def __init__(self, profiles: Iterable[Profile] = ()) -> None:
        self._base = SystemBase(profiles)
        self._candidates: dict[str, tuple[Entry, Package]] = {}
        self._named: dict[str, Package] = {}

    def begin(self, view: View) -> Iterable[Need]:
        self._started = Started(view)
        self._programs = Programs(view)
        self._commands = CommandNeed(view, {}, self.name)
        self._named = {each.name: each for each in view.packages.system_packages()}
        return ()

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        if entry.executable and ".so" not in posixpath.basename(entry.path):
            owner = view.packages.owner(entry.path)
            if owner is not None and owner.type in SYSTEM and not self._base.holds(owner, view):
                self._candidates[entry.path] = (entry, owner)
        return ()

    def settle(self, view: View) -> Iterator[Need]:
        for path in sorted(each for each in self._candidates if each in self._started):
            entry, owner = self._candidates.pop(path)
            if head(entry, view, len(ELF)) != ELF:
                continue  # a script's own rule reads what it starts
            others = dict(self._others(owner, view))
            used = self._starts(entry, view)
            data = head(entry, view, LARGEST) if others or used else b""
            if shell := used & SHELLS:
                yield Need("/bin/sh", Reason(self.name, f"{path} calls {min(shell)}", path))
            elif used and names(data, "/bin/sh"):
                yield Need("/bin/sh", Reason(self.name, f"named by {path}, which can start programs", path))
            for place, other in sorted(others.items()):
                if self._named_in(data, place, base=self._base.holds(other, view)):
                    text = f"named by {path}, whose package {owner.name} knows {other.name}"
                    need = Need(place, Reason(self.name, text, path))
                    yield from self._commands.within([need], path, 0, OWN_TEXT)

    def _starts(self, entry: Entry, view: View) -> frozenset[str]:
        """The functions by which a program starts others."""
        try:
            file = Finder(view.root).file(entry)
            return imports(view.root, entry, file) & STARTS if file is not None and file.dynamic else frozenset()
        except ElfError:
            return frozenset()  # ElfRule tells of it

    def _named_in(self, data: bytes, place: str, *, base: bool) -> bool:
        """By its path, or by its name where that says enough: `sort` and `perl` are words as well."""
        name = posixpath.basename(place)
        paths = (f"{directory}/{name}" for directory in DEFAULT_PATH)
        return any(names(data, path) for path in paths) or (not base and names(data, name))

    def _others(self, owner: Package, view: View) -> Iterator[tuple[str, Package]]:
        """Programs in PATH of the packages that an owner speaks of."""
        spoken = {*view.packages.depends(owner), *view.packages.recommends(owner), *view.packages.suggests(owner)}
        for name in sorted(spoken & self._named.keys()):
            other = self._named[name]
            if other != owner:
                for path in view.packages.files(other):
                    if path in self._programs.find(posixpath.basename(path)):
                        yield path, other


def names(data: bytes, name: str) -> bool:
    """Whether a C text in a program's constants is this name, alone or with arguments behind it."""
    word = name.encode("utf-8", "surrogateescape")
    at = data.find(word)
    while at > 0:
        before, behind = data[at - 1], data[at + len(word) : at + len(word) + 1]
        if not 0x20 <= before < 0x7F and behind in (b"\0", b" "):
            return True
        at = data.find(word, at + 1)
    return False
