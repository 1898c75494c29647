"""Lua: modules by the search path that the interpreter has compiled in, and started programs.

The path is one text of templates, "/usr/share/lua/5.4/?.lua;/usr/share/lua/5.4/?/init.lua;…" (luaconf.h, loadlib.c).
Modules of the distribution stay by profile, as far as an interpreter's name tells its version; one that is called `lua`
tells it by this path. What the application's own sources name is followed here.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from slimmer.closure.commands.literals import CommandLine
from slimmer.closure.commands.needs import Embedded
from slimmer.closure.commands.search import head
from slimmer.closure.languages.base import NOTHING, LanguageRule
from slimmer.closure.languages.runtimes import matches, system_owner
from slimmer.closure.languages.tokens import Call, Language, Source, cutter
from slimmer.closure.model import Need, Reason, View
from slimmer.closure.profiles.load import Profile
from slimmer.root.model import Entry, FileType

INTERPRETER = re.compile(
    r"/(?:(?:lua|luajit|texlua)[\d.-]*|[\w.-]*lua(?:jit)?[\w.-]*\.so[.\d]*|nginx|haproxy|redis-server)$"
)
TEMPLATE = re.compile(rb"(?<=[\0;])((?:\./|/)[\w./+-]{0,200}\?[\w./+-]{0,100}\.(?:lua|so))(?=[\0;])")
LUA = Language(
    cutter(
        comment=r"--\[(?P<c>=*+)\[.*?(?:\](?P=c)\]|\Z)|--[^\n]*+",
        raw=r"\[\[\n?(?P<raw>.*?)(?:\]\]|\Z)",
        name=r"[A-Za-z_][\w.:]*+",
        signs=r"\.\.|\S",
    ),
    frozenset({".."}),
)
UNVERSIONED = re.compile(r"/lua$")
TREE = re.compile(r"(/.*/lua/5\.\d)/\?")
MOST = 20_000_000  # bytes of a tree that stays whole
SHELL = frozenset({"io.popen", "os.execute"})
LOADS = frozenset({"require", "pcall"})
FILES = frozenset({"dofile", "loadfile"})
# Where a module is looked for when the interpreter does not say it (a static one, or one that was not read yet).
USUAL = ("./?.lua", "./?/init.lua")


class LuaRule(LanguageRule):
    """Required modules, run files and started programs of the application's own Lua sources."""

    name = "lua"
    suffixes = re.compile(r"\.(?:lua|rockspec|luac)$")
    programs = re.compile(r"(?:lua|luajit|texlua)[\d.-]*")

    def __init__(self, inline: Mapping[str, Embedded] = NOTHING, profiles: Sequence[Profile] | None = None) -> None:
        super().__init__(inline, profiles)
        self._templates: list[str] = [*USUAL]
        self._sources: dict[str, Source] = {}

    def begin(self, view: View) -> Iterable[Need]:
        yield from super().begin(view)
        for name, value in self._environment.variables:
            if re.fullmatch(r"LUA_C?PATH(?:_5_\d)?", name):
                self._templates.extend(part for part in value.split(";") if "?" in part)

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        if entry.type is not FileType.FILE:
            return
        if INTERPRETER.search(entry.path):
            found = [text.decode() for text in matches(entry, view, TEMPLATE)]
            if UNVERSIONED.search(entry.path):
                yield from self._trees(found, entry)
            fresh = [each for each in found if each not in self._templates]
            self._templates.extend(fresh)
            if fresh:
                for path, source in self._sources.items():
                    yield from self._modules(path, source)
        elif self.is_source(entry) and system_owner(entry.path, view) is None:
            source = LUA.read(head(entry, view, self.largest))
            self._sources[entry.path] = source
            yield from self._modules(entry.path, source)
            yield from self._started.calls(_commands(source), entry.path)

    def _modules(self, path: str, source: Source) -> Iterator[Need]:
        here = posixpath.dirname(path)
        own = [text.value for text in source.texts() if "?" in text.value and text.value.count("/")]
        templates = [part for text in (*own, *self._templates) for part in text.split(";") if "?" in part]
        bases = tuple(dict.fromkeys((here, *self._environment.workdirs)))
        for call in source.calls(LOADS):
            name = _module(call)
            reason = Reason(self.name, f"required by {path} line {call.line}", path)
            for template in templates if name else ():
                relative = template.replace("?", name.replace(".", "/")).removeprefix("./")
                for base in bases if not template.startswith("/") else ("/",):
                    place = posixpath.normpath(posixpath.join(base, relative))
                    if self._is_file(place):
                        yield Need(place, reason)
        for call in source.calls(FILES):
            for name in (text.value for argument in call.arguments[:1] for text in argument[-1:]):
                for base in bases:
                    place = posixpath.normpath(
                        posixpath.join(base, name.lstrip("/") if len(call.arguments[0]) > 1 else name)
                    )
                    if self._is_file(place):
                        yield Need(place, Reason(self.name, f"run by {path} line {call.line}", path))

    def _trees(self, templates: Iterable[str], entry: Entry) -> Iterator[Need]:
        """The trees of an interpreter's own version, where their size is that of modules."""
        reason = Reason(self.name, "a module that the next script may require", entry.path)
        for place in dict.fromkeys(each[1] for text in templates if (each := TREE.match(text))):
            top = self._view.root.find(place)
            if top is not None and sum(each.size for each in self._view.root.walk(top.path)) <= MOST:
                yield Need(place, reason, tree=True)

    def _is_file(self, place: str) -> bool:
        found = self._view.root.find(place)
        return found is not None and found.type is FileType.FILE


def _module(call: Call) -> str:
    """`require "a.b"` and `pcall(require, "a.b")`."""
    arguments = call.arguments
    if call.name == "pcall":
        if len(arguments) < 2 or [token.value for token in arguments[0]] != ["require"]:
            return ""
        arguments = arguments[1:]
    return arguments[0][0].value if arguments and len(arguments[0]) == 1 else ""


def _commands(source: Source) -> Iterator[CommandLine]:
    constants = source.constants()
    for call in source.calls(SHELL):
        text = source.folded(call.arguments[0], constants) if call.arguments else ""
        if text:
            yield CommandLine((text,), call.line, True)
