"""Programs bring their interpreter and exact library closure; dlopened objects theirs, as their hosts would find it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from slimmer.closure.limits import LOOKED_AT
from slimmer.closure.model import ClosureWarning, Level, Need, Reason, Rule, View
from slimmer.elf.dlopen import text_table
from slimmer.elf.file import Elf, ElfError
from slimmer.elf.glibc import Glibc
from slimmer.elf.loader import Loader, Resolved
from slimmer.elf.symbols import imports
from slimmer.root.model import Entry, FileType
from tracer.recording import Kind

SEEN = frozenset({Kind.STAT, Kind.LINK})
FAINT = frozenset({"recorded", "link", "directory", "licence"})  # reasons that say no more than that it is there
LOADER_VARIABLES = ("LD_AUDIT", "LD_LIBRARY_PATH", "LD_PRELOAD")

Context = tuple[tuple[tuple[str, str], ...], str]  # the loader's variables, sorted; the working directory


WATCHED = (
    "(?:pthread_cancel|pthread_exit|backtrace|thrd_exit|dlopen|dlmopen|iconv_open|initgroups|innetgr|setnetgrent"
    "|get[a-z0-9_]{2,16}|ether_[a-z]+)"
)
_MAYBE = re.compile(WATCHED.encode() + rb"\0")  # linkers let a name be the end of another
_WATCHED = re.compile(WATCHED)


class LoaderBox:
    """The one Loader that the rules of a closure share, and what kept objects import."""

    def __init__(self, cpu: str | None = None) -> None:
        self._cpu = cpu
        self._loader: Loader | None = None
        self._imports: dict[str, frozenset[str]] = {}

    def of(self, view: View) -> Loader:
        """The loader of the root under analysis."""
        if self._loader is None or self._loader.root is not view.root:
            self._loader = Loader(view.root, cpu=self._cpu)
            self._imports.clear()
        return self._loader

    def imported(self, entry: Entry, file: Elf, view: View) -> frozenset[str]:
        """The watched symbols that an object imports. Raises ElfError.

        The text table tells in one look whether any can be among its symbols; few objects go past that.
        """
        known = self._imports.get(entry.path)
        if known is None:
            known = frozenset()
            if _MAYBE.search(text_table(view.root, entry, file)):
                known = frozenset(name for name in imports(view.root, entry, file) if _WATCHED.fullmatch(name))
            self._imports[entry.path] = known
        return known

    def glibc(self, file: Elf, view: View) -> Glibc | None:
        """The glibc loader that a file runs under; None for musl, static files and unknown loaders."""
        linker = self.of(view).linker(file)
        return linker if isinstance(linker, Glibc) else None


class ElfRule(Rule):
    """Each ELF program that enters brings its interpreter and closure, each shared object what its host would load.

    A shared object is resolved inside the programs that the recording shows reading it,
    with their environment: then libraries that those have loaded already satisfy it.
    One that nobody is known to have read is resolved on its own, once the worklist is dry,
    unless it was loaded for a program that entered: then that program's closure has all it needs.
    """

    name = "elf"
    level = Level.RECORDED

    def __init__(self, *, cpu: str | None = None, box: LoaderBox | None = None) -> None:
        self._box = box or LoaderBox(cpu)
        self._loader: Loader | None = None
        self._contexts: dict[str, list[Context]] = {}  # of each executed program, by canonical path
        self._readers: dict[str, list[str]] = {}  # programs that read a path, by canonical path
        self._pending: dict[str, None] = {}  # shared objects without a known host
        self._looked_at: dict[
            str, Entry | None
        ] = {}  # programs that the run only looked at, until something starts them
        self._covered: set[str] = set()  # loaded for a program or host: resolved where it belongs

    def begin(self, view: View) -> Iterable[Need]:
        self._loader = self._box.of(view)
        self._learn(view)
        return ()

    def visit(self, entry: Entry, view: View) -> Iterator[Need]:
        if entry.type is not FileType.FILE or self._loader is None:
            return
        try:
            file = self._loader.finder.file(entry)
        except ElfError as error:
            view.warn(ClosureWarning("unsound-elf", entry.path, error.message, 20))
            return
        if file is None:
            return
        if file.interpreter is not None and entry.path in self._looked_at:
            self._looked_at[entry.path] = entry
        elif file.interpreter is not None:
            yield from self._program(entry, view)
        elif file.wants:
            hosts = self._readers.get(entry.path, [])
            for host in hosts:
                yield from self._hosted(entry, host, view)
            if not hosts:
                self._pending[entry.path] = None

    def settle(self, view: View) -> Iterator[Need]:
        pending, self._pending = list(self._pending), {}
        for path in pending:
            if path not in self._covered:
                for context in self._everyone(view):
                    yield from self._needs(path, context, view, weight=30)
        for path, entry in list(self._looked_at.items()):
            if entry is not None and self._may_run(path, entry, view):
                self._looked_at[path] = None
                yield from self._program(entry, view)

    def _may_run(self, path: str, entry: Entry, view: View) -> bool:
        """Whether more than a look speaks for a program, or it brings little."""
        assert self._loader is not None
        if any(reason.rule not in FAINT for reason in view.kept[path]):
            return True
        try:
            resolved = self._loader.closure(path, env=dict(_application(view)[0]))
        except ElfError:
            return True
        found = [view.root.find(each.path) for each in resolved.kept] if resolved is not None else []
        size = sum({each.path: each.size for each in found if each is not None and each.path not in view.kept}.values())
        if size > LOOKED_AT:
            text = (
                f"the run only looked at it, and it would bring {size:,} bytes of libraries, so they stay out;"
                f" an exercise that starts it (--exec) keeps them"
            )
            view.warn(ClosureWarning("looked-at", path, text, 40))
        return size <= LOOKED_AT

    def _learn(self, view: View) -> None:
        for execution in view.recording.executions:
            found = view.root.find(execution.path, base=execution.workdir)
            if found is not None:
                context = _context(dict(execution.environment), execution.workdir)
                contexts = self._contexts.setdefault(found.path, [])
                if context not in contexts:
                    contexts.append(context)
        used: dict[str, bool] = {}
        for access in view.recording.accesses:
            found = view.root.find(access.path)
            if found is not None and found.executable:
                used[found.path] = used.get(found.path, False) or not SEEN.issuperset(access.kinds)
        self._looked_at = {path: None for path, more in used.items() if not more}
        for access in view.recording.accesses:
            programs = sorted(access.by - {""})
            if programs and Kind.READ in access.kinds and ".so" in access.path.rpartition("/")[2]:
                found = view.root.find(access.path)
                if found is not None:
                    readers = self._readers.setdefault(found.path, [])
                    readers += [each for each in programs if each not in readers]

    def _program(self, entry: Entry, view: View) -> Iterator[Need]:
        assert self._loader is not None
        for context in self._contexts.get(entry.path) or [_application(view)]:
            yield from self._needs(entry.path, context, view, weight=70)
        if self._loader.secure(entry):  # root runs it without AT_SECURE, everybody else with it
            yield from self._needs(entry.path, _application(view), view, weight=70, secure=False)

    def _hosted(self, entry: Entry, host: str, view: View) -> Iterator[Need]:
        found = view.root.find(host)
        contexts = self._contexts.get(found.path if found is not None else host) or [_application(view)]
        for context in contexts:
            yield from self._needs(entry.path, context, view, weight=50, host=host)

    def _everyone(self, view: View) -> list[Context]:
        """All contexts of the recording, the application's own if there is none; working directories aside."""
        known = {_context(dict(variables), "/") for contexts in self._contexts.values() for variables, _ in contexts}
        return sorted(known | {_context(dict(_application(view)[0]), "/")})

    def _needs(
        self,
        path: str,
        context: Context,
        view: View,
        *,
        weight: int,
        secure: bool | None = None,
        host: str | None = None,
    ) -> Iterator[Need]:
        assert self._loader is not None
        variables, workdir = context
        try:
            resolved = self._loader.closure(path, env=dict(variables), secure=secure, workdir=workdir, host=host)
        except ElfError as error:
            view.warn(ClosureWarning("unsound-elf", path, error.message, 20))
            return
        if resolved is not None:
            self._warn_of(resolved, view, weight)
            yield from self._kept(resolved, view)

    def _kept(self, resolved: Resolved, view: View) -> Iterator[Need]:
        for kept in resolved.kept:
            found = view.root.find(kept.path)
            if found is not None:
                self._covered.add(found.path)
            yield Need(kept.path, Reason(self.name, f"needed by {kept.needed_by} ({kept.text})", kept.needed_by))

    def _warn_of(self, resolved: Resolved, view: View, weight: int) -> None:
        for missing in resolved.missing:
            text = f"{missing.needed_by} needs {missing.name}, which its loader cannot load: {missing.why}"
            view.warn(ClosureWarning("missing-library", resolved.file, text, weight))
        for warning in resolved.warnings:
            view.warn(ClosureWarning("loader", resolved.file, warning, 20))


def _context(env: Mapping[str, str], workdir: str) -> Context:
    return tuple((name, env[name]) for name in LOADER_VARIABLES if env.get(name)), workdir


def _application(view: View) -> Context:
    return _context(view.application.env or {}, view.application.workdir)
