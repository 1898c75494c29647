"""Go and Rust: texts that end nowhere, told by addresses and lengths, and what is handed to `exec.Command`."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from slimmer.closure.languages.compiled import CompiledRule
from slimmer.elf.packed import Packed, packed_texts
from tests.unit.closures import kept

BASE, CODE, DATA = 0x400000, 0x200, 0x600
COMMAND, RUN, MAIN = 0x00, 0x10, 0x40  # functions, from the beginning of the code
TEXTS = "gitfoldtartac %s | comm - xpasteshell/usr/bin/factor"


def text(name: str) -> tuple[int, int]:
    """Where a text lies from the beginning of the data, and its length."""
    return TEXTS.index(name), len(name)


def argument(code: bytes, name: str) -> bytes:
    """lea rax, [rip + …]; mov ebx, length, as go compiles a text that is handed on in registers."""
    at, length = text(name)
    place = BASE + CODE + MAIN + len(code) + 7
    return code + b"\x48\x8d\x05" + struct.pack("<i", BASE + DATA + at - place) + b"\xbb" + struct.pack("<I", length)


def call(code: bytes, target: int) -> bytes:
    """call, with what follows it far enough away."""
    return code + b"\xe8" + struct.pack("<i", target - MAIN - len(code) - 5)


def program(code: bytes, *, machine: int = 62, pairs: tuple[str, ...] = (), told: bool = True) -> bytes:
    """A go program in small: a segment of code, one of data, and the table of functions that go keeps.

    Until go 1.26 the table has `told` where the code begins; then only the entry point does.
    """
    names = b"\0os/exec.Command\0main.run\0main.main\0_rt0_amd64_linux\0"
    functions = [
        (COMMAND, b"\0os/exec.Command\0"),
        (RUN, b"\0main.run\0"),
        (MAIN, b"\0main.main\0" if told else b"\0_rt0_amd64_linux\0"),
    ]
    run = b"\x90" * 4 + b"\xe8" + struct.pack("<i", COMMAND - RUN - 9)
    text_segment = (b"\xc3".ljust(RUN, b"\x90") + run).ljust(MAIN, b"\x90") + code
    held = TEXTS.encode().ljust(0x80, b"\0")
    held += b"".join(struct.pack("<QQ", BASE + DATA + at, length) for at, length in map(text, pairs))
    lines = b"".join(struct.pack("<II", start, 0x100 + 8 * at) for at, (start, _) in enumerate(functions))
    records = b"".join(struct.pack("<Ii", start, names.index(name) + 1) for start, name in functions)
    table = b"\xf1\xff\xff\xff\0\0\1\x08"
    table += struct.pack("<8Q", len(functions), 0, BASE + CODE if told else 0, 0x48, 0, 0, 0, 0xA0) + names.ljust(
        0xA0 - 0x48, b"\0"
    )
    held += (table + lines).ljust(0xA0 + 0x100, b"\0") + records
    header = b"\x7fELF\2\1\1".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, machine, 1, BASE + CODE + MAIN, 64, 0, 0, 64, 56, 2, 0, 0, 0
    )
    loads = struct.pack("<IIQQQQQQ", 1, 5, CODE, BASE + CODE, 0, len(text_segment), len(text_segment), 16)
    loads += struct.pack("<IIQQQQQQ", 1, 4, DATA, BASE + DATA, 0, len(held), len(held), 16)
    return ((header + loads).ljust(CODE, b"\0") + text_segment).ljust(DATA, b"\0") + held


PADDING = b"\x90" * 300  # behind which a call has nothing to do with a text


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (call(argument(b"", "git"), COMMAND), Packed("git", True)),
        (call(argument(b"", "paste"), RUN), Packed("paste", True)),
        (call(argument(b"", "fold"), RUN + 1), Packed("fold", False)),
        (call(argument(b"", "tar") + PADDING, COMMAND), Packed("tar", False)),
    ],
)
def test_a_text_is_as_long_as_the_code_says_and_handed_to_what_is_called(code: bytes, expected: Packed) -> None:
    assert packed_texts(program(code)) == [expected]


@pytest.mark.parametrize("told", [True, False])
def test_functions_are_found_where_the_table_says_or_by_the_entry_point(told: bool) -> None:
    assert packed_texts(program(call(argument(b"", "git"), COMMAND), told=told)) == [Packed("git", True)]


def test_tables_hold_addresses_and_lengths() -> None:
    assert packed_texts(program(b"", pairs=("git", "/usr/bin/factor"))) == [
        Packed("/usr/bin/factor", False),
        Packed("git", False),
    ]


def test_programs_that_cannot_be_read_say_so() -> None:
    whole = program(call(argument(b"", "git"), COMMAND))
    assert packed_texts(program(b"", machine=183)) is None
    assert packed_texts(whole[:50]) is None
    for end in range(64, len(whole), 37):
        packed_texts(whole[:end])  # no error


def test_programs_that_are_started_stay_and_words_alone_do_not(tmp_path: Path) -> None:
    code = call(argument(call(argument(b"", "tar"), COMMAND) + PADDING, "tac %s | comm - x"), RUN)
    content = program(argument(code + PADDING, "fold"), pairs=("git", "/usr/bin/factor")) + b"os/exec.(*Cmd)"
    (tmp_path / "root/app").mkdir(parents=True)
    (tmp_path / "root/app/server").write_bytes(content)
    tools = ("git", "fold", "tar", "tac", "comm", "paste", "factor", "sh", "ls")
    tree: dict[str, str | bytes | None] = {f"/usr/bin/{name}": "#755 \x7fELF" for name in tools}
    found = kept(tmp_path, tree, "/app/server", rules=(CompiledRule,))
    assert found - {"/app/server"} == {f"/usr/bin/{name}" for name in ("git", "tar", "tac", "comm", "factor")}
