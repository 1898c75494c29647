"""The application's own Java classes: programs that they start and files that they name, from their constant pools.

A class that uses ProcessBuilder or Runtime has its command lines among its string
constants; nothing else in it tells them from other texts, so a text counts when it
is the name of a program in PATH, or begins with one.
"""

from __future__ import annotations

import posixpath
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from slimmer.closure.commands.search import Libraries, Programs
from slimmer.closure.languages.base import Environment, LanguageRule
from slimmer.closure.model import Need, Reason, View
from slimmer.errors import SlimmerError
from slimmer.facts.remember import remembered
from slimmer.root.model import Entry, FileType
from slimmer.root.zips import unzipped

LARGEST = 1 << 20  # bytes of a class
BUDGET = 32 << 20  # bytes of the classes of one archive
MAGIC = b"\xca\xfe\xba\xbe"
UTF8, STRING, CLASS = 1, 8, 7
WIDE = (5, 6)  # long and double take two places
SIZES = {3: 4, 4: 4, 5: 8, 6: 8, 7: 2, 8: 2, 9: 4, 10: 4, 11: 4, 12: 4, 15: 3, 16: 2, 17: 4, 18: 4, 19: 2, 20: 2}
STARTERS = frozenset({"java/lang/ProcessBuilder", "java/lang/Runtime"})
SHELLS = frozenset({"sh", "/bin/sh", "bash", "/bin/bash", "/usr/bin/sh", "/usr/bin/bash"})
LOADERS = frozenset(
    {
        *("com/sun/jna/Native", "com/sun/jna/NativeLibrary", "com/sun/jna/Library"),
        *("java/lang/foreign/SymbolLookup", "jnr/ffi/LibraryLoader"),
    }
)
LIBRARY = re.compile(r"[A-Za-z][\w.+-]{1,60}")


@dataclass(frozen=True, slots=True)
class Constants:
    """String constants, and whether the class may start programs."""

    texts: tuple[str, ...]
    starts: bool
    loads: bool = False  # whether it can load shared libraries


@dataclass(frozen=True, slots=True)
class Pool:
    """A class file's constant pool: its string constants, the classes that it refers to, and all of its texts."""

    strings: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    texts: frozenset[bytes] = frozenset()


def pool(data: bytes) -> Pool:
    """JVM specification, 4.1 and 4.4. What is no class has an empty one."""
    texts: dict[int, bytes] = {}
    strings: list[int] = []
    classes: list[int] = []
    try:
        if data[:4] != MAGIC:
            return Pool()
        count, at, number = struct.unpack_from(">H", data, 8)[0], 10, 1
        while number < count:
            tag = data[at]
            if tag == UTF8:
                (size,) = struct.unpack_from(">H", data, at + 1)
                texts[number] = data[at + 3 : at + 3 + size]
                at += 3 + size
            else:
                if tag in (STRING, CLASS):
                    (strings if tag == STRING else classes).append(struct.unpack_from(">H", data, at + 1)[0])
                at += 1 + SIZES[tag]
            number += 2 if tag in WIDE else 1
    except (struct.error, IndexError, KeyError):
        return Pool()
    found, named = (
        tuple(dict.fromkeys(texts.get(each, b"").decode("utf-8", "replace") for each in places))
        for places in (strings, classes)
    )
    return Pool(found, named, frozenset(texts.values()))


@remembered
def constants(data: bytes) -> Constants:
    """What of a class's pool tells what it starts, names and loads. What is no class has none."""
    found = pool(data)
    loads = not LOADERS.isdisjoint(found.classes) or b"loadLibrary" in found.texts
    return Constants(found.strings, not STARTERS.isdisjoint(found.classes), loads)


def native_libraries(view: View, environment: Environment) -> Libraries:
    """Libraries where the runtime looks for them: Debian's default java.library.path, and LD_LIBRARY_PATH before it."""
    jni = ["/usr/java/packages/lib", "/usr/lib/jni"]
    jni += [f"/usr/lib/{each}/jni" for each in view.root.children("/usr/lib") if "-linux-" in each]
    return Libraries(view, (*environment.directories("LD_LIBRARY_PATH"), *jni))


class JavaClassesRule(LanguageRule):
    """What the string constants of classes that no package owns name."""

    name = "java-class"
    command_rule = "java-class"

    def begin(self, view: View) -> Iterable[Need]:
        yield from super().begin(view)
        self._programs = Programs(view)
        self._libraries = native_libraries(view, self._environment)

    def visit(self, entry: Entry, view: View) -> Iterator[Need]:
        if entry.type is not FileType.FILE or not entry.path.lower().endswith((".class", ".jar", ".war")):
            return
        if view.packages.owner(entry.path) is None:
            for data in _classes(entry, view):
                yield from self._named(constants(data), entry.path, view)

    def _named(self, found: Constants, path: str, view: View) -> Iterator[Need]:
        reason = Reason(self.name, f"named in {path}", path)
        shell = not SHELLS.isdisjoint(found.texts) and "-c" in found.texts
        for text in found.texts:
            if text.startswith("/") and "\0" not in text and text.count("/") > 1:
                there = view.root.find(text)
                if there is not None and there.type is FileType.FILE:
                    yield Need(text, reason)
            if found.loads and LIBRARY.fullmatch(text):
                loaded = Reason("library", f"named in {path}, which loads libraries", path)
                yield from self._libraries.needs(text, loaded)
            words = text.split()
            if found.starts and words and self._programs.find(words[0]):
                if shell and len(words) > 1:
                    yield from self._started.text(text.encode("utf-8", "surrogateescape"), path)
                else:
                    yield from self._started.line(words, path)


def _classes(entry: Entry, view: View) -> Iterator[bytes]:
    try:
        if posixpath.splitext(entry.path)[1] == ".class":
            yield view.root.read(entry.path, LARGEST)
            return
        left = BUDGET
        with unzipped(view.root, entry.path) as archive:
            for member in archive.infolist():
                if member.filename.endswith(".class") and member.file_size <= min(LARGEST, left):
                    left -= member.file_size
                    yield archive.read(member)
    except SlimmerError:
        return
