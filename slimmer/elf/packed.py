"""Texts in programs whose strings end nowhere: Go and Rust pack them in one row and carry their lengths apart.

    lea rax, [rip + …]  ──►  …gitfoldtar…        the address is in the code,
    mov ebx, 3                                    the length beside it

    .data: address, length, address, length       tables of texts: both are words

Read for amd64, with a look at what is called behind a text: `os/exec.Command`, `std::process::Command::new`. Go keeps
the names of its functions in every program, stripped ones too; Rust in its symbol table only, so that without one each
text counts as handed on: its library has few that are names of programs.
Source: Go's runtime/symtab.go (pcHeader, go 1.18 and 1.20) and debug/gosym; Intel's manual, volume 2 (LEA, MOV, CALL).
"""

from __future__ import annotations

import re
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

AMD64 = 62  # e_machine
LOAD, EXECUTABLE = 1, 1  # p_type, and its flag
SYMTAB, RELA = 2, 4  # sh_type
RELATIVE = 8  # R_X86_64_RELATIVE
LEA = re.compile(rb"[\x48\x4c]\x8d[\x05\x0d\x15\x1d\x25\x2d\x35\x3d](.{4})", re.S)  # lea r64, [rip + disp32]
THROUGH = re.compile(
    rb"(?:\xff\x15|[\x48\x4c]\x8b[\x05\x0d\x15\x1d\x25\x2d\x35\x3d])(.{4})", re.S
)  # call, mov [rip + …]
LENGTH = re.compile(  # mov r32, imm32; mov qword [register + …], imm32; push imm8, pop r64
    rb"(?:[\xb8-\xbf]|\x48\xc7(?:\x04\x24|[\x44\x84]\x24.(?:.{3}(?=.[\0\1]\0\0))?|[\x40-\x43\x45-\x47].|[\x80-\x83\x85-\x87].{4}))(.[\0\1])\0\0"
    rb"|\x6a(.)[\x58-\x5f]",
    re.S,
)
BEFORE, BEHIND = 12, 32  # bytes of code around an address in which its length stands
WINDOW = 208  # bytes of code before a call that make its arguments
NEAR = 48  # the same for its first argument
LONGEST = 400
PRINTABLE = re.compile(rb"[\x20-\x7e\t\n]{2,400}")
PCLNTAB = re.compile(rb"[\xf0\xf1]\xff\xff\xff\0\0[\x01\x04]\x08")
GO = (b"os/exec.Command", b"os/exec.CommandContext", b"os/exec.LookPath", b"os.StartProcess", b"syscall.Exec")
ENTRY = b"_rt0_amd64_linux"
GO_OWN = (b"os/exec.", b"os.", b"syscall.", b"internal/", b"runtime.")
RUST = re.compile(rb"process[^\0]{0,80}7Command3new")
DEEPEST = 2  # functions that hand a name on


@dataclass(frozen=True, slots=True)
class Packed:
    """A text of a program's constants; `called`: it is handed to what starts programs."""

    text: str
    called: bool


def packed_texts(data: bytes) -> list[Packed] | None:
    """The texts of a program that is read whole; None for a processor whose code is not read."""
    try:
        return _Program(data).texts()
    except (struct.error, IndexError, ValueError, OverflowError):
        return None  # headers that lie


class _Program:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._readable = data[4:6] == b"\x02\x01" and struct.unpack_from("<H", data, 18)[0] == AMD64
        at, size, count = *struct.unpack_from("<Q", data, 32), *struct.unpack_from("<HH", data, 54)
        headers = [struct.unpack_from("<IIQQQQ", data, at + size * each) for each in range(count)]
        self._loads = [(flags, start, place, held) for kind, flags, start, place, _, held in headers if kind == LOAD]
        self._relocated = [
            (where, address)
            for offset, size in self._sections(RELA)
            for where, info, address in struct.iter_unpack("<QQq", self._data[offset : offset + size // 24 * 24])
            if info == RELATIVE
        ]

    def texts(self) -> list[Packed] | None:
        if not self._readable:
            return None
        found: dict[str, bool] = {}
        for address, length in self._pairs():
            self._note(found, address, length, called=False)
        functions = sorted(self._functions())
        for flags, start, place, held in self._loads:
            if flags & EXECUTABLE:
                self._code(found, self._data[start : start + held], place, functions)
        blind = not any(name in GO or RUST.search(name) for _, name in functions)
        return [Packed(text, called or blind) for text, called in sorted(found.items())]

    def _note(self, found: dict[str, bool], address: int, length: int, *, called: bool) -> None:
        text = self._at(address, length)
        if text:
            found[text] = found.get(text, False) or called

    def _at(self, address: int, length: int) -> str:
        for _, start, place, held in self._loads:
            if place <= address and address + length <= place + held:
                bytes_ = self._data[start + address - place : start + address - place + length]
                return bytes_.decode("ascii") if PRINTABLE.fullmatch(bytes_) else ""
        return ""

    def _pairs(self) -> Iterator[tuple[int, int]]:
        """Addresses and lengths that lie beside each other in the data, as they are or as the loader relocates them."""
        lowest = min((place for _, _, place, _ in self._loads), default=0)
        highest = max((place + held for _, _, place, held in self._loads), default=0)
        for flags, start, _, held in self._loads:
            if not flags & EXECUTABLE and lowest:
                words = array("Q", self._data[start : start + held // 8 * 8])
                for at, length in enumerate(words):
                    if 2 <= length <= LONGEST and lowest <= words[at - 1] < highest:
                        yield words[at - 1], length
        for where, address in self._relocated:
            length = self._word(where + 8)
            if 2 <= length <= LONGEST:
                yield address, length

    def _word(self, address: int) -> int:
        for _, start, place, held in self._loads:
            if place <= address <= place + held - 8:
                return int.from_bytes(self._data[start + address - place : start + address - place + 8], "little")
        return 0

    def _sections(self, kind: int) -> Iterator[tuple[int, int]]:
        at, size, count = *struct.unpack_from("<Q", self._data, 40), *struct.unpack_from("<HH", self._data, 58)
        for each in range(count if at else 0):
            found, _, _, offset, held = struct.unpack_from("<IQQQQ", self._data, at + size * each + 4)
            if found == kind:
                yield offset, held

    def _functions(self) -> Iterator[tuple[int, bytes]]:
        """Where functions begin, and the names of those that count."""
        for found in PCLNTAB.finditer(self._data):
            yield from self._go_functions(found.start())
        for offset, held in self._sections(SYMTAB):
            names = next((at for at, size in self._texts_of(offset)), 0)
            for name, info, _, _, address, _ in struct.iter_unpack(
                "<IBBHQQ", self._data[offset : offset + held // 24 * 24]
            ):
                if info & 15 == 2 and address:
                    at = names + name
                    yield address, self._data[at : self._data.find(b"\0", at)][:LONGEST]

    def _texts_of(self, symbols: int) -> Iterator[tuple[int, int]]:
        """The text table that a symbol table's header links to."""
        at, size, count = *struct.unpack_from("<Q", self._data, 40), *struct.unpack_from("<HH", self._data, 58)
        for each in range(count):
            if struct.unpack_from("<Q", self._data, at + size * each + 24)[0] == symbols:
                link = struct.unpack_from("<I", self._data, at + size * each + 40)[0]
                yield struct.unpack_from("<QQ", self._data, at + size * link + 24)

    def _go_functions(self, table: int) -> Iterator[tuple[int, bytes]]:
        count, _, start, names, _, _, _, lines = struct.unpack_from("<8Q", self._data, table + 8)
        if count > 1 << 21 or table + lines + count * 8 > len(self._data):
            return
        found: list[tuple[int, bytes]] = []
        for offset, what in struct.iter_unpack("<II", self._data[table + lines : table + lines + count * 8]):
            name = table + names + struct.unpack_from("<i", self._data, table + lines + what + 4)[0]
            found.append((offset, self._data[name : self._data.find(b"\0", name)][:LONGEST]))
        if not start:  # go 1.26 no longer says where its code begins; the entry point is one of its functions
            entry = struct.unpack_from("<Q", self._data, 24)[0]
            start = next((entry - offset for offset, name in found if name == ENTRY), 0)
        yield from ((start + offset, name) for offset, name in found)

    def _code(self, found: dict[str, bool], code: bytes, place: int, functions: Sequence[tuple[int, bytes]]) -> None:
        leas: dict[int, list[tuple[int, int]]] = {}
        for each in LEA.finditer(code):
            at = each.start()
            address = place + each.end() + int.from_bytes(each[1], "little", signed=True)
            lengths = [next(LENGTH.finditer(code, each.end(), each.end() + BEHIND), None)]
            lengths += list(LENGTH.finditer(code, max(0, at - BEFORE), at))[-1:]
            for length in lengths:
                if length is not None:
                    size = int.from_bytes(length[1] or length[2], "little")
                    if 2 <= size <= LONGEST and self._at(address, size):
                        leas.setdefault(at, []).append((address, size))
        calls = _calls(code, place, functions, sorted(leas), self._relocated)
        for at, texts in leas.items():
            following = bisect_left(calls, at)
            called = following < len(calls) and calls[following] - at <= WINDOW
            for address, size in texts:
                self._note(found, address, size, called=called)


def _calls(
    code: bytes,
    place: int,
    functions: Sequence[tuple[int, bytes]],
    texts: Sequence[int],
    relocated: Sequence[tuple[int, int]],
) -> list[int]:
    """Where the code calls what starts programs, or a function that only hands a name on to it: offsets, sorted."""
    targets = {address for address, name in functions if name in GO or RUST.search(name)}
    if not targets:
        return []
    slots = {where: address for where, address in relocated if address in targets}
    sites = _sites(code, place)
    for each in THROUGH.finditer(code) if slots else ():
        slot = place + each.end() + int.from_bytes(each[1], "little", signed=True)
        if slot in slots:
            sites.setdefault(slots[slot], []).append(each.start())
    names = dict(functions)
    starts = [address for address, _ in functions]
    calls: set[int] = set()
    for _ in range(DEEPEST + 1):
        fresh = {site for target in targets for site in sites.get(target, ())} - calls
        calls |= fresh
        targets = set()
        for site in fresh:
            before = bisect_right(texts, site)
            if before and texts[before - 1] >= site - NEAR:
                continue
            inside = starts[bisect_right(starts, place + site) - 1]
            if not names[inside].startswith(GO_OWN):
                targets.add(inside)
    return sorted(calls)


def _sites(code: bytes, place: int) -> dict[int, list[int]]:
    """Offsets of calls by what they call, as far as that is in this code."""
    sites: dict[int, list[int]] = {}
    at = code.find(b"\xe8")
    while 0 <= at <= len(code) - 5:
        target = at + 5 + int.from_bytes(code[at + 1 : at + 5], "little", signed=True)
        if 0 <= target < len(code):
            sites.setdefault(place + target, []).append(at)
        at = code.find(b"\xe8", at + 1)
    return sites
