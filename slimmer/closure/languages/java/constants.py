"""The constant pool of a class as data: its texts, the classes that it refers to, and what follows from these.

A class that uses ProcessBuilder or Runtime has its command lines among its string constants; nothing else in it tells
them from other texts.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from slimmer.facts.remember import remembered

LARGEST = 1 << 20  # bytes of a class
BUDGET = 32 << 20  # bytes of the classes of one archive
MAGIC = b"\xca\xfe\xba\xbe"
UTF8, STRING, CLASS = 1, 8, 7
WIDE = (5, 6)  # long and double take two places
SIZES = {3: 4, 4: 4, 5: 8, 6: 8, 7: 2, 8: 2, 9: 4, 10: 4, 11: 4, 12: 4, 15: 3, 16: 2, 17: 4, 18: 4, 19: 2, 20: 2}
# The platform's own, and what applications put before it: Apache Commons Exec, ZT Process Executor, NuProcess, Groovy.
STARTERS = frozenset(
    {
        *("java/lang/ProcessBuilder", "java/lang/Runtime", "org/apache/commons/exec/CommandLine"),
        *("org/zeroturnaround/exec/ProcessExecutor", "com/zaxxer/nuprocess/NuProcessBuilder"),
        "org/codehaus/groovy/runtime/ProcessGroovyMethods",
    }
)
LOADERS = frozenset(
    {
        *("com/sun/jna/Native", "com/sun/jna/NativeLibrary", "com/sun/jna/Library"),
        *("java/lang/foreign/SymbolLookup", "jnr/ffi/LibraryLoader"),
    }
)
LIBRARY = re.compile(r"[A-Za-z][\w.+-]{1,60}")
# A class without any of these starts nothing, loads nothing and names no file. Most are so, and are not taken apart.
# A text of a pool has its length before it: Runtime is not RuntimeException.
WORTH = re.compile(
    rb"loadLibrary|com/sun/jna/|SymbolLookup|jnr/ffi/|\x01\0.(?=/[\w.+-]{1,60}/)|"
    + b"|".join(re.escape(b"\x01" + struct.pack(">H", len(each)) + each.encode()) for each in sorted(STARTERS)),
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Constants:
    """String constants, and whether the class may start programs."""

    texts: tuple[str, ...]
    starts: bool
    loads: bool = False  # whether it can load shared libraries
    name: str = ""  # of the class, as the others are spelled
    uses: tuple[str, ...] = ()  # the classes that it refers to


@dataclass(frozen=True, slots=True)
class Pool:
    """A class file's constant pool: its string constants, the classes that it refers to, and all of its texts."""

    strings: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    texts: frozenset[bytes] = frozenset()
    name: str = ""  # of the class itself, as the others are spelled


def pool(data: bytes) -> Pool:
    """JVM specification, 4.1 and 4.4. What is no class has an empty one."""
    texts: dict[int, bytes] = {}
    strings: list[int] = []
    classes: dict[int, int] = {}
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
                if tag == STRING:
                    strings.append(struct.unpack_from(">H", data, at + 1)[0])
                elif tag == CLASS:
                    (classes[number],) = struct.unpack_from(">H", data, at + 1)
                at += 1 + SIZES[tag]
            number += 2 if tag in WIDE else 1
    except (struct.error, IndexError, KeyError):
        return Pool()
    found, named = (
        tuple(dict.fromkeys(texts.get(each, b"").decode("utf-8", "replace") for each in places))
        for places in (strings, classes.values())
    )
    itself = int.from_bytes(data[at + 2 : at + 4], "big")  # behind the flags of access
    name = texts.get(classes.get(itself, 0), b"").decode("utf-8", "replace")
    return Pool(found, named, frozenset(texts.values()), name)


@remembered
def constants(data: bytes) -> Constants:
    """What of a class's pool tells what it starts, names and loads. What is no class has none."""
    found = pool(data)
    loads = not LOADERS.isdisjoint(found.classes) or b"loadLibrary" in found.texts
    return Constants(found.strings, not STARTERS.isdisjoint(found.classes), loads, found.name, found.classes)
