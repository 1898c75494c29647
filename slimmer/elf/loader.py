"""The front of this folder: one entry point of a root in, what its loader would load out.

    loader = Loader(root)
    loader.closure("/usr/sbin/nginx", env={"LD_LIBRARY_PATH": "/opt/lib"})

Which loader's rules apply is read from the program interpreter's own bytes, so a
foreign architecture, a patched search path or a moved loader need no table.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from slimmer.elf.dlopen import Priority, notes
from slimmer.elf.file import Elf, ElfError
from slimmer.elf.finder import Finder
from slimmer.elf.glibc import Glibc
from slimmer.elf.linkmap import LinkMap
from slimmer.elf.machine import Machine, machine_of
from slimmer.elf.model import Cpu, Kept, Libc, Load, Missing, Resolved, Start
from slimmer.elf.musl import Musl
from slimmer.elf.traits import MAX_LOADER, libc_of
from slimmer.errors import SlimmerError
from slimmer.root.model import Entry, FileType, Root

__all__ = ["Kept", "Libc", "Load", "Loader", "Missing", "Resolved"]


INTERPRETER = "program interpreter"
LEVEL = re.compile(r"(x86-64-v|power|z|la64v)\d[\d.]*(\+\w+)?")


class Linker(Protocol):
    """One program interpreter's rules."""

    machine: Machine
    cpus: tuple[Cpu, ...]
    warnings: tuple[str, ...]

    def link(self, start: Start, interpreter: str, cpu: Cpu) -> LinkMap: ...

    def dlopen(self, links: LinkMap, start: Start, cpu: Cpu, name: str) -> str | None: ...


class Loader:
    """The loaders of one root. Parsed files are remembered between calls, resolutions are not.

    `cpu` pins the kind of processor ("baseline", "x86-64-v3", "power10", …); without it
    every variant that some processor would load is part of the closure.
    """

    def __init__(self, root: Root, *, cpu: str | None = None) -> None:
        self.root = root
        self.finder = Finder(root)
        self._cpu = cpu
        self._linkers: dict[str, tuple[Linker, Libc] | None] = {}
        self._hosts: dict[tuple[object, ...], LinkMap] = {}

    def parse(self, path: str) -> Elf | None:
        """The parsed file at a path (links followed); None when there is none or it is not ELF. Raises ElfError."""
        entry = self.finder.entry(path)
        return self.finder.file(entry) if entry is not None else None

    def closure(
        self,
        path: str,
        *,
        env: Mapping[str, str] | None = None,
        secure: bool | None = None,
        workdir: str = "/",
        host: str | None = None,
    ) -> Resolved | None:
        """Everything that is loaded for the entry point at `path`; None when nothing there is ELF.

        `secure` is the kernel's AT_SECURE; None: as the file's mode and capabilities say.
        A shared object is resolved on its own (as `ld.so FILE` would), or, with `host`, as
        if the program at that path had dlopened it: then `loads` holds only what that adds.
        Raises ElfError for an unsound file, SlimmerError when there is no file.
        """
        entry = self.finder.entry(path)
        if entry is None:
            raise SlimmerError(f"{self.root.name}: nothing is at {path}")
        file = self.finder.file(entry)
        if file is None:
            return None
        start = Start(
            file=file,
            path=entry.path if file.interpreter is not None else posixpath.join(workdir, path),
            env=env or {},
            secure=self.secure(entry) if secure is None else secure,
            workdir=workdir,
        )
        if host is not None and file.interpreter is None:
            added = self._within(host, file, path, start)
            if added is not None:
                return replace(added[0], loads=tuple(load for load in added[0].loads if load.path != path))
        name = file.interpreter or self._usual_interpreter(file)
        machine = machine_of(file)
        if name is None:
            return Resolved(path, machine.name, None, None)
        linker = self._linker(name, workdir)
        if linker is None:
            return self._without_loader(path, file, machine, name)
        chosen, libc = linker
        links = self._all_links(chosen, start, name)
        return self._answer(path, entry, file, chosen, libc, name, links)

    def dlopen(
        self, name: str, host: str, *, env: Mapping[str, str] | None = None, workdir: str = "/"
    ) -> tuple[str, Resolved] | None:
        """What the program or shared object at `host` gets for dlopen(name): the path, and all that it adds.

        None when the name is not found, or nothing at `host` can load anything.
        """
        entry = self.finder.entry(host)
        file = self.finder.file(entry) if entry is not None else None
        if entry is None or file is None:
            return None
        added = self._within(host, file, name, Start(file, entry.path, env or {}, False, workdir))
        return None if added is None or added[1] is None else (added[1], added[0])

    def with_notes(
        self, resolved: Resolved, lowest: Priority, *, env: Mapping[str, str] | None = None, workdir: str = "/"
    ) -> Resolved:
        """The closure and what the `.note.dlopen` of its objects ask for, down to this priority.

        A note whose sonames are all absent is missing only when it is required. Raises ElfError.
        """
        wanted = list(Priority)[: list(Priority).index(lowest) + 1]
        loads = {load.path: load for load in resolved.loads}
        kept = {each.path: each for each in resolved.kept}
        missing = list(resolved.missing)
        queue = [resolved.file, *loads]
        for path in queue:
            entry = self.finder.entry(posixpath.join(workdir, path))
            file = self.finder.file(entry) if entry is not None else None
            for note in notes(self.root, entry, file) if entry is not None and file is not None else ():
                if note.priority not in wanted:
                    continue
                for soname in note.sonames:
                    got = self.dlopen(soname, resolved.file, env=env, workdir=workdir)
                    if got is not None:
                        break
                else:
                    if note.priority is Priority.REQUIRED:
                        missing.append(Missing(note.sonames[0], path, "required by a note"))
                    continue
                for each in got[1].kept:
                    kept.setdefault(each.path, each)
                for load in got[1].loads:
                    if load.path not in loads:
                        rule = f"note ({note.priority.value})" if load.path == got[0] else load.rule
                        by = path if load.path == got[0] else load.needed_by
                        loads[load.path] = replace(load, rule=rule, needed_by=by)
                        queue.append(load.path)
        return replace(resolved, loads=tuple(loads.values()), missing=tuple(missing), kept=tuple(kept.values()))

    def linker(self, file: Elf, workdir: str = "/") -> Linker | None:
        """The rules that a file's loading follows; None for static files, and where the root has no such loader."""
        name = file.interpreter or self._usual_interpreter(file)
        found = self._linker(name, workdir) if name is not None else None
        return found[0] if found is not None else None

    def secure(self, entry: Entry) -> bool:
        """Whether an ordinary user's exec of this file sets AT_SECURE. Source: security/commoncap.c, fs/exec.c."""
        if entry.mode & 0o4000 or entry.mode & 0o2010 == 0o2010:
            return True
        return "security.capability" in self.root.xattrs(entry.path)

    def _all_links(self, linker: Linker, start: Start, name: str) -> list[LinkMap]:
        """One link map, and one for each further kind of processor when that could matter."""
        if self._cpu is not None:
            return [linker.link(start, name, self._pinned(linker))]
        links = [linker.link(start, name, linker.cpus[0])]
        if links[0].varied:
            links += [linker.link(start, name, each) for each in linker.cpus[1:]]
        return links

    def _pinned(self, linker: Linker) -> Cpu:
        for each in linker.cpus:
            if each.name == self._cpu:
                return each
        known = ", ".join(each.name for each in linker.cpus)
        if self._cpu is not None and LEVEL.fullmatch(self._cpu):
            return linker.cpus[0]  # a level of another architecture, or one that this loader does not know yet
        raise SlimmerError(f"the loader for {linker.machine.name} knows no processor {self._cpu}", f"known: {known}")

    def _answer(
        self, path: str, entry: Entry, file: Elf, linker: Linker, libc: Libc, name: str, links: Sequence[LinkMap]
    ) -> Resolved:
        loads: dict[str, Load] = {}
        kept: dict[str, Kept] = {}
        missing = list(links[0].missing)
        if file.interpreter is not None:
            kept[name] = Kept(name, entry.path, INTERPRETER)
        warnings = list(linker.warnings)
        for each in links:
            for load in each.loads():
                loads.setdefault(load.path, load)
            for where, what in each.kept.items():
                kept.setdefault(where, what)
            warnings += [warning for warning in each.warnings if warning not in warnings]
            missing = [one for one in missing if one in each.missing]
        if file.interpreter is None:
            name_shown = None
        else:
            name_shown = name
            loads = {key: load for key, load in loads.items() if libc is Libc.MUSL or load.path != name}
        return Resolved(
            file=path,
            arch=linker.machine.name,
            libc=libc,
            interpreter=name_shown,
            loads=tuple(_shown(load, entry.path, path) for load in loads.values()),
            missing=tuple(replace(one, needed_by=path) if one.needed_by == entry.path else one for one in missing),
            kept=tuple(kept.values()),
            warnings=tuple(warnings),
        )

    def _within(self, host: str, file: Elf, name: str, start: Start) -> tuple[Resolved, str | None] | None:
        """dlopen(name) in the context of a program; None when it can not be the host of files like `file`."""
        entry = self.finder.entry(host)
        if entry is None:
            return None
        try:
            program = self.finder.file(entry)
        except ElfError:
            return None
        if program is None or machine_of(program).name != machine_of(file).name:
            return None
        interpreter = program.interpreter or self._usual_interpreter(program)
        linker = self._linker(interpreter, start.workdir) if interpreter is not None else None
        if linker is None or interpreter is None:
            return None
        chosen, libc = linker
        got: str | None = None
        base = Start(program, entry.path, start.env, self.secure(entry), start.workdir)
        cpus = [self._pinned(chosen)] if self._cpu is not None else list(chosen.cpus)
        results: list[LinkMap] = []
        before: set[str] = set()
        for cpu in cpus:
            key = (entry.path, tuple(sorted(start.env.items())), start.workdir, cpu)
            links = self._hosts.get(key)
            if links is None:
                links = self._hosts[key] = chosen.link(base, interpreter, cpu)
            grown = links.copy()
            grown.missing, grown.kept = [], {}
            before |= {load.path for load in links.loads()}
            path = chosen.dlopen(grown, base, cpu, name)
            got = got or path
            results.append(grown)
            if not grown.varied:
                break
        answer = self._answer(host, entry, program, chosen, libc, interpreter, results)
        kept = tuple(each for each in answer.kept if each.text != INTERPRETER)
        return replace(answer, loads=tuple(load for load in answer.loads if load.path not in before), kept=kept), got

    def _linker(self, name: str, workdir: str) -> tuple[Linker, Libc] | None:
        place = posixpath.join(workdir, name)
        try:
            return self._linkers[place]
        except KeyError:
            made = self._linkers[place] = self._make_linker(place)
            return made

    def _make_linker(self, place: str) -> tuple[Linker, Libc] | None:
        try:
            found = self.finder.found(place)
        except ElfError:
            found = None
        if found is None:
            return None
        content = self.finder.content(place, MAX_LOADER)
        libc = libc_of(content, found.entry.path)
        if libc is Libc.MUSL:
            return Musl(self.finder, found.file, content), libc
        # glibc's rules are the System V ones and the best guess for a loader that nobody knows
        return Glibc(self.finder, found.file, content), libc or Libc.GLIBC

    def _without_loader(self, path: str, file: Elf, machine: Machine, name: str) -> Resolved:
        """The program interpreter is not there: the kernel refuses to start the program at all."""
        missing = [Missing(name, path, "the program interpreter is not there")] if file.interpreter else []
        return Resolved(path, machine.name, libc_of(b"", name), file.interpreter, (), tuple(missing))

    def _usual_interpreter(self, file: Elf) -> str | None:
        """For an object without PT_INTERP that needs others: the loader of its architecture that this root has."""
        if not file.wants or not file.dynamic:
            return None
        musl = any(name == "libc.so" or name.startswith("libc.musl-") for name in file.needed)
        found = [name for name in machine_of(file).loaders if self.finder.entry(name) is not None]
        preferred = [name for name in found if ("/ld-musl-" in name) == musl]
        return next(iter(preferred or found), None)


def executable(entry: Entry) -> bool:
    """Whether a file is one that `--all` looks at."""
    return entry.type is FileType.FILE and entry.executable


def _shown(load: Load, canonical: str, path: str) -> Load:
    return replace(load, needed_by=path) if load.needed_by == canonical else load
