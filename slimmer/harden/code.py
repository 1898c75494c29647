"""System calls that an object's own code makes by number: `syscall` instructions, and calls of syscall(2).

The number is what was last put into the register before the site. The code around a site is decoded, not the
whole object; where the register's value comes from anywhere but a constant, it cannot be told.
Of x86_64 code only; of others the caller has to take everything for possible.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import capstone
from capstone import x86

from slimmer.elf.file import PT_DYNAMIC, PT_LOAD, Elf, ElfError, Reader, Tag
from slimmer.elf.machine import EM_X86_64
from slimmer.root.model import Entry, Root

LARGEST = 512 << 20  # bytes of one object's code
BEFORE, AFTER = 192, 512  # bytes decoded around a site
ROUNDS = 3  # jumps one after another that are followed back
_SYSCALL = b"\x0f\x05"
_GENERIC = b"syscall"
_GLOB_DAT, _JUMP_SLOT = 6, 7  # R_X86_64_*
_FIRST = frozenset({x86.X86_REG_RDI, x86.X86_REG_EDI, x86.X86_REG_DI, x86.X86_REG_DIL})
_NUMBER = frozenset({x86.X86_REG_RAX, x86.X86_REG_EAX, x86.X86_REG_AX, x86.X86_REG_AL, x86.X86_REG_AH})


@dataclass(frozen=True, slots=True)
class Sites:
    """Numbers that are told, and how many sites are not."""

    numbers: frozenset[int] = frozenset()
    untold: int = 0


def readable(file: Elf) -> bool:
    """Whether the code of an object can be read here."""
    return file.machine == EM_X86_64 and file.bits == 64


def instructions(root: Root, entry: Entry, file: Elf) -> Sites:
    """Of `syscall` instructions. Raises ElfError."""
    numbers: set[int] = set()
    untold = 0
    for address, code in _segments(root, entry, file):
        at = code.find(_SYSCALL)
        while at >= 0:
            found = _values(code, at, address, _NUMBER)
            untold += found is None
            numbers |= found or set()
            at = code.find(_SYSCALL, at + 1)
    return Sites(frozenset(numbers), untold)


def generic(root: Root, entry: Entry, file: Elf) -> Sites:
    """Of calls of syscall(2) in an object that imports it. Raises ElfError."""
    slots = frozenset(_slots(root, entry, file))
    segments = list(_segments(root, entry, file))
    stubs = {stub for address, code in segments for stub in _stubs(code, address, slots)}
    numbers: set[int] = set()
    seen = untold = 0
    for address, code in segments:
        for at in _calls(code, address, slots, stubs):
            seen += 1
            found = _values(code, at, address, _FIRST)
            untold += not found  # these bytes are a call, whether the decoding comes upon it or not
            numbers |= found or set()
    # Its address may be kept instead: then it is called from who knows where.
    return Sites(frozenset(numbers), untold if seen else 1)


def _segments(root: Root, entry: Entry, file: Elf) -> Iterator[tuple[int, bytes]]:
    """Address and bytes of each executable segment."""
    flags = _flags(root, entry, file)
    with root.open(entry.path) as stream:
        reader = Reader(stream, entry.path)
        for segment, bits in zip(file.segments, flags, strict=False):
            if segment.type == PT_LOAD and bits & 1 and segment.size:
                if segment.size > LARGEST:
                    raise ElfError(entry.path, segment.offset, "code", f"has {segment.size} bytes")
                yield segment.address, reader.take(segment.offset, segment.size, "code")


def _flags(root: Root, entry: Entry, file: Elf) -> list[int]:
    """p_flags of each program header of a 64-bit file."""
    with root.open(entry.path) as stream:
        reader = Reader(stream, entry.path)
        (start,) = struct.unpack("<Q", reader.take(32, 8, "header"))
        data = reader.take(start, 56 * len(file.segments), "program headers")
    return [int(flags) for flags, _ in struct.iter_unpack("<4xI48s", data)]


def _slots(root: Root, entry: Entry, file: Elf) -> Iterator[int]:
    """Addresses that the loader fills with that of syscall(2): relocations by its name."""
    symbols, texts = file.number(Tag.SYMTAB), file.number(Tag.STRTAB)
    if symbols is None or texts is None:
        return
    at, words = file.offset(symbols), file.offset(texts)
    if at is None or words is None:
        return
    with root.open(entry.path) as stream:
        reader = Reader(stream, entry.path)
        for place, size in _relocations(reader, file):
            data = reader.take(place, size - size % 24, "relocations")
            for offset, info, _ in struct.iter_unpack("<QQq", data):
                if info & 0xFFFFFFFF not in (_GLOB_DAT, _JUMP_SLOT):
                    continue
                (name,) = struct.unpack("<I", reader.take(at + 24 * (info >> 32), 4, "symbol"))
                if reader.take(words + name, len(_GENERIC) + 1, "text table") == _GENERIC + b"\0":
                    yield offset


def _relocations(reader: Reader, file: Elf) -> Iterator[tuple[int, int]]:
    """Where DT_RELA and DT_JMPREL lie in the file, and their sizes: tags that no loader search asks for."""
    for segment in file.segments:
        if segment.type != PT_DYNAMIC:
            continue
        data = reader.take(segment.offset, segment.size - segment.size % 16, "dynamic section")
        tags = dict(struct.iter_unpack("<QQ", data))
        for table, size in ((7, 8), (23, 2)):  # DT_RELA, DT_RELASZ; DT_JMPREL, DT_PLTRELSZ
            place = file.offset(tags.get(table, 0)) if table in tags else None
            if place is not None:
                yield place, tags.get(size, 0)


def _stubs(code: bytes, address: int, slots: frozenset[int]) -> Iterator[int]:
    """Entries of a procedure linkage table that jump through one of the slots: `jmp *slot(%rip)`."""
    for at in _through(code, address, b"\xff\x25", slots):
        yield address + at
        for ahead in (b"\xf3\x0f\x1e\xfa", b"\xf3\x0f\x1e\xfa\xf2"):  # endbr64, and the bnd prefix of older linkers
            if code[max(at - len(ahead), 0) : at] == ahead:
                yield address + at - len(ahead)


def _calls(code: bytes, address: int, slots: frozenset[int], stubs: set[int]) -> Iterator[int]:
    """Where syscall(2) is called, or jumped to in place of a call."""
    yield from _through(code, address, b"\xff\x15", slots)
    for opcode in (b"\xe8", b"\xe9"):
        at = code.find(opcode)
        while at >= 0 and at + 5 <= len(code):
            if address + at + 5 + int.from_bytes(code[at + 1 : at + 5], "little", signed=True) in stubs:
                yield at
            at = code.find(opcode, at + 1)


def _through(code: bytes, address: int, opcode: bytes, slots: frozenset[int]) -> Iterator[int]:
    at = code.find(opcode)
    while at >= 0 and at + 6 <= len(code):
        if address + at + 6 + int.from_bytes(code[at + 2 : at + 6], "little", signed=True) in slots:
            yield at
        at = code.find(opcode, at + 1)


_machine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
_machine.detail = True
_machine.skipdata = True  # tables lie between functions, and a beginning may be in the midst of an instruction


def _values(code: bytes, at: int, address: int, register: frozenset[int]) -> frozenset[int] | None:
    """The register's constants at a site; None: they cannot be told; empty: no instruction stands at these bytes.

    A linear decoding falls into step after a few instructions wherever it begins, so several beginnings vote.
    """
    answers: list[frozenset[int] | None] = []
    for back in (BEFORE, BEFORE - 1, BEFORE - 2, BEFORE - 3, BEFORE - 5):
        start = max(at - back, 0)
        steps = list(_machine.disasm(code[start : at + AFTER], address + start))
        place = next((index for index, step in enumerate(steps) if step.address == address + at), None)
        if place is not None and register is _NUMBER and _is_data(steps, place):
            answers.append(frozenset())
        elif place is not None:
            answers.append(_constants(steps, place, register, ROUNDS))
        if start == 0:
            break
    if not answers:
        return frozenset()
    found, votes = Counter(answers).most_common(1)[0]
    return found if 2 * votes > len(answers) else None


def _is_data(steps: list[capstone.CsInsn], place: int) -> bool:
    """Whether what was decoded around a site is no program: bytes that mean nothing, or what no program may do."""
    site = steps[place].address
    around = [step for step in steps if step is not steps[place] and -64 < step.address - site < 24]
    return any(not step.id or step.group(capstone.CS_GRP_PRIVILEGE) for step in around)


def _constants(
    steps: list[capstone.CsInsn], place: int, register: frozenset[int], rounds: int
) -> frozenset[int] | None:
    """What the register holds before a step, by whatever way that is reached from within what was decoded."""
    for index in range(place - 1, -1, -1):
        step = steps[index]
        if not step.id:
            return None  # data
        if register & set(step.regs_access()[1]):
            break
        if step.group(capstone.CS_GRP_CALL) or step.mnemonic in ("jmp", "ret", "syscall", "ud2"):
            return None
    else:
        return None
    value = _constant(step)
    if value is None:
        return None
    found = {value}
    for source, other in enumerate(steps):
        if not (other.id and other.group(capstone.CS_GRP_JUMP) and other.operands[0].type == x86.X86_OP_IMM):
            continue
        if not step.address < other.operands[0].imm <= steps[place].address:
            continue
        if index < source < place:
            continue  # a jump on within the same stretch, where nothing writes the register
        more = _constants(steps, source, register, rounds - 1) if rounds else None
        if more is None:
            return None
        found |= more
    return frozenset(found)


def _constant(step: capstone.CsInsn) -> int | None:
    if step.mnemonic in ("mov", "movabs") and step.operands[1].type == x86.X86_OP_IMM:
        return int(step.operands[1].imm) & 0xFFFFFFFF
    if step.mnemonic == "xor" and step.operands[0].type == step.operands[1].type == x86.X86_OP_REG:
        return 0 if step.operands[0].reg == step.operands[1].reg else None
    return None
