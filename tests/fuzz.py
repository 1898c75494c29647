"""All readers of strangers' bytes as one target, and a mutator over a small corpus; one seed, the same inputs.

`python -m tests.fuzz COUNT [SEED]` tries so many inputs; what raises anything else than a refusal is kept below
tests/regressions/READER/, where the unit tests read it again ever after.
"""

from __future__ import annotations

import hashlib
import io
import json
import marshal
import random
import re
import resource
import signal
import struct
import sys
import traceback
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType

from slimmer.closure.commands import shebang, shell_syntax
from slimmer.closure.commands.wrappers import effects
from slimmer.closure.languages.java.archive import read_jar
from slimmer.closure.languages.java.command import read_command, split_options
from slimmer.closure.languages.java.constants import constants
from slimmer.closure.languages.java.nested import read_whole
from slimmer.closure.languages.java.scripts import class_path
from slimmer.closure.languages.node import imports as node_imports
from slimmer.closure.languages.perl import imports as perl_imports
from slimmer.closure.languages.php import syntax as php_syntax
from slimmer.closure.languages.python import bytecode
from slimmer.closure.languages.python import imports as python_imports
from slimmer.closure.languages.ruby import syntax as ruby_syntax
from slimmer.elf import file as elf_file
from slimmer.elf import ldcache
from slimmer.errors import SlimmerError
from slimmer.packages import golang, rpmdb, rpmheader
from slimmer.report.credentials import _CONTENT
from slimmer.report.findings import debsecan
from slimmer.root.limits import DEFAULT_LIMITS
from slimmer.root.manifest import load_json
from slimmer.root.model import Entry, FileType, Root
from slimmer.root.zips import unzipped
from slimmer.values import masked, natural, printable

Reader = Callable[[bytes], object]
PATIENCE = 10.0  # seconds of the processor; the slowest input so far takes a hundredth
MEMORY = 2 << 30  # bytes that the long run may have: a reader that wants more has believed a number
REGRESSIONS = Path(__file__).parent / "regressions"


class OneFile(Root):
    """A root of one file, `/x`, for readers that open what they read."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    @property
    def name(self) -> str:
        return "fuzz"

    def entry(self, path: str) -> Entry | None:
        kind, size = (FileType.FILE, len(self._content)) if path == "/x" else (FileType.DIRECTORY, 0)
        return Entry(path, kind, 0o755, 0, 0, size, 0) if path in ("/", "/x") else None

    def children(self, path: str) -> tuple[str, ...]:
        return ("x",) if path == "/" else ()

    def open(self, path: str) -> io.BytesIO:
        return io.BytesIO(self._content)

    def xattrs(self, path: str) -> Mapping[str, bytes]:
        return {}


def _nested(content: bytes) -> None:
    root = OneFile(content)
    entry = root.entry("/x")
    assert entry is not None
    read_whole(root, entry, ("shop/",))


def _zip(content: bytes) -> None:
    with unzipped(OneFile(content), "/x") as archive:
        for member in archive.infolist()[:20]:
            with archive.open(member) as stream:
                stream.read(1 << 16)


def _secrets(content: bytes) -> None:
    for _, pattern, _ in _CONTENT:
        pattern.search(content)


def _texts(content: bytes) -> None:
    text = content.decode("utf-8", "surrogateescape")
    natural(text, 1 << 32)
    if not printable(masked(text)).isprintable():
        raise AssertionError("not printable")


READERS: dict[str, Reader] = {
    "python": lambda content: python_imports.scan(content, words=True),
    "bytecode": bytecode.scan_bytecode,
    "javascript": node_imports.scan,
    "javascript-plain": lambda content: list(node_imports.plain_loads(content)),
    "perl": perl_imports.scan,
    "php": lambda content: php_syntax.scan(b"<?php system($x);" + content, "/app/x.php"),
    "ruby": lambda content: ruby_syntax.scan(b"system(x)\n" + content, "/app/x.rb"),
    "shell": lambda content: shell_syntax.parse(content, "/app/run"),
    "shebang": shebang.parse_shebang,
    "commands": lambda content: list(effects(content.decode("latin-1").split(" "))),
    "java": constants,
    "jar": read_jar,
    "jar-of-jars": _nested,
    "java-script": lambda content: class_path(content, "/app/bin/start", ()),
    "java-command": lambda content: read_command(split_options(content.decode("utf-8", "replace")), lambda path: ""),
    "elf": lambda content: elf_file.parse(io.BytesIO(content), "x"),
    "ldcache": ldcache.read,
    "golang": lambda content: list(golang.modules(OneFile(content), "/x")),
    "rpm-header": rpmheader.parse,
    "rpm-ndb": lambda content: list(rpmdb.ndb_blobs(content)),
    "rpm-bdb": lambda content: list(rpmdb.bdb_blobs(content)),
    "json": lambda content: load_json(content, "x", DEFAULT_LIMITS),
    "debsecan": lambda content: list(debsecan(content.decode("utf-8", "replace"))),
    "zip": _zip,
    "secrets": _secrets,
    "texts": _texts,
}
REFUSALS: dict[str, tuple[type[Exception], ...]] = {
    "rpm-header": (SlimmerError, ValueError),
    "rpm-ndb": (SlimmerError, ValueError),
    "rpm-bdb": (SlimmerError, ValueError),
    "debsecan": (SlimmerError, ValueError),
}
WORDS = rb"""import from require use system exec open eval ( ) [ ] { } ' " ` $x ${a:- $( \ # /* // << <<EOF =pod =cut
    __END__ a.b a::b ./x | ; & if then fi do done case esac def class: try: find -exec sh -c env -S tar x xargs =
    -----BEGIN PASSWORD= ://a:b@ ?token= PK\3\4 \x7fELF \xca\xfe\xba\xbe #! \r\n \n \t \0 \xff \xed\xa0\x80""".split()
NUMBERS = [0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


def seeds() -> dict[str, list[bytes]]:
    """Well-formed inputs, made here: what a mutation can make wrong in one place."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("META-INF/MANIFEST.MF"), b"Class-Path: a.jar\r\n" * 20)
        archive.writestr(zipfile.ZipInfo("META-INF/services/a.B"), b"c.D # e\n")
    code = compile("import a.b\nfrom c import d\ndef f(x=(1, 'é')):\n    return {1: 2}\n", "x", "exec")
    java = struct.pack(">4sHHH", b"\xca\xfe\xba\xbe", 0, 52, 5)
    java += b"\1\0\2sh\x08\0\1\1\0\x18java/lang/ProcessBuilder\7\0\3"
    nested = io.BytesIO()
    with zipfile.ZipFile(nested, "w") as archive:
        archive.writestr(zipfile.ZipInfo("META-INF/MANIFEST.MF"), b"Start-Class: shop.Main\r\n")
        archive.writestr(zipfile.ZipInfo("BOOT-INF/classes/shop/Main.class"), java)
        archive.writestr(zipfile.ZipInfo("BOOT-INF/classes/application.yml"), b"a: git log -1\n")
        archive.writestr(zipfile.ZipInfo("BOOT-INF/lib/a.jar"), packed.getvalue())
        archive.writestr(zipfile.ZipInfo("linux/a.so"), Path(sys.executable).resolve().read_bytes()[:4096])
    text = b"""#!/usr/bin/env -S python3 -u
import os, a.b as c
from . import (x, y)
os.system(f"git log {1}")
const a = require('./' + name); import('x'); spawn("git", ["log"], {shell: true}); new URL(`${x}/y`)
use strict; use parent qw(A::B); require "x.pl"; system("ls", "-l"); my $x = `date`; eval "use $y";
#!/bin/sh
set -e; D=$(cd "$(dirname "$0")" && pwd); for i in a b; do "$D/$i" | gzip > ${X:-/tmp/x}; done
cat <<EOF | sh
exec env A=b find . -exec rm {} +
EOF
"""
    sources = [part for part in re.split(rb"(?m)^(?=#!/|const |use strict)", text) if part]
    mixed = [*sources, json.dumps({"a": [1, {"b": None}], "c": "\x1b"}).encode(), b"CVE-2024-0001 libc6 (fixed)\n"]
    special = {
        "bytecode": [struct.pack("<H", 3495) + b"\r\n" + bytes(12) + marshal.dumps(code)],
        "java": [java],
        "elf": [Path(sys.executable).resolve().read_bytes()[:4096]],
        "golang": [Path(sys.executable).resolve().read_bytes()[:4096]],
        "ldcache": [ldcache.write([ldcache.CacheEntry("libc.so.6", "/lib/libc.so.6", 0x0303)])],
        "rpm-header": [struct.pack(">IIIIII", 1, 8, 1000, 6, 0, 1) + b"name\0\0\0\0"],
        "rpm-ndb": [_ndb()],
        "rpm-bdb": [_bdb()],
        "jar": [packed.getvalue()],
        "jar-of-jars": [nested.getvalue()],
        "java-script": [b'for j in "$B"/lib/*.jar; do CP=$CP:$j; done; exec java -cp "$CP:${0%/*}/conf" @x -jar a.jar'],
        "zip": [packed.getvalue()],
    }
    return {name: special.get(name, mixed) for name in READERS}


def _ndb() -> bytes:
    head = struct.pack("<4sIII", b"RpmP", 0, 0, 1) + bytes(16)
    slots = struct.pack("<4sIII", b"Slot", 1, 256, 2) + struct.pack("<4sIII", b"Slot", 0, 0, 0) * 253
    return head + slots + struct.pack("<4sIII", b"BlbS", 1, 0, 8) + b"headerxx"


def _bdb() -> bytes:
    first = bytearray(512)
    struct.pack_into("<IIIIII", first, 12, 0x061561, 9, 512, 0, 0, 1)
    second = bytearray(512)
    struct.pack_into("<HHBB", second, 20, 2, 0, 0, 13)
    struct.pack_into("<HH", second, 26, 500, 450)
    second[500:505] = b"\1\1\0\0\0"
    second[450] = 1
    return bytes(first + second)


def mutated(content: bytes, other: bytes, draw: random.Random) -> bytes:
    """A few changes at random places: bytes, words, numbers, cuts, repeats, a part of another input."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 3, 8))):
        at = draw.randrange(len(data) + 1)
        match draw.randrange(8):
            case 0 if data:
                data[at % len(data)] ^= 1 << draw.randrange(8)
            case 1 if data:
                data[at % len(data)] = draw.randrange(256)
            case 2:
                data[at:at] = draw.choice(WORDS)
            case 3:
                data[at : at + draw.choice((1, 2, 4, 16, 256))] = b""
            case 4:
                part = data[at : at + draw.choice((1, 2, 8, 64))]
                data[at:at] = part * draw.choice((1, 2, 16, 300))
            case 5:
                width = draw.choice((1, 2, 4, 8))
                number = draw.choice(NUMBERS) & ((1 << 8 * width) - 1)
                data[at : at + width] = number.to_bytes(width, "little" if draw.randrange(2) else "big")
            case 6 if other:
                start = draw.randrange(len(other))
                data[at:at] = other[start : start + draw.choice((4, 32, 256))]
            case _:
                del data[at:]
    return bytes(data[: 16 << 10])


def inputs(seed: int) -> Iterator[tuple[str, bytes]]:
    """(reader, input) without end; now and then an input becomes a parent of others."""
    draw = random.Random(seed)
    pools = {name: list(pool) for name, pool in seeds().items()}
    names = list(pools)
    while True:
        name = draw.choice(names)
        pool = pools[name]
        found = mutated(draw.choice(pool), draw.choice(pools[draw.choice(names)]), draw)
        if draw.randrange(50) == 0:
            if len(pool) < 200:
                pool.append(found)
            else:
                pool[draw.randrange(5, 200)] = found
        yield name, found


class Hang(BaseException):
    """A reader that takes its time for 16 kB: not to be caught by what refuses."""


def crash(name: str, content: bytes, seconds: float = PATIENCE) -> str:
    """What a reader raises that is no refusal, or where it stands after so many seconds of the processor; "": nothing.

    In the main thread only.
    """

    def late(number: int, frame: FrameType | None) -> None:
        raise Hang(f"{name} has not ended after {seconds:g} seconds")

    before = signal.signal(signal.SIGVTALRM, late)
    try:
        try:
            signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
            READERS[name](content)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)
    except REFUSALS.get(name, (SlimmerError,)):
        return ""
    except (Exception, Hang):
        return traceback.format_exc()
    return ""


def main(count: int, seed: int) -> int:
    """The number of kinds of crashes (a kind is the line that raised); the first input of each is kept."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    kinds: set[str] = set()
    source = inputs(seed)
    for _ in range(count):
        name, content = next(source)
        trace = crash(name, content)
        if not trace:
            continue
        places = [line for line in trace.splitlines() if line.startswith("  File")]
        kind = f"{name} {places[-1]} {trace.splitlines()[-1].partition(':')[0]}"
        if kind not in kinds:
            kinds.add(kind)
            place = REGRESSIONS / name
            place.mkdir(parents=True, exist_ok=True)
            file = place / hashlib.sha256(content).hexdigest()[:16]
            file.write_bytes(content)
            print(f"{file}\n{trace}", flush=True)
    print(f"{count:,} inputs for {len(READERS)} readers with seed {seed}: {len(kinds)} kinds of crashes", flush=True)
    return len(kinds)


if __name__ == "__main__":
    sys.exit(bool(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)))
