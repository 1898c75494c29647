"""Words that name programs, looked up as a shell or execvp would: by PATH, inside the root."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Concatenate, ParamSpec, TypeVar

from slimmer.closure.model import Need, Reason, View
from slimmer.errors import SlimmerError
from slimmer.root.budget import Unread
from slimmer.root.model import Entry, FileType, Root
from tracer.runner import programs

# What login, cron, container runtimes and execvp between them search when nobody sets PATH.
DEFAULT_PATH = tuple(programs.DEFAULT_PATH.split(":"))
_P = ParamSpec("_P")
_R = TypeVar("_R")

SHORT = 4096  # bytes
NOWHERE = ("/dev/", "/proc/", "/sys/")


class Programs:
    """Finds programs by the search paths that the application and its processes really had."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._paths = tuple(dict.fromkeys([*_environments(view), DEFAULT_PATH]))
        self._found: dict[str, tuple[str, ...]] = {}
        self._names: dict[str, frozenset[str]] = {}  # of each directory

    def find(self, word: str, *, bases: Iterable[str] = ("/",)) -> tuple[str, ...]:
        """Paths, as named, at which `word` is an executable file; several when search paths differ.

        A word with a slash is looked up from each of `bases` (directories that may be the working directory).
        """
        if not word or "\0" in word:
            return ()
        if "/" in word:
            return tuple(dict.fromkeys(place for place in self._named(word, bases) if self.is_program(place)))
        found = self._found.get(word)
        if found is None:
            found = tuple(dict.fromkeys(self._search(word)))
            if found:  # a compiled program has a hundred thousand words that are none
                self._found[word] = found
        return found

    def _search(self, word: str) -> Iterator[str]:
        for path in self._paths:
            for directory in path:
                names = self._listed(directory)
                if names and word not in names:
                    continue
                place = f"{directory.rstrip('/')}/{word}"
                if self.is_program(place):
                    yield place
                    break

    def _listed(self, directory: str) -> frozenset[str]:
        """The names in a directory; none when it cannot be listed, which says nothing of what it holds."""
        names = self._names.get(directory)
        if names is None:
            root = self._view.root
            names = self._names[directory] = frozenset(root.children(root.resolve(directory).path))
        return names

    def _named(self, word: str, bases: Iterable[str]) -> Iterator[str]:
        if word.startswith("/"):
            yield word
        else:
            yield from (f"{base.rstrip('/')}/{word}" for base in bases)

    def file(self, word: str, *, bases: Iterable[str] = ("/",)) -> tuple[str, ...]:
        """Paths at which `word`, which holds a slash or not, is anything at all from one of `bases`."""
        return tuple(
            place
            for place in dict.fromkeys(self._named(word, bases))
            if not f"{place}/".startswith(NOWHERE) and self._view.root.find(place) is not None
        )

    def is_program(self, path: str) -> bool:
        """Whether a path leads to a regular file that may be executed."""
        if path.startswith(NOWHERE):
            return False
        entry = self._view.root.find(path)
        return entry is not None and entry.executable


class Libraries:
    """Finds shared libraries that programs name in strings: `ctypes.CDLL("libmagic.so.1")`, `find_library("magic")`."""

    def __init__(self, view: View, first: Iterable[str] = ()) -> None:
        """`first` are directories that are searched before the usual ones."""
        self._view = view
        top = ("/usr/lib", "/lib", "/usr/local/lib", "/lib64", "/usr/lib64")
        multiarch = [f"/usr/lib/{name}" for name in view.root.children("/usr/lib") if "-linux-" in name]
        self._directories = tuple(dict.fromkeys((*first, *multiarch, *top)))

    def needs(self, name: str, reason: Reason) -> Iterator[Need]:
        """Needs for a soname, a bare name ("magic", as for `cc -lmagic`) or a path."""
        if name.startswith("/"):
            yield Need(name, reason)
        elif re.fullmatch(r"[\w.+-]+", name):
            for directory in self._directories:
                found = self._matching(directory, name)
                yield from (Need(f"{directory}/{each}", reason) for each in found)
                if found:
                    break

    def _matching(self, directory: str, name: str) -> list[str]:
        names = self._view.root.children(self._view.root.resolve(directory).path)
        if ".so" in name:
            return [each for each in names if each == name]
        wanted = (f"lib{name}.so", f"{name}.so") if name.startswith("lib") else (f"lib{name}.so",)
        return [each for each in names if each.startswith(wanted)]


def _environments(view: View) -> Iterator[tuple[str, ...]]:
    values = [(view.application.env or {}).get("PATH", "")]
    values += [value for each in view.recording.executions for name, value in each.environment if name == "PATH"]
    for value in dict.fromkeys(values):
        directories = tuple(part for part in value.split(":") if part.startswith("/"))
        if directories:
            yield directories


def head(entry: Entry, view: View, limit: int) -> bytes:
    """The first bytes of a kept regular file; empty when it is none or cannot be read."""
    if entry.type is not FileType.FILE or entry.size == 0:
        return b""
    return _short(view.root, entry, limit) if limit <= SHORT else _beginning(view.root, entry, limit)


def said(
    entry: Entry,
    view: View,
    limit: int,
    reader: Callable[Concatenate[bytes, _P], _R],
    *args: _P.args,
    **kwargs: _P.kwargs,
) -> _R:
    """What a pure reader says of what `head` gives."""
    if entry.type is FileType.FILE and entry.size > 0:
        try:
            return view.root.said(entry, limit, reader, *args, **kwargs)
        except Unread:
            raise
        except (SlimmerError, OSError):
            pass
    return reader(b"", *args, **kwargs)


@lru_cache(maxsize=8)
def _short(root: Root, entry: Entry, limit: int) -> bytes:
    """Every language's rule asks for the first line of the same program, one after the other."""
    return _beginning(root, entry, limit)


def _beginning(root: Root, entry: Entry, limit: int) -> bytes:
    try:
        return root.beginning(entry, limit)
    except (SlimmerError, OSError):
        return b""
