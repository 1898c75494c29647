"""What a program's NEEDED entries never show: libraries that are loaded by name at run time. One small rule each.

| rule | level | when | what |
| --- | --- | --- | --- |
| gcc | recorded | something imports pthread_cancel, pthread_exit, backtrace | libgcc_s, which glibc dlopens for them |
| dlopen-note | recorded | `.note.dlopen` says required | the first of its sonames that is there |
| | reachable | … recommended | the same |
| | packages | … suggested | the same |
| nss | recorded | something looks up users, groups, hosts | nsswitch.conf |
| nss-modules | reachable | … | the modules that it names for these databases |
| gconv | reachable | something imports iconv_open | glibc's index of conversions; the modules at level packages |
| idn | packages | something imports getaddrinfo | libidn2, which glibc dlopens for AI_IDN |
| soname-text | reachable | an object imports dlopen and has the name of a library among its texts | the library, |
| | | | where its package says that it needs that library's; else only a warning |
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from slimmer.closure.binaries.needed import ElfRule, LoaderBox
from slimmer.closure.limits import BRINGS
from slimmer.closure.model import ClosureWarning, Level, Need, Reason, Rule, View
from slimmer.elf.dlopen import Priority, notes, soname_texts
from slimmer.elf.file import Elf, ElfError
from slimmer.elf.glibc import Glibc
from slimmer.root.model import Entry, FileType

UNWINDS = ("pthread_cancel", "pthread_exit", "backtrace", "thrd_exit")  # sysdeps/nptl/libc_unwind… dlopen LIBGCC_S_SO
LIBGCC = ("libgcc_s.so.1", "libgcc_s.so.4", "libgcc_s.so.2")  # everywhere; hppa; m68k
NSS_CONFIGURATION = "/etc/nsswitch.conf"
DATABASES: Mapping[str, tuple[str, ...]] = {
    "passwd": ("getpwnam", "getpwnam_r", "getpwuid", "getpwuid_r", "getpwent", "getpwent_r"),
    "group": ("getgrnam", "getgrnam_r", "getgrgid", "getgrgid_r", "getgrent", "getgrent_r", "getgrouplist"),
    "initgroups": ("initgroups", "getgrouplist"),
    "shadow": ("getspnam", "getspnam_r", "getspent"),
    "gshadow": ("getsgnam", "getsgnam_r", "getsgent"),
    "hosts": (
        *("getaddrinfo", "getnameinfo", "gethostbyname", "gethostbyname2", "gethostbyname_r", "gethostbyname2_r"),
        *("gethostbyaddr", "gethostbyaddr_r", "gethostent"),
    ),
    "services": ("getaddrinfo", "getnameinfo", "getservbyname", "getservbyname_r", "getservbyport", "getservent"),
    "protocols": ("getprotobyname", "getprotobyname_r", "getprotobynumber", "getprotoent"),
    "networks": ("getnetbyname", "getnetbyaddr", "getnetent"),
    "netgroup": ("innetgr", "setnetgrent"),
    "rpc": ("getrpcbyname", "getrpcbynumber"),
    "ethers": ("ether_ntohost", "ether_hostton"),
    "aliases": ("getaliasbyname", "getaliasent"),
}
VENDORED = re.compile(r"(.+)-[0-9a-f]{8}\.so\b")
BUILT_IN = frozenset({"files", "dns"})  # of libc itself since 2.34


class ImportRule(Rule):
    """A rule that is set off by what kept objects import. Subclasses say which symbols, and what follows."""

    symbols: tuple[str, ...] = ()

    def __init__(self, box: LoaderBox | None = None) -> None:
        self._box = box or LoaderBox()

    def visit(self, entry: Entry, view: View) -> Iterator[Need]:
        if entry.type is not FileType.FILE:
            return
        loader = self._box.of(view)
        try:
            file = loader.finder.file(entry)
            if file is None or not file.dynamic or not file.wants:
                return
            used = self._box.imported(entry, file, view) & frozenset(self.symbols)
        except ElfError:
            return  # ElfRule tells of it
        if used:
            yield from self.found(entry, file, used, view)

    def found(self, entry: Entry, file: Elf, used: frozenset[str], view: View) -> Iterable[Need]:
        """What follows from an object that imports these: nothing, unless a subclass says so. May raise ElfError."""
        return ()

    def library(self, name: str, entry: Entry, text: str, view: View) -> Iterator[Need]:
        """A library by name with its closure, as dlopen called by that object would find it."""
        loader = self._box.of(view)
        got = loader.dlopen(name, entry.path)
        if got is None:
            return
        path, resolved = got
        yield Need(path, Reason(self.name, f"{text} by {entry.path}", entry.path))
        for kept in resolved.kept:
            if kept.path != path:
                yield Need(kept.path, Reason(self.name, f"needed by {kept.needed_by} ({kept.text})", kept.needed_by))


class GccRule(ImportRule):
    """glibc loads libgcc_s by name to unwind a thread's stack, and aborts the program when it is not there."""

    name = "gcc"
    level = Level.RECORDED
    symbols = UNWINDS

    def found(self, entry: Entry, file: Elf, used: frozenset[str], view: View) -> Iterator[Need]:
        if self._box.glibc(file, view) is None or any(name in LIBGCC for name in file.needed):
            return
        for name in LIBGCC:
            needs = list(self.library(name, entry, f"loaded for {sorted(used)[0]}", view))
            if needs:
                yield from needs
                return


class NoteRule(Rule):
    """`.note.dlopen`: what an object itself says it may load. Made once for each priority."""

    LEVELS: Mapping[Priority, Level] = {
        Priority.REQUIRED: Level.RECORDED,
        Priority.RECOMMENDED: Level.REACHABLE,
        Priority.SUGGESTED: Level.PACKAGES,
    }

    def __init__(self, priority: Priority, box: LoaderBox | None = None) -> None:
        self._priority = priority
        self._imports = ImportRule(box)
        self.name = self._imports.name = "dlopen-note"
        self.level = self.LEVELS[priority]
        self._box = self._imports._box

    def visit(self, entry: Entry, view: View) -> Iterator[Need]:
        if entry.type is not FileType.FILE:
            return
        try:
            file = self._box.of(view).finder.file(entry)
            found = notes(view.root, entry, file) if file is not None else ()
        except ElfError as error:
            view.warn(ClosureWarning("unsound-elf", entry.path, error.message, 20))
            return
        for note in found:
            if note.priority is not self._priority:
                continue
            text = f"{note.priority.value}{f' for {note.feature}' if note.feature else ''}, says its note,"
            for soname in note.sonames:
                needs = list(self._imports.library(soname, entry, text, view))
                if needs:
                    yield from needs
                    break


class NssRule(ImportRule):
    """nsswitch.conf says where users, groups and hosts are looked up; without it libc's defaults apply."""

    name = "nss"
    level = Level.RECORDED
    symbols = tuple(sorted({symbol for symbols in DATABASES.values() for symbol in symbols}))

    def found(self, entry: Entry, file: Elf, used: frozenset[str], view: View) -> Iterator[Need]:
        if self._box.glibc(file, view) is not None and not _is_libc(file):
            yield Need(NSS_CONFIGURATION, Reason(self.name, f"{entry.path} calls {sorted(used)[0]}", entry.path))


class NssModulesRule(NssRule):
    """The modules that nsswitch.conf names for the databases in use, as far as the root has them."""

    name = "nss-modules"
    level = Level.REACHABLE

    def found(self, entry: Entry, file: Elf, used: frozenset[str], view: View) -> Iterator[Need]:
        loader = self._box.glibc(file, view)
        if loader is None or _is_libc(file):
            return
        configuration = self._box.of(view).finder.content(NSS_CONFIGURATION, 1 << 20)
        for database, services in sources(configuration.decode("utf-8", "surrogateescape")).items():
            if used.isdisjoint(DATABASES.get(database, ())):
                continue
            for service in services:
                if service not in BUILT_IN or loader.traits.release < (2, 34):
                    text = f"source of {database} in {NSS_CONFIGURATION}, used"
                    yield from self.library(f"libnss_{service}.so.2", entry, text, view)


class GconvRule(ImportRule):
    """iconv's index of conversions; what is not built into libc is in modules, of which the recorded ones stay."""

    name = "gconv"
    level = Level.REACHABLE
    symbols = ("iconv_open",)
    MODULES = re.compile(r"gconv-modules(\.cache|\.d)?$")

    def found(self, entry: Entry, file: Elf, used: frozenset[str], view: View) -> Iterator[Need]:
        loader = self._box.glibc(file, view)
        if loader is None or _is_libc(file):
            return
        for directory in self._directories(loader, view):
            for name in view.root.children(directory):
                if self.MODULES.match(name):
                    reason = Reason(self.name, f"{entry.path} converts character sets", entry.path)
                    yield Need(f"{directory}/{name}", reason, tree=True)
            yield from self._modules(directory, entry, view)

    def _directories(self, loader: Glibc, view: View) -> Iterator[str]:
        seen = set()
        for trusted in loader.traits.trusted:
            found = view.root.find(f"{trusted}gconv")
            if found is not None and found.type is FileType.DIRECTORY and found.path not in seen:
                seen.add(found.path)
                yield found.path

    def _modules(self, directory: str, entry: Entry, view: View) -> Iterable[Need]:
        text = "character sets other than UTF-8, UTF-16, UTF-32 and ASCII are in modules; only recorded ones stay"
        view.warn(ClosureWarning("gconv", directory, text, 20))
        return ()


class GconvModulesRule(GconvRule):
    """All conversions, for who keeps whole packages."""

    level = Level.PACKAGES

    def _modules(self, directory: str, entry: Entry, view: View) -> Iterable[Need]:
        yield Need(directory, Reason(self.name, f"{entry.path} converts character sets", entry.path), tree=True)


class IdnRule(ImportRule):
    """libidn2 turns international host names into ASCII, when a caller asks getaddrinfo for it (AI_IDN)."""

    name = "idn"
    level = Level.PACKAGES
    symbols = ("getaddrinfo", "getnameinfo")

    def found(self, entry: Entry, file: Elf, used: frozenset[str], view: View) -> Iterator[Need]:
        if self._box.glibc(file, view) is not None and not _is_libc(file):
            yield from self.library("libidn2.so.0", entry, f"loaded for {sorted(used)[0]} with AI_IDN", view)


class SonameTextRule(ImportRule):
    """Names of libraries among the texts of an object that imports dlopen: it might load them.

    Where its package depends on the library's, or recommends it, somebody has seen that it does (the Java
    runtime and fontconfig); else, or where the library would bring much, it is a warning, no more.
    """

    name = "soname-text"
    level = Level.REACHABLE
    symbols = ("dlopen", "dlmopen")

    def __init__(self, box: LoaderBox | None = None) -> None:
        super().__init__(box)
        self._maybe: dict[tuple[str, str], str] = {}  # (object, name) → canonical path
        self._declared: dict[tuple[str, str], Entry] = {}  # those of them that a package declares: the object

    def found(self, entry: Entry, file: Elf, used: frozenset[str], view: View) -> Iterable[Need]:
        loader = self._box.of(view)
        vendored = set(_vendored(entry.path, view))
        for name in soname_texts(view.root, entry, file):
            if name.partition(".so")[0] in vendored:
                continue
            got = loader.dlopen(name, entry.path)
            target = loader.finder.entry(got[0]) if got is not None else None
            if target is not None:
                self._maybe[entry.path, name] = target.path
                if _declares(entry.path, target.path, view):
                    self._declared[entry.path, name] = entry
        return ()

    def settle(self, view: View) -> Iterator[Need]:
        for (_, name), entry in sorted(self._declared.items(), key=lambda item: item[0]):
            needs = list(self.library(name, entry, f"loaded by its name {name}, as their packages say,", view))
            targets = {found.path: found.size for need in needs if (found := view.root.find(need.path))}
            if sum(size for target, size in targets.items() if target not in view.kept) <= BRINGS:
                yield from needs
        self._declared.clear()
        for (path, name), target in self._maybe.items():
            if target not in view.kept:
                text = f"might load {name} ({target}), which was not recorded and is not kept"
                view.warn(ClosureWarning("dlopen-string", path, text, 35))


def library_rules(*, cpu: str | None = None) -> tuple[Rule, ...]:
    """ElfRule and all rules of this module, with one loader between them."""
    box = LoaderBox(cpu)
    return (
        ElfRule(box=box),
        GccRule(box),
        *(NoteRule(priority, box) for priority in Priority),
        NssRule(box),
        NssModulesRule(box),
        GconvRule(box),
        GconvModulesRule(box),
        IdnRule(box),
        SonameTextRule(box),
    )


def sources(configuration: str) -> dict[str, tuple[str, ...]]:
    """nsswitch.conf: the sources of each database, in order. Source: nsswitch.conf(5); actions are in brackets."""
    found: dict[str, tuple[str, ...]] = {}
    for line in configuration.splitlines():
        database, colon, rest = line.partition("#")[0].partition(":")
        if colon:
            words = re.sub(r"\[[^\]]{0,200}\]", " ", rest).split()
            found[database.strip()] = tuple(word for word in words if re.fullmatch(r"[A-Za-z0-9_-]+", word))
    return found


def _declares(path: str, library: str, view: View) -> bool:
    """Whether the package of an object names the package of a library as one that it needs or wants."""
    owner, other = view.packages.owner(path), view.packages.owner(library)
    if owner is None or other is None:
        return False
    return other.name in view.packages.depends(owner) or other.name in view.packages.recommends(owner)


def _vendored(path: str, view: View) -> Iterator[str]:
    """Names before `.so` of the libraries that a wheel brings under others, beside one of them.

    auditwheel (repair.py, copylib) renames libfoo.so.1 to libfoo-1a2b3c4d.so.1; the former names stay behind as
    texts, and nothing asks for them.
    """
    directory, _, own = path.rpartition("/")
    if VENDORED.match(own):
        for name in view.root.children(directory):
            if found := VENDORED.match(name):
                yield found[1]


def _is_libc(file: Elf) -> bool:
    return (file.soname or "").startswith(("libc.so", "ld-", "ld.so", "ld64"))
