"""Where glibc's ld.so finds a name: its cache, directories and their variants for better processors.

Sources, release 2.36: elf/dl-load.c (search), elf/dl-cache.c.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from slimmer.elf import ldcache
from slimmer.elf.file import MAGIC, Elf, ElfError, Type
from slimmer.elf.finder import Directory, Finder, absolute
from slimmer.elf.machine import machine_of, matches, other_floats, tolerates
from slimmer.elf.model import Cpu, Found
from slimmer.elf.traits import Traits, processors, subdirectories, traits_of
from slimmer.root.model import FileType

SECURE_LIMIT = 4096  # SECURE_PATH_LIMIT, SECURE_NAME_LIMIT is 255
_COMMENT = re.compile(r"#[^\n]*")


class Refused(Exception):
    """A file that the search came upon and that ends the program: the search goes no further."""


class Blocked(Exception):
    """Opening failed with something else than "no such file": the rest of this list of directories is not searched."""


Place = tuple[str, Directory]  # a directory as the loader writes it (with its slash), and what is there


class Search:
    """Where one ld.so of a root finds a name. `interpreter` is the loader itself, or a stand-in when it is missing."""

    def __init__(self, finder: Finder, interpreter: Elf, content: bytes) -> None:
        self.finder = finder
        self.host = interpreter
        self.machine = machine_of(interpreter)
        self.traits: Traits = traits_of(content)
        self.soname = interpreter.soname
        self.cpus: tuple[Cpu, ...] = processors(self.machine, self.traits)
        if self.traits.nohwcap and finder.entry(self.traits.nohwcap) is not None:
            self.cpus = (replace(self.cpus[0], capabilities=(), platform=None, hwcap=0),)
            self.traits = replace(self.traits, legacy=False)
        self._flags = {self.machine.cache_flags, self.machine.other_flags} - {0}
        self._candidates: dict[str, Found | Refused | Blocked | None] = {}
        self._places: dict[str, Place] = {}
        self._defaults: dict[tuple[str, Cpu, bool], tuple[Found | None, str, bool]] = {}
        self.trusted = [self._place(each, "/") for each in self.traits.trusted]
        self._cache: ldcache.Cache | None = None
        self.warnings: tuple[str, ...] = ()
        content = finder.content(self.traits.cache, ldcache.MAX_CACHE)
        if content:
            try:
                self._cache = ldcache.read(content, little=interpreter.little)
            except ldcache.CacheError as error:
                self.warnings = (f"{self.traits.cache} is not used by the loader: {error.message}",)

    def search_cache(self, name: str, cpu: Cpu) -> tuple[str | None, bool]:
        """The path that ld.so.cache gives for a name, and whether other processors could get another one."""
        best: str | None = None
        best_rank = 0
        varied = False
        for each in self._cache.find(name) if self._cache is not None else ():
            if each.flags not in self._flags:
                continue
            if each.variant:
                varied = True
                if each.variant in cpu.hwcaps and each.isa_level <= len(cpu.hwcaps):
                    rank = cpu.hwcaps.index(each.variant)
                    if best is None or rank < best_rank:
                        best, best_rank = each.path, rank
                continue
            if best is not None:
                break  # variants come first in the file, and one of them was good
            if each.hwcap:
                varied = True
                if each.hwcap & ~(cpu.hwcap | ldcache.TLS_BIT):
                    continue
            best = each.path
            if each.flags == self.machine.cache_flags:
                break
        return best, varied

    def candidate(self, path: str, workdir: str) -> Found | None:
        """Open and verify, as open_verify in dl-load.c. None: the search goes on. Raises Refused, Blocked."""
        place = absolute(path, workdir)
        try:
            known = self._candidates[place]
        except KeyError:
            known = self._candidates[place] = self._verify(place)
        if isinstance(known, Exception):
            raise known
        if known is not None and known.path != path:
            return Found(path, known.entry, known.file)
        return known

    def _verify(self, place: str) -> Found | Refused | Blocked | None:
        entry = self.finder.entry(place)
        if entry is None:
            return Blocked() if self.finder.blocked(place) else None
        if entry.type is not FileType.FILE:
            return Refused(f"{place} is no file")
        ident = self.finder.ident(entry)
        if not ident and entry.size:
            return None  # EACCES, as for the loader of who runs this
        if len(ident) < 20 or entry.size < (64 if self.host.bits == 64 else 52):
            return Refused(f"{place} is too short")
        if ident[:4] != MAGIC:
            return Refused(f"{place} is not ELF")
        if ident[4] != self.host.bits // 32:
            return None  # another class: not fatal
        # The header's machine as this loader reads it, whatever the file's own byte order.
        foreign = int.from_bytes(ident[18:20], "little" if self.host.little else "big") != self.host.machine
        if ident[5] != (1 if self.host.little else 2):
            return None if self.traits.lenient and foreign else Refused(f"{place} has the other byte order")
        try:
            file = self.finder.file(entry)
        except ElfError as error:
            return None if foreign and ident[6] == 1 else Refused(error.message)
        assert file is not None
        if not tolerates(file, self.host):
            if self.traits.lenient and (not matches(file, self.host) or other_floats(file, self.host)):
                return None
            return Refused(f"{place} has another ABI")
        if not matches(file, self.host):
            return None
        if file.type not in (Type.DYN, Type.EXEC):
            return Refused(f"{place} can not be loaded: neither shared object nor executable")
        return Found(place, entry, file)

    def place(self, text: str, workdir: str) -> Place:
        """A directory of a search path: trailing slashes become one; "" stays and means the working directory."""
        if text.startswith("/"):
            known = self._places.get(text)
            if known is None:
                known = self._places[text] = self._place(text, workdir)
            return known
        return self._place(text, workdir)

    def _place(self, text: str, workdir: str) -> Place:
        written = text.rstrip("/") + "/" if text else ""
        return written, self.finder.directory(absolute(written, workdir).rstrip("/") or "/")

    def default(self, name: str, cpu: Cpu, inhibited: bool) -> tuple[Found | None, str, bool]:
        """ld.so.cache, then the trusted directories: (what, by which rule, varies by processor).

        Depends on nothing but the name, so it is remembered. `inhibited` is DF_1_NODEFLIB. Raises Refused.
        """
        key = (name, cpu, inhibited)
        known = self._defaults.get(key)
        if known is None:
            known = self._defaults[key] = self._default(name, cpu, inhibited)
        return known

    def _default(self, name: str, cpu: Cpu, inhibited: bool) -> tuple[Found | None, str, bool]:
        cached, varied = self.search_cache(name, cpu)
        if cached is not None and not (inhibited and cached.startswith(self.traits.trusted)):
            try:
                found = self.candidate(cached, "/")
            except Blocked:
                found = None
            if found is not None:
                return found, "ld.so.cache", varied
        if inhibited:
            return None, "", varied
        found, here = self.walk(name, self.trusted, cpu, "/")
        return found, "default", varied or here

    def walk(
        self, name: str, places: Sequence[Place], cpu: Cpu, workdir: str, setuid: bool = False
    ) -> tuple[Found | None, bool]:
        """Try a name in directories, in each one's variants first; with `setuid` only what is so itself counts.

        Raises Refused. Source: open_path in dl-load.c.
        """
        varied = False
        for written, directory in places:
            if directory.location is None:
                continue
            if directory.varied:
                varied = True
                prefixes = subdirectories(cpu, self.traits)
            else:
                if directory.names and name not in directory.names:
                    continue
                prefixes = ("",)
            for prefix in prefixes:
                if prefix:
                    below = self.finder.directory(f"{directory.location}/{prefix}".rstrip("/"))
                    if name not in below.names:
                        continue
                try:
                    found = self.candidate(f"{written}{prefix}{name}", workdir)
                except Blocked:
                    if prefix:
                        continue  # only the last attempt in a directory leaves its error behind
                    return None, varied
                if found is not None and (not setuid or found.entry.mode & 0o4000):
                    return found, varied
        return None, varied
