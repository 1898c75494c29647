"""Names in Python bytecode that has no source: read from the marshal stream as data, nothing is unmarshalled.

Only the strings and the tuples of strings are taken out (Python/marshal.c, r_object):
the names that `import` statements leave in a code object's constants and names
are among them. What is not a module resolves to nothing and costs nothing.
"""

from __future__ import annotations

import struct

from slimmer.closure.python_imports import Import, Imports, When

HEADER = 16  # bytes before the stream since PEP 552
REF = 0x80
PYTHON_3_11 = 3495  # magic number from which code objects have their present layout (Lib/importlib)
DEEPEST = 200
END = object()  # closes a dictionary


class _Malformed(Exception):
    """The stream is not what this reader understands."""


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
    return Imports(tuple(reader.imports))


class _Stream:
    def __init__(self, content: bytes, at: int, magic: int) -> None:
        self._content = content
        self._at = at
        self._modern = magic >= PYTHON_3_11
        self._longs = 5 if self._modern else 6
        self.imports: list[Import] = []
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
        for _ in range(5):
            self.read(depth + 1)
        self._long()  # first line
        self.read(depth + 1)  # line table
        if self._modern:
            self.read(depth + 1)  # exception table
        self._collect(constants, names)

    def _collect(self, constants: object, names: object) -> None:
        """Any name may be that of a module, and any tuple of strings the list of what is taken from it."""
        if not isinstance(names, tuple):
            return
        listed = [each for each in constants if isinstance(each, tuple)] if isinstance(constants, tuple) else []
        taken = tuple(name for each in listed for name in each if isinstance(name, str))
        for name in names:
            if isinstance(name, str):
                self.imports.extend(Import(name, 0, taken, level, When.LATER) for level in range(4) if name or level)
