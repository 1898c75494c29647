"""Names and commands in Python bytecode that has no source: read from the marshal stream as data, never unmarshalled.

Only the strings and the tuples of strings are taken out (Python/marshal.c, r_object): the names that `import`
statements leave in a code object's constants and names are among them. What is not a module resolves to nothing and
costs nothing. The constants of a code object that calls what starts programs are its commands, a text by itself, a
list as the tuple that the compiler makes of it; before what an f-string or `+` puts in, a text ends in a blank.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from slimmer.closure.commands.literals import HOLE, CommandLine
from slimmer.closure.languages.python.imports import Import, Imports, When
from slimmer.facts.remember import remembered

HEADER = 16  # bytes before the stream since PEP 552
REF = 0x80
PYTHON_3_11 = 3495  # magic number from which code objects have their present layout (Lib/importlib)
DEEPEST = 200
SHELLS = frozenset({"system", "popen", "getoutput", "getstatusoutput", "create_subprocess_shell", "shell"})
STARTS = SHELLS | frozenset(
    "run Popen call check_call check_output create_subprocess_exec execv execvp execvpe execlp spawnlp".split()  # noqa: SIM905
)
MODULES = frozenset({"os", "subprocess", "asyncio", "commands", "pty"})  # that start programs
END = object()  # closes a dictionary


class _Malformed(Exception):
    """The stream is not what this reader understands."""


@remembered
def scan_bytecode(content: bytes) -> Imports:
    """The imports of a .pyc file, as far as they are names; empty when its version is not understood."""
    if len(content) <= HEADER:
        return Imports()
    (magic,) = struct.unpack_from("<H", content)
    reader = _Stream(content, HEADER, magic)
    try:
        reader.read(0)
    except (_Malformed, struct.error, IndexError, UnicodeDecodeError):
        return Imports()
    starts = not MODULES.isdisjoint(reader.names) and not STARTS.isdisjoint(reader.names)
    return Imports(
        tuple(reader.imports),
        commands=(CommandLine(("",), 0, True),) if starts and reader.shell else (),
        mentioned=tuple(dict.fromkeys(reader.lines)) if starts else (),
        starts=starts,
    )


class _Stream:
    def __init__(self, content: bytes, at: int, magic: int) -> None:
        self._content = content
        self._at = at
        self._modern = magic >= PYTHON_3_11
        self._longs = 5 if self._modern else 6
        self.imports: list[Import] = []
        self.names: set[str] = set()
        self.lines: list[CommandLine] = []
        self.shell = False  # whether a shell reads one of them
        self._refs: list[object] = []

    def _take(self, size: int) -> bytes:
        if size < 0 or self._at + size > len(self._content):
            raise _Malformed
        self._at += size
        return self._content[self._at - size : self._at]

    def _long(self) -> int:
        return int(struct.unpack("<i", self._take(4))[0])

    def read(self, depth: int) -> object:
        """One object; strings and tuples come back, the rest is None."""
        if depth > DEEPEST:
            raise _Malformed
        code = self._take(1)[0]
        slot = -1
        if code & REF:
            slot = len(self._refs)
            self._refs.append(None)
        value = self._body(chr(code & ~REF), depth)
        if slot >= 0:
            self._refs[slot] = value
        return value

    def _body(self, kind: str, depth: int) -> object:
        match kind:
            case "0":
                return END
            case "N" | "F" | "T" | "S" | ".":
                return None
            case "i":
                return self._long()
            case "I" | "g":
                self._take(8)
            case "y":
                self._take(16)
            case "l":
                self._take(2 * abs(self._long()))
            case "s":
                self._take(self._long())
            case "z" | "Z":
                return self._take(self._take(1)[0]).decode("latin-1")
            case "a" | "A":
                return self._take(self._long()).decode("latin-1")
            case "u" | "t":
                return self._take(self._long()).decode("utf-8", "surrogatepass")
            case ")":
                return tuple(self.read(depth + 1) for _ in range(self._take(1)[0]))
            case "(" | "[" | "<" | ">":
                return tuple(self.read(depth + 1) for _ in range(self._long()))
            case "{":
                while self.read(depth + 1) is not END:
                    self.read(depth + 1)
            case ":":
                for _ in range(3):
                    self.read(depth + 1)
            case "r":
                index = self._long()
                if not 0 <= index < len(self._refs):
                    raise _Malformed
                return self._refs[index]
            case "c":
                self._code(depth)
            case _:
                raise _Malformed
        return None

    def _code(self, depth: int) -> None:
        self._take(4 * self._longs)
        # Objects before the first line: instructions, constants, names and five more, in both layouts.
        self.read(depth + 1)
        constants = self.read(depth + 1)
        names = self.read(depth + 1)
        self._start(constants, names)
        for _ in range(5):
            self.read(depth + 1)
        self._long()  # first line
        self.read(depth + 1)  # line table
        if self._modern:
            self.read(depth + 1)  # exception table
        self._collect(constants, names)

    def _start(self, constants: object, names: object) -> None:
        if not isinstance(names, tuple) or not isinstance(constants, tuple):
            return
        known = {name for name in names if isinstance(name, str)}
        self.names |= known
        words = {word for each in constants if isinstance(each, tuple) for word in each if isinstance(word, str)}
        called = not STARTS.isdisjoint(known)
        self.shell = self.shell or not SHELLS.isdisjoint(known) or (called and "shell" in words)
        for each in constants:
            self.lines.extend(_lines(each, called))

    def _collect(self, constants: object, names: object) -> None:
        """Any name may be that of a module, and any tuple of strings the list of what is taken from it."""
        if not isinstance(names, tuple):
            return
        listed = [each for each in constants if isinstance(each, tuple)] if isinstance(constants, tuple) else []
        taken = tuple(name for each in listed for name in each if isinstance(name, str))
        for name in names:
            if isinstance(name, str):
                self.imports.extend(Import(name, 0, taken, level, When.LATER) for level in range(4) if name or level)


def _lines(constant: object, called: bool) -> Iterator[CommandLine]:
    """A constant as a command line: a text, or a tuple of texts. Beside a call a word alone is believed."""
    texts = constant if isinstance(constant, tuple) else (constant,)
    if not all(isinstance(each, str) and each.isascii() for each in texts):
        return
    if isinstance(constant, tuple) and constant:
        if len(constant) > 1 or called:
            yield CommandLine((*map(str, constant), *([""] if called else [])), 0)
    elif isinstance(constant, str) and len(constant.split()) == 1 and constant == constant.strip():
        yield CommandLine((constant, ""), 0) if called else CommandLine((constant,), 0, True)
    elif isinstance(constant, str) and constant.strip():
        yield CommandLine((constant.strip() + (f" {HOLE}" if constant.endswith(" ") else ""),), 0, True)
