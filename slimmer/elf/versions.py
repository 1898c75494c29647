"""Symbol versions as the loader checks them before it starts a program.

A file requires versions of a library by name; the library that the loader maps under
that name must define each, unless the requirement is weak or the library has no
versions at all. Source: _dl_check_map_versions and match_symbol in elf/dl-version.c.
musl does not check.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from slimmer.elf.file import ElfError
from slimmer.elf.loader import Libc, Loader
from slimmer.elf.symbols import Versions, versions
from slimmer.root.model import Entry, FileType, Root, sort_key


@dataclass(frozen=True, slots=True)
class Problem:
    """A version that a kept file requires and the library that it would get does not define."""

    path: str
    library: str
    version: str
    provider: str  # canonical path of that library

    def __str__(self) -> str:
        return f"{self.path} needs version {self.version} of {self.library}, which {self.provider} does not define"


def check(
    root: Root, kept: Iterable[str], *, env: Mapping[str, str] | None = None, loader: Loader | None = None
) -> tuple[Problem, ...]:
    """All version problems among kept paths (canonical), sorted.

    Each program is checked with the libraries that its loader maps, as it will be in
    the image. A shared object that no program loads at its start is checked against the kept
    libraries of that SONAME: one that fits is enough.
    """
    return _Check(root, kept, env or {}, loader or Loader(root)).problems()


class _Check:
    def __init__(self, root: Root, kept: Iterable[str], env: Mapping[str, str], loader: Loader) -> None:
        self._loader = loader
        self._root = root
        self._env = env
        self._kept = sorted(kept, key=sort_key)
        self._versions: dict[str, Versions] = {}

    def problems(self) -> tuple[Problem, ...]:
        found: set[Problem] = set()
        alone: list[Entry] = []
        by_name: dict[str, list[Entry]] = {}
        checked: set[str] = set()
        for path in self._kept:
            entry = self._root.entry(path)
            if entry is None or entry.type is not FileType.FILE:
                continue
            try:
                file = self._loader.finder.file(entry)
            except ElfError:
                continue
            if file is None:
                continue
            if file.dynamic:
                for name in {file.soname, path.rpartition("/")[2]} - {None}:
                    by_name.setdefault(str(name), []).append(entry)
            if file.interpreter is None:
                alone.append(entry)
            else:
                found.update(self._program(entry, checked))
        for entry in alone:
            if entry.path not in checked:
                found.update(self._alone(entry, by_name))
        return tuple(sorted(found, key=lambda problem: (sort_key(problem.path), problem.library, problem.version)))

    def _program(self, entry: Entry, checked: set[str]) -> Iterator[Problem]:
        resolved = self._loader.closure(entry.path, env=self._env)
        if resolved is None or resolved.libc is not Libc.GLIBC:
            return
        providers: dict[str, Entry] = {}
        members = [entry]
        for load in resolved.loads:
            member = self._loader.finder.entry(load.path)
            if member is not None:
                members.append(member)
                providers.setdefault(load.name, member)
                file = self._loader.finder.file(member)
                if file is not None and file.soname is not None:
                    providers.setdefault(file.soname, member)
        checked.update(member.path for member in members)
        for member in members:
            for library, version in self._required(member):
                provider = providers.get(library)
                if provider is not None and not self._defines(provider, version):
                    yield Problem(member.path, library, version, provider.path)

    def _alone(self, entry: Entry, by_name: Mapping[str, list[Entry]]) -> Iterator[Problem]:
        file = self._loader.finder.file(entry)
        for library, version in self._required(entry):
            same = []
            for each in by_name.get(library, ()):
                other = self._loader.finder.file(each)
                if other is not None and file is not None and (other.machine, other.bits) == (file.machine, file.bits):
                    same.append(each)
            if same and not any(self._defines(each, version) for each in same):
                yield Problem(entry.path, library, version, same[0].path)

    def _required(self, entry: Entry) -> list[tuple[str, str]]:
        return [(each.library, each.version) for each in self._read(entry).required if not each.weak]

    def _defines(self, provider: Entry, version: str) -> bool:
        defined = self._read(provider).defined
        return defined is None or version in defined

    def _read(self, entry: Entry) -> Versions:
        known = self._versions.get(entry.path)
        if known is None:
            try:
                file = self._loader.finder.file(entry)
                known = versions(self._root, entry, file) if file is not None else Versions((), None)
            except ElfError:
                known = Versions((), None)
            self._versions[entry.path] = known
        return known
