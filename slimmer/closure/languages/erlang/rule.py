"""Erlang and Elixir: applications of releases as units, and started programs of sources and of compiled modules.

A module is loaded by its name when it is first called, so an application's `ebin` stays whole, with `priv` (ports,
drivers) beside it. What OTP itself installs stays by profile. Source: the code server's page and "BEAM file format".
"""

from __future__ import annotations

import posixpath
import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from slimmer.closure.commands.literals import CommandLine
from slimmer.closure.commands.needs import Embedded
from slimmer.closure.commands.search import Programs, head
from slimmer.closure.languages.base import NOTHING, LanguageRule
from slimmer.closure.languages.runtimes import system_owner
from slimmer.closure.languages.tokens import Language, Source, cutter
from slimmer.closure.model import Need, Reason, View
from slimmer.closure.profiles.load import Profile
from slimmer.root.model import Entry, FileType

ERLANG = Language(
    cutter(
        comment=r"%[^\n]*+",
        name=r"[A-Za-z_][\w@]*+(?::[a-z]\w*+)?",
        quotes='"',
        signs=r"\+\+|\S",
    ),
    frozenset({"++"}),
)
ELIXIR = re.compile(r"\.exs?$")
ELIXIR_STARTS = re.compile(r"System\.(?:cmd|shell)\(\s*+\"((?:[^\"\\\n]|\\.){1,1000})\"")
SHELL = frozenset({"os:cmd"})
EXECUTABLE = frozenset({"os:find_executable", "open_port", "erlang:open_port"})
EBIN = re.compile(r"(.*)/ebin/[^/]+\.(?:beam|app)$")
PRINTABLE = re.compile(rb"[\x20-\x7e]{2,1000}")
LARGEST = 16 << 20  # bytes of a module, and of its literals
STARTERS = (b"\x03cmd", b"open_port", b"spawn_executable", b"find_executable")


class ErlangRule(LanguageRule):
    """Applications of the release, and what the application's own sources and modules start."""

    name = "erlang"
    suffixes = re.compile(r"\.(?:erl|escript|yaws|hrl|exs?)$")
    programs = re.compile(r"escript|elixir")

    def __init__(self, inline: Mapping[str, Embedded] = NOTHING, profiles: Sequence[Profile] | None = None) -> None:
        super().__init__(inline, profiles)
        self._applications: set[str] = set()

    def begin(self, view: View) -> Iterable[Need]:
        yield from super().begin(view)
        self._programs = Programs(view)

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        if entry.type is not FileType.FILE or system_owner(entry.path, view) is not None:
            return
        if found := EBIN.match(entry.path):
            yield from self._application(found[1], entry.path)
        if entry.path.endswith(".beam"):
            yield from self._compiled(entry)
        elif self.is_source(entry):
            content = head(entry, view, self.largest)
            if ELIXIR.search(entry.path):
                text = content.decode("utf-8", "surrogateescape")
                for match in ELIXIR_STARTS.finditer(text):
                    line = text.count("\n", 0, match.start()) + 1
                    yield from self._started.text(match[1].encode("utf-8", "surrogateescape"), entry.path, line=line)
            else:
                yield from self._started.calls(_commands(ERLANG.read(content)), entry.path)

    def _application(self, top: str, path: str) -> Iterator[Need]:
        if top in self._applications:
            return
        self._applications.add(top)
        reason = Reason(self.name, f"part of the application {posixpath.basename(top)}", path)
        for name in ("ebin", "priv"):
            yield Need(f"{top}/{name}", reason, tree=True)

    def _compiled(self, entry: Entry) -> Iterator[Need]:
        """A module that may start programs: those of its texts that begin with the name of one."""
        chunks = beam_chunks(head(entry, self._view, LARGEST))
        atoms = chunks.get(b"AtU8", chunks.get(b"Atom", b""))
        if not any(each in atoms for each in STARTERS):
            return
        for text in literals(chunks):
            words = text.split()
            if words and self._programs.find(words[0]):
                yield from self._started.text(text.encode(), entry.path)


def _commands(source: Source) -> Iterator[CommandLine]:
    constants = source.constants()
    for call in source.calls(SHELL):
        text = source.folded(call.arguments[0], constants) if call.arguments else ""
        if text:
            yield CommandLine((text,), call.line, True)
    for call in source.calls(EXECUTABLE):
        for token in (token for argument in call.arguments[:1] for token in argument):
            if token.value and token.value[0] not in "{},:" and " " not in token.value:
                yield CommandLine((token.value,), call.line)
            elif " " in token.value:  # {spawn, "program and arguments"}
                yield CommandLine(tuple(token.value.split()), call.line)


def beam_chunks(data: bytes) -> dict[bytes, bytes]:
    """The chunks of a compiled module, an IFF file; none when it is no such file or is compressed as a whole."""
    if data[:4] != b"FOR1" or data[8:12] != b"BEAM":
        return {}
    found, at = {}, 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], struct.unpack_from(">I", data, at + 4)[0]
        found[name] = data[at + 8 : at + 8 + size]
        at += 8 + (size + 3) // 4 * 4
    return found


def literals(chunks: Mapping[bytes, bytes]) -> list[str]:
    """Printable texts of the literal table and of the binaries' table."""
    table = chunks.get(b"LitT", b"")
    if len(table) > 4 and (size := struct.unpack_from(">I", table)[0]):
        try:
            table = zlib.decompressobj().decompress(table[4:], min(size, LARGEST))
        except zlib.error:
            table = b""
    found = [match[0].decode() for part in (table, chunks.get(b"StrT", b"")) for match in PRINTABLE.finditer(part)]
    # A text's length stands before it and may look like a letter: "k" 0 5 "ls -l" gives "ls -l", a binary's may not.
    return list(dict.fromkeys(text for each in found for text in (each, each[1:]) if text))
