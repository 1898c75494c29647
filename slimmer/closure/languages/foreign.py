"""Shared libraries that sources of other languages than Python load by name.

| language | calls |
| --- | --- |
| Ruby | `ffi_lib "magic"`, `Fiddle.dlopen`, `dlload` |
| JavaScript | `ffi.Library`, `koffi.load`, `DynamicLibrary`, `dlopen` |
| PHP | `FFI::cdef(…, "libmagic.so.1")`, `FFI::load` and the header's FFI_LIB |
| R | `dyn.load` |

A plain name counts inside the call; what is spelled as a library's file counts anywhere in a source that has one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from slimmer.closure.commands.search import Libraries, head
from slimmer.closure.languages.base import LanguageRule
from slimmer.closure.model import Need, Reason, View
from slimmer.root.model import Entry, FileType

LOADER = re.compile(
    rb"\bffi_lib\b|\bFiddle(?:\.|::)(?:dlopen|Handle\.new)|\bdlload\b|\bffi\w{0,10}\.Library\b|\bkoffi\.load\b"
    rb"|\bDynamicLibrary\b|\bdlopen\b|\bFFI::(?:cdef|load|scope)\b|#define FFI_LIB\b|\bdyn\.load\b"
)
TEXT = re.compile(rb"""["']([\w./+-]{1,120})["']""")
FILE = re.compile(r"[\w./+-]+\.so(?:\.[\d.]+)?|(?:.*/)?lib[\w.+-]+")
WORDS = re.compile(rb"%w[\[({]([^\])}]{1,300})[\])}]")
REACH = 400  # bytes behind a loader's name in which its arguments stand


class ForeignLibraryRule(LanguageRule):
    """Keeps the libraries that such calls name, as far as the root has them."""

    name = "library"
    suffixes = re.compile(r"\.(?:rb|[cm]?js|php|[rR]|h)$")
    programs = re.compile(r"ruby[\d.]*|node|nodejs|php[\d.]*|Rscript")
    spared = re.compile(r"^/usr/(?:share/doc|include)/|/(?:test|tests|spec|examples)/")
    largest = 512 << 10

    def begin(self, view: View) -> Iterable[Need]:
        yield from super().begin(view)
        self._libraries = Libraries(view)

    def visit(self, entry: Entry, view: View) -> Iterator[Need]:
        if entry.type is not FileType.FILE or not 0 < entry.size <= self.largest or not self.is_source(entry):
            return
        source = head(entry, view, self.largest)
        if LOADER.search(source) is None:
            return
        for name, line in library_names(source):
            if "/" in name and not name.startswith("/"):
                continue
            yield from self._libraries.needs(name, Reason(self.name, f"loaded by {entry.path} line {line}", entry.path))


def library_names(source: bytes) -> list[tuple[str, int]]:
    """Names of libraries in a source, each with its first line."""
    found: dict[str, int] = {}
    for call in LOADER.finditer(source):
        end = min(len(source), call.end() + REACH)
        stop = re.compile(rb"\)\s*;|\n\s*\n|\n\s*(?:attach_function|def|end)\b").search(source, call.end(), end)
        part = source[call.end() : stop.start() if stop else end]
        words = [each[1] for each in TEXT.finditer(part)]
        words += [word for each in WORDS.finditer(part) for word in each[1].split()]
        for word in words:
            found.setdefault(word.decode("ascii", "replace"), source.count(b"\n", 0, call.start()) + 1)
    for text in TEXT.finditer(source):
        name = text[1].decode("ascii", "replace")
        if FILE.fullmatch(name):
            found.setdefault(name, source.count(b"\n", 0, text.start()) + 1)
    return [*found.items()]
