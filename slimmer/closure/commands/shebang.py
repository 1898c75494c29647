"""What the kernel needs to start a script: the interpreter of its first line, and what `env` would find.

Follows fs/binfmt_script.c: 256 bytes, one argument, leading and trailing blanks
dropped. An interpreter that is itself a script is another kept path, so the
chain follows by itself.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from slimmer.closure.commands.search import Programs, head
from slimmer.closure.model import Level, Need, Reason, Rule, View
from slimmer.root.model import Entry, FileType
from tracer.recording import Kind

BUFFER = 256  # BINPRM_BUF_SIZE, include/uapi/linux/binfmts.h
# Modules carry executable bits and first lines out of habit; they are loaded, not started.
LIBRARIES = re.compile(
    r"/(?:node_modules|site-packages|dist-packages|gems)/"
    r"|/(?:python\d[\d.]*|perl5?|ruby|nodejs)/(?!(?:.*/)?s?bin/[^/]+$)"
)


@dataclass(frozen=True, slots=True)
class Shebang:
    """A script's first line as the kernel splits it."""

    interpreter: str
    argument: str = ""

    @property
    def program(self) -> str:
        """The name of what finally reads the script: "python3" of `#!/usr/bin/env -S python3 -u`."""
        words = env_words(self) if posixpath.basename(self.interpreter) == "env" else ()
        return posixpath.basename(words[0] if words else self.interpreter)


def parse_shebang(text: bytes) -> Shebang | None:
    """Read a script's first bytes; None when the kernel would not take them for a script."""
    text = text[:BUFFER]
    if not text.startswith(b"#!"):
        return None
    line, newline, _ = text.partition(b"\n")
    line = line[2:]
    if not newline and len(text) == BUFFER:
        line = line[:-1]
        if not re.search(rb"[^ \t][ \t\0]", line):
            return None  # the interpreter's name may have been cut off
    line = line.strip(b" \t")
    found = re.match(rb"[^ \t\0]+", line)
    if found is None:
        return None
    argument = line[found.end() :].split(b"\0")[0].strip(b" \t")
    return Shebang(_text(found[0]), _text(argument))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def env_words(shebang: Shebang) -> tuple[str, ...]:
    """The command that `env` would run for a shebang: ("python3", "-u"). Empty when it names none."""
    words = [shebang.argument] if shebang.argument else []
    if words and (split := re.match(r"(?:-[iv0]*S|--split-string[= ])", words[0])):
        try:
            words = shlex.split(words[0][split.end() :], comments=True)
        except ValueError:
            return ()
    return strip_env(words)


def strip_env(words: list[str]) -> tuple[str, ...]:
    """What follows env's own options and assignments."""
    while words:
        word = words[0]
        if word == "--":
            words = words[1:]
        elif word in ("-u", "--unset", "-C", "--chdir"):
            words = words[2:]
            continue
        elif not word.startswith("-") and "=" not in word:
            break
        words = words[1:]
    return tuple(words)


class ScriptRule(Rule):
    """Interpreters of kept scripts that can be started."""

    name = "script"
    level = Level.RECORDED

    def __init__(self) -> None:
        self._executed: frozenset[str] = frozenset()
        self._programs: Programs | None = None

    def begin(self, view: View) -> Iterable[Need]:
        self._programs = Programs(view)
        named = {each.path for each in view.recording.accesses if Kind.EXEC in each.kinds}
        named |= {each.path for each in view.recording.executions}
        found = (view.root.find(path) for path in named)
        self._executed = frozenset(entry.path for entry in found if entry is not None)
        return ()

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        if entry.type is not FileType.FILE or not entry.executable:
            return
        executed = entry.path in self._executed
        if not executed and LIBRARIES.search(entry.path):
            return
        text = head(entry, view, BUFFER)
        shebang = parse_shebang(text)
        if shebang is not None:
            yield from self._chain(entry, shebang, view)
        elif executed and text[:4] != b"\x7fELF" and b"\0" not in text:
            # execvp and every shell hand a text without a first line to sh
            reason = Reason(self.name, f"runs {entry.path}, which names no interpreter", entry.path)
            yield Need("/bin/sh", reason)

    def _chain(self, entry: Entry, shebang: Shebang, view: View) -> Iterator[Need]:
        assert self._programs is not None
        bases = (view.application.workdir, *dict.fromkeys(each.workdir for each in view.recording.executions))
        reason = Reason(self.name, f"interpreter of {entry.path}", entry.path)
        for path in self._programs.file(shebang.interpreter, bases=bases):
            yield Need(path, reason)
        if posixpath.basename(shebang.interpreter) != "env":
            return
        words = env_words(shebang)
        if words:
            reason = Reason(self.name, f"interpreter of {entry.path}, found by env", entry.path)
            for path in self._programs.find(words[0], bases=bases):
                yield Need(path, reason)
