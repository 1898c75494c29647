"""Who lists which path, by directory: a root may have more than a million paths of packages.

A string for each path and a place in a dictionary would be two hundred bytes; here a path is little more than its name:
each directory has one text, "NUMBER/NAME/NAME//NUMBER/NAME", of the numbers of those who list something right in it.
What a name means is read from the text when the directory is asked for, and remembered for some directories.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

READ = 50_000  # names of directories that are remembered
LONG = 500  # characters of a directory's text from which on it is worth that

Numbers = tuple[int, ...]


class PathTable:
    """Paths as pairs of a directory ("" is the top) and a name; who lists them has the number that `add` gives."""

    def __init__(self) -> None:
        self._texts: dict[str, str | list[str]] = {}
        self._above: set[str] = set()  # directories above these, where nothing was listed before
        self._homes: list[tuple[str, ...]] = []  # by number: the directories in which it lists something
        self._alone: list[Numbers] = []
        self._top: Numbers = ()  # who lists "/"
        self._count = 0
        self._read: dict[str, dict[str, Numbers]] = {}
        self._names = 0  # in these

    def __len__(self) -> int:
        """How many paths are listed, those that several list as often."""
        return self._count

    def __contains__(self, folder: str) -> bool:
        """Whether anything is listed in a directory, or below it."""
        return folder in self._texts or folder in self._above

    def __iter__(self) -> Iterator[str]:
        """The directories in which something is listed."""
        return iter(self._texts)

    def add(self, folders: Mapping[str, Sequence[str]]) -> int:
        """What one lists: names by directory. Gives its number; the first is 0."""
        number = len(self._homes)
        for folder, names in folders.items():
            self._count += len(names)
            if not folder and "" in names:
                self._top += (number,)
                names = [name for name in names if name]
            if names:
                self._append(folder, f"{number}/{'/'.join(names)}")
        self._homes.append(tuple(folders))
        self._alone.append((number,))
        self._read.clear()
        return number

    def _append(self, folder: str, text: str) -> None:
        before = self._texts.get(folder)
        if before is None:
            self._texts[folder] = text
            above = folder.rpartition("/")[0]
            while above not in self._texts and above not in self._above:
                self._above.add(above)
                above = above.rpartition("/")[0]
        elif isinstance(before, list):
            before.append(text)
        else:
            self._texts[folder] = [before, text]

    def within(self, folder: str) -> Mapping[str, Numbers]:
        """The names right in a directory that are listed, with the numbers of those who list them, in their order."""
        found = self._read.get(folder)
        if found is None:
            found = {}
            for number, names in self._parts(folder):
                own = dict.fromkeys(names, self._alone[number])
                for name in found.keys() & own.keys():
                    own[name] = (*found[name], number)
                found.update(own)
            if len(self._text(folder)) >= LONG:
                self._names += len(found)
                if self._names > READ:
                    self._read.clear()
                    self._names = len(found)
                self._read[folder] = found
        return found

    def _parts(self, folder: str) -> Iterator[tuple[int, list[str]]]:
        text = self._text(folder)
        for part in text.split("//") if text else ():
            number, *names = part.split("/")
            yield int(number), names

    def _text(self, folder: str) -> str:
        text = self._texts.get(folder, "")
        if not isinstance(text, str):
            text = self._texts[folder] = "//".join(text)
        return text

    def at(self, path: str) -> Numbers:
        """The numbers of those who list a path."""
        folder, _, name = path.rpartition("/")
        return self.within(folder).get(name, ()) if name else self._top

    def of(self, number: int) -> Iterator[str]:
        """The paths that one lists, directory by directory."""
        if number in self._top:
            yield "/"
        for folder in self._homes[number]:
            _, found, rest = f"//{self._text(folder)}".partition(f"//{number}/")
            names = rest.partition("//")[0].split("/") if found else ()  # none: it lists "/" there
            yield from (f"{folder}/{name}" for name in names)
