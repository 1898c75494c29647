"""What glibc's ld.so loads for one entry point: its search, rule by rule.

One `LinkMap` per entry point, breadth first; files are parsed once, nothing that was
found for one entry point is believed for another. Sources, release 2.36: elf/rtld.c
(preload, audit), elf/dl-deps.c (order, FILTER), elf/dl-load.c (search), elf/dl-cache.c.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from slimmer.elf.file import DF_1_NODEFLIB, DF_1_PIE, PT_LOAD, Tag, Type
from slimmer.elf.finder import absolute
from slimmer.elf.glibc_search import Blocked, Place, Refused, Search
from slimmer.elf.linkmap import LinkMap, LinkObject
from slimmer.elf.model import Cpu, Found, Start
from slimmer.elf.tokens import count_tokens, expand

SECURE_LIMIT = 4096  # SECURE_PATH_LIMIT, SECURE_NAME_LIMIT is 255
_COMMENT = re.compile(r"#[^\n]*")


class _GlibcWalk:
    """One walk through one entry point's dependencies."""

    def __init__(self, loader: Search, start: Start, cpu: Cpu, links: LinkMap) -> None:
        self.loader = loader
        self.start = start
        self.cpu = cpu
        self.links = links
        self.secure = start.secure
        self._paths: dict[tuple[LinkObject, Tag], list[Place]] = {}
        self.mirrored: frozenset[str | None] = frozenset()  # names of the loader that a name space has to find first
        library_path = "" if self.secure else start.env.get("LD_LIBRARY_PATH", "")
        # _dl_init_paths: elements are the main program's as far as $ORIGIN goes
        self.library_path = self._split(library_path, ":;", links.main) if library_path else []

    # -- what is loaded, in which order

    def preloads(self) -> None:
        """LD_PRELOAD, then /etc/ld.so.preload. What can not be preloaded is ignored with a warning (rtld.c)."""
        for name in re.split("[ :]", self.start.env.get("LD_PRELOAD", "")):
            if name and len(name) < SECURE_LIMIT and not (self.secure and ("/" in name or len(name) >= 255)):
                self._preload(name, "LD_PRELOAD")
        listing = self.loader.finder.content(self.loader.traits.preload, 1 << 20)
        if listing:
            text = _COMMENT.sub(" ", listing.decode("utf-8", "surrogateescape"))
            self.links.keep(self.loader.traits.preload, self.links.main, "names libraries to preload")
            for name in re.split("[: \t\n]", text):
                if name:
                    self._preload(name, self.loader.traits.preload)

    def _preload(self, name: str, origin: str) -> None:
        self.load(name, self.links.main, f"preload from {origin}", optional=True, preload=True)

    def audits(self, interpreter: str) -> None:
        """LD_AUDIT, DT_AUDIT, DT_DEPAUDIT of the program, each in a name space of its own (load_audit_modules)."""
        named = (self.start.env.get("LD_AUDIT", ""), self.start.file.audit or "", self.start.file.depaudit or "")
        for name in (name for text in named for name in text.split(":")):
            if not name or len(name) >= SECURE_LIMIT or (self.secure and ("/" in name or len(name) >= 255)):
                continue
            main = self.links.main
            space = LinkMap(self.start.path, self.start.file, main.origin or "/")
            space.main, space.loader = main, self.links.loader
            run = _GlibcWalk(self.loader, self.start, self.cpu, space)
            run.mirrored = frozenset({interpreter, self.loader.soname})
            added = run.load(name, space.loader, "audit", optional=True, audit=True)
            if added is not None:
                run.dependencies([added])
            self.links.varied |= space.varied
            if added is None or space.missing:
                lost = ", ".join(each.name for each in space.missing) or "it is not there"
                self.links.warnings.append(f"audit module {name} can not be loaded ({lost}); the loader ignores it")
            else:
                self.links.absorb(space)

    def dependencies(self, queue: list[LinkObject]) -> None:
        """Breadth first; filtees come right after who names them. Source: _dl_map_object_deps in dl-deps.c."""
        seen = set(queue)
        position = 0
        while position < len(queue):
            current = queue[position]
            position += 1
            inserted = position
            for tag, text in current.file.wants:
                name = text
                if "$" in text:
                    expanded = self._expand_wanted(text, current)
                    if expanded is None:
                        continue
                    name = expanded
                if tag is Tag.NEEDED:
                    added = self.load(name, current, "")
                    if added is not None and added not in seen:
                        seen.add(added)
                        queue.append(added)
                    continue
                kind = "filter" if tag is Tag.FILTER else "auxiliary"
                added = self.load(name, current, kind, optional=tag is Tag.AUXILIARY)
                if added is None:
                    continue
                if added not in seen:
                    seen.add(added)
                    queue.insert(inserted, added)
                    inserted += 1
                elif added in queue[position:]:
                    at = queue.index(added, position)
                    if at >= inserted:
                        queue.insert(inserted, queue.pop(at))
                        inserted += 1
                self.links.move_before(added, current)

    def _expand_wanted(self, text: str, requester: LinkObject) -> str | None:
        """Tokens of NEEDED, FILTER, AUXILIARY (expand_dst in dl-deps.c); None: this entry is passed over."""
        if not count_tokens(text):
            return text
        if self.secure:
            self.links.miss(text, requester, "tokens are not allowed in setuid programs")
            return None
        return self.expand(text, requester) or None

    def load(
        self,
        name: str,
        requester: LinkObject,
        kind: str,
        *,
        optional: bool = False,
        preload: bool = False,
        audit: bool = False,
        detached: bool = False,
    ) -> LinkObject | None:
        """_dl_map_object: one name, known or searched. None when there is nothing, which is noted as missing."""
        known = self.links.named(name)
        if known is not None:
            return known
        try:
            found, rule = self.search(name, requester, trusted_only=(preload or audit) and self.secure, audit=audit)
            if found is None:
                raise Refused("not found")
            if name in self.mirrored:  # found like any other, then known to be the loader that there already is
                self.links.keep(absolute(found.path, self.start.workdir), requester, f"{name}, {rule}")
                self.links.reserve(name, self.links.loader)
                return self.links.loader
            return self.adopt(name, found, None if audit or detached else requester, rule, requester, kind)
        except Refused as refusal:
            if preload:
                self.links.warnings.append(f"{name} can not be preloaded ({refusal}); the loader ignores it")
            elif not optional:
                self.links.miss(name, requester, str(refusal))
            return None

    def adopt(
        self, name: str, found: Found, loader: LinkObject | None, rule: str, requester: LinkObject, kind: str = ""
    ) -> LinkObject | None:
        """_dl_map_object_from_fd: the same file is the same object; what can not be mapped is refused."""
        links = self.links
        same = links.same(found, requester)
        if same is not None:
            links.alias(name, same, found, absolute(found.path, self.start.workdir), requester, rule)
            return same
        file = found.file
        if not any(each.type == PT_LOAD for each in file.segments):
            raise Refused(f"{found.path} has no loadable segments")
        if file.type != Type.DYN or file.flags_1 & DF_1_PIE:
            raise Refused(f"{found.path} is an executable")
        if not file.dynamic:
            raise Refused(f"{found.path} has no dynamic section")
        whole = f"{kind}, {rule}" if kind in ("filter", "auxiliary", "dlopen") and rule else kind or rule
        return links.add(name, found, absolute(found.path, self.start.workdir), loader, whole, requester)

    # -- where a name is searched

    def search(
        self, name: str, requester: LinkObject, *, trusted_only: bool = False, audit: bool = False
    ) -> tuple[Found | None, str]:
        """The file for a name and the step that found it. Raises Refused. Source: _dl_map_object in dl-load.c."""
        workdir = self.start.workdir
        if "/" in name:
            path = self.expand(name, requester) if "$" in name else name
            try:
                return (self.loader.candidate(path, workdir) if path else None), "path"
            except Blocked:
                return None, ""
        for places, rule in self._steps(requester, audit):
            found, varied = self.loader.walk(name, places, self.cpu, workdir, trusted_only)
            self.links.varied |= varied
            if found is not None:
                return found, rule
        inhibited = bool(requester.file.flags_1 & DF_1_NODEFLIB) and requester is not self.links.loader
        if trusted_only:  # __RTLD_SECURE: no cache, and only what is itself setuid
            if inhibited:
                return None, ""
            return self.loader.walk(name, self.loader.trusted, self.cpu, workdir, True)[0], "default"
        found, rule, varied = self.loader.default(name, self.cpu, inhibited)
        self.links.varied |= varied
        return found, rule

    def _steps(self, requester: LinkObject, audit: bool) -> Iterator[tuple[list[Place], str]]:
        main = self.links.main
        if requester.file.runpath is None:
            each: LinkObject | None = requester
            met_main = False
            while each is not None:
                if each.file.rpath:
                    met_main |= each is main
                    yield self._path_of(each, Tag.RPATH), f"rpath of {each.shown}"
                each = each.loader
            if not met_main and main.file.rpath:
                yield self._path_of(main, Tag.RPATH), f"rpath of {main.shown}"
            if audit and not met_main and main.file.runpath:
                yield self._path_of(main, Tag.RUNPATH), f"runpath of {main.shown}"
        if self.library_path:
            yield self.library_path, "LD_LIBRARY_PATH"
        if requester.file.runpath:
            yield self._path_of(requester, Tag.RUNPATH), f"runpath of {requester.shown}"

    def _path_of(self, owner: LinkObject, tag: Tag) -> list[Place]:
        key = (owner, tag)
        known = self._paths.get(key)
        if known is None:
            text = (owner.file.rpath if tag is Tag.RPATH else owner.file.runpath) or ""
            known = self._paths[key] = self._split(text, ":", owner)
        return known

    def _split(self, text: str, separators: str, owner: LinkObject) -> list[Place]:
        """fillin_rpath: elements whose tokens have no value fall away; an empty one is the working directory."""
        places: dict[str, Place] = {}
        for element in re.split(f"[{separators}]", text):
            path = element
            if "$" in element:
                path = self.expand(element, owner)
                if not path:
                    continue
            place = self.loader.place(path, self.start.workdir)
            places.setdefault(place[0], place)
        return list(places.values())

    def expand(self, text: str, owner: LinkObject) -> str:
        """Tokens of one path, "" when one has no value or security forbids it."""
        if "PLATFORM" in text and len(self.loader.machine.platforms) > 1:
            self.links.varied = True
        return expand(
            text,
            origin=owner.origin,
            lib=self.loader.traits.lib,
            platform=self.cpu.platform,
            secure=self.secure,
            trusted=self.loader.traits.trusted if owner is self.links.main else None,
        )


class Glibc(Search):
    """One ld.so of a root. `interpreter` is the loader itself, or a stand-in when it is missing from the root."""

    def link(self, start: Start, interpreter: str, cpu: Cpu) -> LinkMap:
        """Everything that is loaded for this entry point before its first instruction runs."""
        links = LinkMap(start.path, start.file, posixpath.dirname(start.path))
        main = links.main
        links.reserve("", main)
        links.reserve(self.machine.vdso, LinkObject(self.machine.vdso, "", self.host, None))
        links.loader = LinkObject(interpreter, "", self.host, None)
        links.loader.origin = main.origin  # dl-dst.h, DL_DST_REQUIRED
        for name in (interpreter, self.soname):
            if name is not None:
                links.reserve(name, links.loader)
        if start.file.soname is not None:
            links.reserve(start.file.soname, main)
        run = _GlibcWalk(self, start, cpu, links)
        run.audits(interpreter)
        run.preloads()
        run.dependencies([main, *links.objects])
        return links

    def dlopen(self, links: LinkMap, start: Start, cpu: Cpu, name: str) -> str | None:
        """Continue a link map as if its program had called dlopen with this name or path; says what path it got."""
        run = _GlibcWalk(self, start, cpu, links)
        added = run.load(name, links.main, "dlopen", optional=True, detached=True)
        if added is None:
            return None
        if added.rule.startswith("dlopen"):
            run.dependencies([added])
        return added.path
