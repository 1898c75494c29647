"""The application's own compiled programs: what they can start, by their imports and by the texts in their constants.

A C program holds each text by itself, ended by a zero. Go and Rust pack theirs one behind the other: on amd64 the code
tells where each ends and which are handed to what starts programs; elsewhere only long names can be told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from slimmer.closure.commands.evidence import COMMON
from slimmer.closure.commands.literals import CommandLine
from slimmer.closure.commands.search import DEFAULT_PATH, Programs, head
from slimmer.closure.languages.base import LanguageRule
from slimmer.closure.limits import FOREIGN_TEXT, OWN_TEXT
from slimmer.closure.model import ClosureWarning, Need, Reason, View
from slimmer.closure.started import SYSTEM
from slimmer.elf.dlopen import text_table
from slimmer.elf.file import ElfError
from slimmer.elf.finder import Finder
from slimmer.elf.packed import Packed, packed_texts
from slimmer.elf.symbols import SHELLS, STARTS, imports
from slimmer.root.model import Entry, FileType

ANY = re.compile(rb"(?:exec[lv][pe]{0,2}|execvpe|posix_spawnp?|system|popen|wordexp)\0")
PACKED = (b"os/exec.(*Cmd)", b"library/std/src/sys/pal/unix/process", b"library/std/src/sys/process")
TEXT = re.compile(rb"(?<![\x20-\x7e\t])([\x20-\x7e\t\n]{2,400})\0")
THIRD_PARTY = re.compile(r"/(?:site-packages|dist-packages|node_modules|gems)/")
LARGEST = 96 << 20  # bytes of a program that are looked through
LONG = 6  # letters of a name that says something in the middle of other texts


def plain_texts(data: bytes) -> list[str]:
    """The texts of a C program's constants."""
    return [text.decode("ascii") for text in dict.fromkeys(TEXT.findall(data))]


def packed_names(data: bytes, names: Iterable[str]) -> list[str]:
    """Which of these programs' names stand anywhere in packed texts."""
    telling = [name for name in names if len(name) >= LONG and name not in COMMON]
    if not telling:
        return []
    found = re.findall(_longest_of(sorted(name.encode("utf-8", "surrogateescape") for name in telling)), data)
    return sorted({name.decode("utf-8", "surrogateescape") for name in found})


def _longest_of(names: Sequence[bytes]) -> bytes:
    """An expression for any of these sorted names, the longest first: a tree of their letters.

    Each place of a text is left at its first wrong letter, where a plain alternation tries a thousand names.
    """
    end = not names[0]
    groups = {
        letter: _longest_of([name[1:] for name in group])
        for letter, group in groupby(names[end:], key=lambda name: name[:1])
    }
    if not groups:
        return b""
    inner = b"|".join(re.escape(letter) + rest for letter, rest in groups.items())
    return b"(?:" + inner + b")" + (b"?" if end else b"")


class CompiledRule(LanguageRule):
    """Shells and programs that ELF files start which no package owns."""

    name = "compiled-command"
    command_rule = "compiled-command"

    def begin(self, view: View) -> Iterable[Need]:
        yield from super().begin(view)
        self._programs = Programs(view)

    def visit(self, entry: Entry, view: View) -> Iterator[Need]:
        if entry.type is not FileType.FILE or entry.size > LARGEST or THIRD_PARTY.search(entry.path):
            return
        if head(entry, view, 4) != b"\x7fELF" or any(each.type in SYSTEM for each in view.packages.owners(entry.path)):
            return
        try:
            used = self._imports(entry, view)
        except ElfError:
            return  # ElfRule tells of it
        data = head(entry, view, LARGEST)
        packed = any(mark in data for mark in PACKED)
        if not used and not packed:
            return
        path = entry.path
        if shell := used & SHELLS:
            yield Need("/bin/sh", Reason(self.name, f"{path} calls {min(shell)}", path))
        elif packed and b"/bin/sh" in data:
            yield Need("/bin/sh", Reason(self.name, f"named by {path}, which can start programs", path))
        if packed and (texts := packed_texts(data)) is not None:
            yield from self._packed(texts, path)
        elif packed:
            words = packed_names(data, self._names(view))
            yield from self._started.mentions([CommandLine((word,), 0) for word in words], path, FOREIGN_TEXT)
            text = "can start programs, whose short names cannot be told: --exec it as it is used, or --include them"
            view.warn(ClosureWarning(self.name, path, text, 20))
        else:
            yield from self._texts(plain_texts(data), path)

    def _imports(self, entry: Entry, view: View) -> frozenset[str]:
        file = Finder(view.root).file(entry)
        if file is None or not file.dynamic or not ANY.search(text_table(view.root, entry, file)):
            return frozenset()
        return imports(view.root, entry, file) & STARTS

    def _names(self, view: View) -> set[str]:
        return {name for directory in DEFAULT_PATH for name in view.root.children(view.root.resolve(directory).path)}

    def _packed(self, texts: Sequence[Packed], path: str) -> Iterator[Need]:
        called: list[CommandLine] = []
        others: list[CommandLine] = []
        for each in texts:
            words = each.text.split()
            if len(words) > 1:
                (called if each.called else others).append(CommandLine((each.text,), 0, True))
            elif words == [each.text] and self._programs.find(each.text):
                if each.called:
                    called.append(CommandLine((each.text, "-"), 0))
                else:
                    others.append(CommandLine((each.text,), 0))
        yield from self._started.mentions([*called, *others], path, OWN_TEXT)

    def _texts(self, texts: list[str], path: str) -> Iterator[Need]:
        options = [text for text in texts if re.fullmatch(r"-[A-Za-z]{1,10}", text)]
        lines = []
        for text in texts:
            words = text.split()
            if len(words) == 1 and text == words[0] and self._programs.find(text) and (len(text) > 1):
                lines.append(CommandLine((text, *(options if text == "tar" else ["-"])), 0))
            elif len(words) > 1:
                lines.append(CommandLine((text,), 0, True))
        yield from self._started.mentions(lines, path, FOREIGN_TEXT)
