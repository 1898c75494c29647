"""The application's own files: what no package owns, in the directories that the application uses, kept whole.

Which directories: the working directory, those of the programs that are run, and
those in which the recording touched something that no package owns. What is
plainly not run time (version control, caches, tests) is left out as the profiles'
drop lists say, unless the recording shows that it is used after all.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterable, Iterator

from slimmer.closure.commands.search import Programs
from slimmer.closure.model import Application, ClosureWarning, Level, Need, Reason, Rule, View
from slimmer.closure.ownership.units import Units
from slimmer.closure.profiles.drops import Dropped, Drops, size_of
from slimmer.closure.profiles.load import Profile
from slimmer.packages.model import PackageIndex
from slimmer.root.model import Entry, FileType, Root, sort_key
from tracer.recording import Kind, Recording

MANY = 30_000  # paths; a home with more than this is large whatever it weighs
PERSONAL = ("/home/", "/root/")
USED = frozenset({Kind.READ, Kind.WRITE, Kind.EXEC, Kind.LIST})


class ApplicationRule(Rule):
    """Keeps each unit of the application whole, empty directories too."""

    name = "application"
    level = Level.REACHABLE

    def __init__(self, profiles: Iterable[Profile] = ()) -> None:
        self._profiles = tuple(profiles)

    def begin(self, view: View) -> Iterator[Need]:
        own = OwnFiles(self._profiles, view.root, view.recording, view.packages, _commands(view))
        for top, cause in own.tops(view.application):
            reason = Reason(self.name, f"the application's own, as it uses {cause}")
            entries = list(own.entries(top))
            size = size_of(entries)
            if own.units.large and size > own.units.large:
                view.warn(
                    ClosureWarning(
                        "large-application",
                        top,
                        f"{size:,} bytes that no package owns are kept whole because the application uses {cause};"
                        f" --exclude '{top}/…' leaves out what it does not need",
                        5,
                    )
                )
            for entry in entries:
                yield Need(entry.path, reason, follow=False)
                if entry.type is FileType.SYMLINK:
                    yield Need(
                        entry.path, Reason(self.name, f"a link of the application leads here: {entry.path}", top)
                    )


def dropped(
    profiles: Iterable[Profile],
    root: Root,
    recording: Recording,
    packages: PackageIndex,
    application: Application,
) -> tuple[Dropped, ...]:
    """What of the application's own files was left out and why, outermost directories only, sorted."""
    view = View(root, recording, packages, application, {}, lambda warning: None)
    own = OwnFiles(tuple(profiles), root, recording, packages, _commands(view))
    found = {drop.path: drop for top, _ in own.tops(application) for drop in own.dropped(top)}
    return tuple(found[path] for path in sorted(found, key=sort_key))


def _commands(view: View) -> tuple[str, ...]:
    """Paths of the programs that the image will be asked to run, as named."""
    programs = Programs(view)
    words = [*view.application.argv, *(shlex_first(each) for each in view.application.executables)]
    bases = (view.application.workdir or "/",)
    found: list[str] = []
    for word in words:
        found += programs.find(word, bases=bases) or (programs.file(word, bases=bases) if "/" in word else ())
    return tuple(found)


def shlex_first(command: str) -> str:
    """The first word of a command line; the line itself when it cannot be split."""
    try:
        return next(iter(shlex.split(command)), "")
    except ValueError:
        return command


class OwnFiles:
    """The units of one application, and their content less what is dropped. `commands`: what it is asked to run."""

    def __init__(
        self,
        profiles: tuple[Profile, ...],
        root: Root,
        recording: Recording,
        packages: PackageIndex,
        commands: tuple[str, ...] = (),
    ) -> None:
        self.units = Units(profiles, root, packages)
        self._drops = Drops(profiles)
        self._root = root
        self._commands = commands
        self._used: dict[str, bool] = {}  # canonical path → touched more than by a look at it
        for access in recording.accesses:
            found = root.resolve(access.path, follow=access.kinds != {Kind.LINK})
            if found.entry is not None:
                self._used[found.path] = self._used.get(found.path, False) or not USED.isdisjoint(access.kinds)
                for link in found.links:
                    self._used.setdefault(link, False)
        self._used_below = {parent for path, used in self._used.items() if used for parent in _parents(path)}

    def tops(self, application: Application) -> list[tuple[str, str]]:
        """(top, what shows that it is used) of each unit, sorted."""
        signs: dict[str, set[str]] = {}
        for path in self._signs(application):
            if top := self.units.top(path):
                signs.setdefault(top, set()).add(path)
        workdir = self._root.resolve(application.workdir or "/").path
        asked = {workdir, *(posixpath.dirname(self._root.resolve(each).path) for each in self._commands)}
        found: dict[str, str] = {}
        for top in sorted(signs, key=sort_key):
            for unit, cause in self._narrowed(top, signs[top], workdir, asked):
                found.setdefault(unit, cause)
        pending = sorted(found, key=sort_key)
        while pending:
            for link, led_to in self._leading_out(pending.pop(0)):
                top = self.units.top(led_to)
                if top and not any(top == each or top.startswith(f"{each}/") for each in found):
                    found[top] = link
                    pending.append(top)
        return sorted(found.items(), key=lambda item: sort_key(item[0]))

    def _narrowed(self, top: str, signs: set[str], workdir: str, asked: set[str]) -> Iterator[tuple[str, str]]:
        """A unit, or the parts of it that are used: nobody's home goes whole into an image.

        Where everything used lies below the working directory, that is the unit. What is
        large in somebody's home is taken apart.
        """
        firm = {path for path in signs if path in asked or self._used.get(path) or not self._is_directory(path)}
        if workdir.startswith(f"{top}/") and all(f"{path}/".startswith(f"{workdir}/") for path in firm):
            top = workdir
        cause = min(signs, key=sort_key)
        if not f"{top}/".startswith(PERSONAL) or not self._large(top):
            yield top, cause
            return
        parts: dict[str, set[str]] = {}
        for path in firm:
            if path.startswith(f"{top}/"):
                part = f"{top}/{path[len(top) + 1 :].partition('/')[0]}"
                parts.setdefault(part, set()).add(path)
        for part in sorted(parts, key=sort_key):
            yield from self._narrowed(part, parts[part], workdir, asked)

    def _is_directory(self, path: str) -> bool:
        entry = self._root.entry(path)
        return entry is not None and entry.type is FileType.DIRECTORY

    def _large(self, top: str) -> bool:
        size = 0
        for count, entry in enumerate(self.units.content(top)):
            size += entry.size
            if size > self.units.large or count > MANY:
                return bool(self.units.large)
        return False

    def _leading_out(self, top: str) -> Iterator[tuple[str, str]]:
        """(link, what is at its end) of a unit's links to files that are the application's own elsewhere."""
        for entry in self.entries(top):
            if entry.type is FileType.SYMLINK:
                found = self._root.find(entry.path)
                if found is not None and not f"{found.path}/".startswith(f"{top}/") and self.units.own(found.path):
                    yield entry.path, found.path

    def _signs(self, application: Application) -> Iterator[str]:
        for named in (application.workdir, *self._commands):
            found = self._root.resolve(named or "/")
            if found.entry is not None and (found.entry.type is FileType.DIRECTORY or self.units.own(found.path)):
                yield found.path
        for path, used in self._used.items():
            entry = self._root.entry(path)
            if entry is None:
                continue
            if entry.type is FileType.DIRECTORY:
                if used or self.units.own(path):
                    yield path
            elif self.units.own(path):
                yield path

    def entries(self, top: str) -> Iterator[Entry]:
        """A unit's content, less what is dropped."""
        skipped = {drop.path for drop in self.dropped(top)}
        for entry in self.units.content(top):
            if entry.path not in skipped and skipped.isdisjoint(_parents(entry.path)):
                yield entry

    def dropped(self, top: str) -> Iterator[Dropped]:
        """What a unit leaves out: paths that the drop lists name and the recording does not contradict."""
        outermost: set[str] = set()
        for entry in self.units.content(top):
            path = entry.path
            if path == top or not outermost.isdisjoint(_parents(path)):
                continue
            if self._used.get(path) or path in self._used_below:
                continue
            if (drop := self._drops.of_application(path, top, self._root)) is not None:
                outermost.add(path)
                yield drop


def _parents(path: str) -> Iterator[str]:
    while path != "/":
        path = posixpath.dirname(path)
        yield path
