"""What musl's dynamic linker loads for one entry point.

No cache, no variants, no preload file, no machine check; short names dedupe and
SONAMEs do not count. Source: ldso/dynlink.c of 1.2 (load_library, path_open, fixup_rpath).
"""

from __future__ import annotations

import posixpath
import re

from slimmer.elf.file import Elf, ElfError, Tag, Type
from slimmer.elf.finder import Finder, absolute
from slimmer.elf.linkmap import LinkMap, LinkObject
from slimmer.elf.machine import machine_of
from slimmer.elf.model import Cpu, Found, Start
from slimmer.elf.symbols import defines
from slimmer.elf.traits import musl_search_path

RESERVED = re.compile(r"lib(?:c|pthread|rt|m|dl|util|xnet)\.")  # parts of musl itself
_ORIGIN = re.compile(r"\$(?:ORIGIN|\{ORIGIN\})")
MAX_PATH_FILE = 1 << 20


class Musl:
    """One ld-musl-ARCH.so.1 of a root."""

    def __init__(self, finder: Finder, interpreter: Elf, content: bytes) -> None:
        self.finder = finder
        self.host = interpreter
        self.machine = machine_of(interpreter)
        self.cpus: tuple[Cpu, ...] = (Cpu("baseline"),)
        self.warnings: tuple[str, ...] = ()
        self.arch, self.default = musl_search_path(content)

    def link(self, start: Start, interpreter: str, cpu: Cpu) -> LinkMap:
        """Everything that is loaded for this entry point before its first instruction runs."""
        links = LinkMap(start.path, start.file, posixpath.dirname(start.path))
        links.loader = LinkObject(interpreter, interpreter, self.host, None)
        links.reserve("linux-gate.so.1", LinkObject("linux-gate.so.1", "", self.host, None))
        run = _MuslWalk(self, start, interpreter, links)
        for name in re.split(r"[\s:]+", "" if start.secure else start.env.get("LD_PRELOAD", "")):
            if name and run.load(name, links.main, "preload from LD_PRELOAD", None) is None:
                links.miss(name, links.main, "not found")
        run.dependencies([links.main, *(each for each in links.objects if each.file is not self.host)])
        return links

    def dlopen(self, links: LinkMap, start: Start, cpu: Cpu, name: str) -> str | None:
        """Continue a link map as if its program had called dlopen with this name or path; says what path it got."""
        known = set(links.objects)
        run = _MuslWalk(self, start, links.loader.name, links)
        added = run.load(name, links.main, "dlopen", links.main)
        if added is None:
            return None
        if added not in known and added is not links.loader:
            run.dependencies([added])
        return added.path

    def system_path(self, interpreter: str, workdir: str) -> tuple[str, str]:
        """(search path, the file that gives it or ""), as load_library finds it from where the loader is."""
        if not self.arch:
            return self.default, ""
        prefix = posixpath.dirname(posixpath.dirname(interpreter)) if interpreter.startswith("/") else ""
        place = f"{'' if prefix == '/' else prefix}/etc/ld-musl-{self.arch}.path"
        entry = self.finder.entry(place)
        if entry is None:
            return self.default, ""
        text = self.finder.content(place, MAX_PATH_FILE).partition(b"\0")[0]
        return text.decode("utf-8", "surrogateescape"), place


class _MuslWalk:
    """One walk through one entry point's dependencies."""

    def __init__(self, loader: Musl, start: Start, interpreter: str, links: LinkMap) -> None:
        self.loader = loader
        self.start = start
        self.links = links
        self.interpreter = interpreter
        self.library_path = "" if start.secure else start.env.get("LD_LIBRARY_PATH", "")
        self.system, self.system_file = loader.system_path(interpreter, start.workdir)
        self._short: dict[str, LinkObject] = {}
        for each in links.objects:
            self._short.setdefault(each.path.rpartition("/")[2], each)

    def dependencies(self, queue: list[LinkObject]) -> None:
        """load_deps: breadth first over all objects in the order of their loading."""
        seen = set(queue)
        for current in queue:
            for tag, name in current.file.wants:
                if tag is not Tag.NEEDED:
                    continue
                added = self.load(name, current, "", current)
                if added is None:
                    self.links.miss(name, current, "not found")
                elif added not in seen and added.file is not self.loader.host:
                    seen.add(added)
                    queue.append(added)

    def load(self, name: str, requester: LinkObject, kind: str, needed_by: LinkObject | None) -> LinkObject | None:
        """load_library. None: it fails, and so does the program."""
        if not name:
            return None
        if RESERVED.match(name) or name == self.interpreter:
            return self._itself(name, requester)
        known = self.links.named(name) if name == "linux-gate.so.1" else None  # the kernel's own
        if known is not None:
            return known
        if "/" in name:
            found, rule = self._open(name), "path"
        else:
            if name in self._short:
                return self._short[name]
            found, rule = self._search(name, needed_by)
        if found is None:
            return None
        place = absolute(found.path, self.start.workdir)
        same = self.links.same(found)
        if same is not None:
            if "/" not in name:
                self._short.setdefault(same.path.rpartition("/")[2], same)
            self.links.alias(name, same, found, place, requester, rule)
            return same
        if found.file.type not in (Type.DYN, Type.EXEC) or not found.file.dynamic:
            return None
        if defines(self.loader.finder.root, found.entry, found.file, ("__libc_start_main", "stdin")):
            return self.load("libc.so", requester, kind, needed_by)  # a second libc is never mapped
        if rule == "default" and self.system_file:
            self.links.keep(self.system_file, requester, "the loader's search path")
        added = self.links.add(name, found, place, needed_by, kind or rule, requester)
        if "/" not in name:
            self._short[name] = added
        return added

    def _itself(self, name: str, requester: LinkObject) -> LinkObject:
        """libc and its parts are the loader; it is listed once for each name, as its own --list does."""
        loader = self.links.loader
        part = name.partition(".")[0]
        if part.startswith("lib") and name != self.interpreter and self.links.named(part) is None:
            listed = LinkObject(name, self.interpreter, self.loader.host, None)
            listed.requester, listed.rule = requester, "loader"
            self.links.reserve(part, listed)
            self.links.objects.append(listed)
        return loader

    def _open(self, path: str) -> Found | None:
        try:
            found = self.loader.finder.found(absolute(path, self.start.workdir))
        except ElfError:
            return None
        if found is None or found.file.bits != self.loader.host.bits or found.file.little != self.loader.host.little:
            return None
        return Found(path, found.entry, found.file)

    def _search(self, name: str, needed_by: LinkObject | None) -> tuple[Found | None, str]:
        if len(name) > 255:
            return None, ""
        steps: list[tuple[str, str]] = []
        if self.library_path:
            steps.append((self.library_path, "LD_LIBRARY_PATH"))
        each = needed_by
        while each is not None:
            text = each.file.runpath if each.file.runpath is not None else each.file.rpath
            kind = "runpath" if each.file.runpath is not None else "rpath"
            if text:
                steps.append((self._with_origin(text, each), f"{kind} of {each.shown}"))
            each = each.loader
        steps.append((self.system, "default"))
        for text, rule in steps:
            for directory in re.split("[:\n]+", text):
                if not directory:
                    continue
                path = f"{directory}/{name}"
                place = absolute(path, self.start.workdir)
                if self.loader.finder.entry(place) is not None:
                    return self._open(path), rule  # opened: what it is decides, nothing further is searched
                if self.loader.finder.blocked(place) and self._loops(place):
                    return None, ""
        return None, ""

    def _loops(self, place: str) -> bool:
        """ENOENT and ENOTDIR let the search go on, ELOOP does not."""
        return len(self.loader.finder.resolve(place).links) >= 40

    def _with_origin(self, text: str, owner: LinkObject) -> str:
        """fixup_rpath: `$ORIGIN` anywhere, any other `$` voids the whole path."""
        if "$" not in text:
            return text
        if _ORIGIN.sub("", text).count("$"):
            return ""
        if self.start.secure and owner is self.links.main:
            return ""
        return _ORIGIN.sub(lambda _: owner.origin or "/", text)
