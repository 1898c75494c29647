"""The objects of one process in the making, by name and by file, in the loader's order."""

from __future__ import annotations

from slimmer.elf.file import Elf
from slimmer.elf.model import Found, Kept, Load, Missing
from slimmer.root.model import Entry


class LinkObject:
    """One mapped object (glibc's link_map, musl's dso)."""

    __slots__ = ("file", "hidden", "loader", "name", "origin", "path", "place", "requester", "rule", "shown")

    def __init__(self, name: str, path: str, file: Elf, loader: LinkObject | None) -> None:
        self.name = name  # by which it was first asked for
        self.path = path  # as found
        self.file = file
        self.loader = loader  # who caused it to be loaded: its rpath is inherited from
        self.origin: str | None = None
        self.shown = path  # how messages call it
        self.place = ""  # canonical path
        self.requester: LinkObject | None = None
        self.rule = ""
        self.hidden = False  # stands before the program itself, where no search by name comes


class LinkMap:
    """Grows while a loader's rules run."""

    def __init__(self, path: str, file: Elf, origin: str) -> None:
        self.main = LinkObject("", path, file, None)
        self.main.place = path
        self.main.origin = origin
        self.loader = self.main  # the loader itself; set by who has one
        self.objects: list[LinkObject] = []
        self.others: list[LinkObject] = []  # of further name spaces: audit modules and theirs
        self.missing: list[Missing] = []
        self.kept: dict[str, Kept] = {}
        self.warnings: list[str] = []
        self.varied = False  # another processor might load something else
        self._names: dict[str, LinkObject] = {}
        self._files: dict[tuple[int, int] | str, LinkObject] = {}
        self._hidden: dict[str, LinkObject] = {}  # by path

    def copy(self) -> LinkMap:
        """A link map that may grow on its own."""
        other = LinkMap(self.main.path, self.main.file, "")
        other.main, other.loader, other.varied = self.main, self.loader, self.varied
        other.objects, other.missing, other.warnings = self.objects[:], self.missing[:], self.warnings[:]
        other.others = self.others[:]
        other.kept, other._names, other._files = dict(self.kept), dict(self._names), dict(self._files)
        return other

    def reserve(self, name: str, owner: LinkObject) -> None:
        """A name that is satisfied from the start; the first owner of a name keeps it."""
        self._names.setdefault(name, owner)

    def named(self, name: str) -> LinkObject | None:
        return self._names.get(name)

    def same(self, found: Found, requester: LinkObject | None = None) -> LinkObject | None:
        """The object that was mapped from the same file (device and inode).

        Hidden objects that filter each other would be mapped again and again: there ld.so
        never ends, and we take the first.
        """
        known = self._files.get(_identity(found.entry))
        if known is None and requester is not None and requester.hidden:
            return self._hidden.get(found.path)
        return known

    def add(
        self, name: str, found: Found, place: str, loader: LinkObject | None, rule: str, requester: LinkObject
    ) -> LinkObject:
        """Map a file. `place` is where it is, absolute; it answers to its name, path and SONAME from now on."""
        added = LinkObject(name, found.path, found.file, loader)
        added.origin = place.rpartition("/")[0] or "/"
        added.place = found.entry.path
        added.requester, added.rule = requester, rule
        self.objects.append(added)
        self._files[_identity(found.entry)] = added
        for each in (name, found.path, found.file.soname):
            if each is not None:
                self._names.setdefault(each, added)
        self.keep(place, requester, f"{name}, {_phrase(rule)}")
        return added

    def alias(self, name: str, known: LinkObject, found: Found, place: str, requester: LinkObject, rule: str) -> None:
        """A further name for a mapped file; the path by which it was opened has to stay as well."""
        self._names.setdefault(name, known)
        self.keep(place, requester, f"{name}, {_phrase(rule)}")

    def move_before(self, moved: LinkObject, other: LinkObject) -> None:
        """A filtee stands right before who names it. Before the program itself no name finds it any more."""
        if moved not in self.objects:
            return
        hidden = other is self.main or other.hidden
        at = self.objects.index(moved)
        target = 0 if other is self.main else self.objects.index(other)
        if at < target:
            return  # already earlier
        self.objects.insert(target, self.objects.pop(at))
        if hidden:
            moved.hidden = True
            self._names = {name: each for name, each in self._names.items() if each is not moved}
            self._hidden[moved.path] = moved
            self._files = {key: each for key, each in self._files.items() if each is not moved}

    def absorb(self, other: LinkMap) -> None:
        """What another name space of the same process loads: kept and shown, but its names satisfy nothing here."""
        self.others += other.objects
        self.warnings += other.warnings
        for path, kept in other.kept.items():
            self.kept.setdefault(path, kept)

    def keep(self, path: str, requester: LinkObject, text: str) -> None:
        self.kept.setdefault(path, Kept(path, requester.place or self.main.place, text))

    def miss(self, name: str, requester: LinkObject, why: str) -> None:
        missing = Missing(name, requester.shown, why)
        if missing not in self.missing:
            self.missing.append(missing)

    def loads(self) -> list[Load]:
        """In the loader's order, each path once: a filtee of the program itself that is mapped again, where that is."""
        again = {each.path for each in self.objects if not each.hidden}
        out: dict[str, Load] = {}
        for each in (*self.objects, *self.others):
            if each.hidden and each.path in again:
                continue
            by = each.requester.shown if each.requester is not None else self.main.shown
            out.setdefault(each.path, Load(each.name, each.path, by or self.main.shown, each.rule))
        return list(out.values())


def _identity(entry: Entry) -> tuple[int, int] | str:
    return entry.identity if entry.identity != (0, 0) else entry.path


def _phrase(rule: str) -> str:
    return f"from {rule}" if rule in ("ld.so.cache", "LD_LIBRARY_PATH") else f"by {rule}" if rule else "by name"
