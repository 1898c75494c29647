"""The BPF program, run here instruction by instruction as the kernel would."""

from __future__ import annotations

import struct

import pytest

from tracer.kernel.bpf import RET_ALLOW, RET_USER_NOTIF
from tracer.kernel.seccomp import program
from tracer.kernel.syscalls import AARCH64, ARM, I386, NEWER, X32, X86_64, Action, Convention

HERE = 0xFFFFFF9C
EVERYTHING = frozenset(Action)
X86 = (X86_64, X32, I386)


def run(code: bytes, number: int, audit: int, *arguments: int) -> int:
    """What the program answers."""
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("<iIQ6Q", number if number < 1 << 31 else number - (1 << 32), audit, 0, *padded)
    steps = [struct.unpack_from("=HBBI", code, place) for place in range(0, len(code), 8)]
    at, accumulator = 0, 0
    for _ in range(10000):
        operation, yes, no, value = steps[at]
        at += 1
        if operation == 0x20:
            accumulator = struct.unpack_from("<I", data, value)[0]
        elif operation == 0x54:
            accumulator &= value
        elif operation == 0x05:
            at += value
        elif operation == 0x15:
            at += yes if accumulator == value else no
        elif operation == 0x35:
            at += yes if accumulator >= value else no
        elif operation == 0x06:
            return int(value)
        else:
            raise AssertionError(f"unknown instruction {operation:#x}")
    raise AssertionError("it does not end")


def number(convention: Convention, name: str) -> int:
    return next(number for number, call in convention.calls.items() if call.name == name)


@pytest.fixture(scope="module")
def code() -> bytes:
    return program(X86, RET_USER_NOTIF, EVERYTHING)


def test_it_fits(code: bytes) -> None:
    assert len(code) % 8 == 0
    assert len(code) // 8 < 4096  # BPF_MAXINSNS


@pytest.mark.parametrize("convention", X86, ids=lambda value: value.name)
def test_every_call_of_the_table_stops_and_no_other(convention: Convention, code: bytes) -> None:
    base = 0x40000000 if convention is X32 else 0
    for candidate in range(base, base + 600):
        call = convention.calls.get(candidate)
        if call is None and candidate in NEWER:
            continue
        if call is None:
            assert run(code, candidate, convention.audit, 1, 1, 1, 1, 1, 1) == RET_ALLOW
        elif not call.only:
            assert run(code, candidate, convention.audit, HERE, 1, 1, 0, 1, 1) == RET_USER_NOTIF, call.name


@pytest.mark.parametrize("convention", [X86_64, I386], ids=lambda value: value.name)
def test_a_call_newer_than_the_table_stops_to_be_counted(convention: Convention, code: bytes) -> None:
    newest = max(convention.calls)
    assert NEWER.start == newest + 1
    for candidate in (NEWER.start, NEWER.start + 100, NEWER.stop - 1):
        assert run(code, candidate, convention.audit) == RET_USER_NOTIF
    for candidate in (NEWER.stop, 0x000F0002, 0x40000000 | NEWER.start, 0xFFFFFFFF):
        assert run(code, candidate, convention.audit) == RET_ALLOW
    counted_by_nobody = program(X86, RET_USER_NOTIF, EVERYTHING - {Action.UNKNOWN})
    assert run(counted_by_nobody, NEWER.start, convention.audit) == RET_ALLOW


def test_an_unknown_architecture_is_allowed(code: bytes) -> None:
    assert run(code, 2, AARCH64.audit) == RET_ALLOW


@pytest.mark.parametrize(
    ("name", "arguments", "stops"),
    [
        ("newfstatat", (3, 1, 1, 0x1000), False),  # fstat
        ("newfstatat", (HERE, 1, 1, 0x1000), True),
        ("newfstatat", (3, 1, 1, 0x1100), True),
        ("newfstatat", (3, 1, 1, 0), True),
        ("statx", (3, 1, 0x1000, 7, 1), False),
        ("statx", (3, 1, 0, 7, 1), True),
        ("utimensat", (3, 0, 1, 0), False),  # futimens
        ("utimensat", (3, 1 << 32, 1, 0), True),  # only the lower half of the pointer is null
        ("sendto", (3, 1, 1, 0, 0, 0), False),  # send
        ("sendto", (3, 1, 1, 0, 1, 16), True),
        ("prctl", (4, 0), True),
        ("prctl", (15, 1), False),
        ("ptrace", (0,), True),
        ("ptrace", (16, 5), True),
        ("ptrace", (7, 5), False),
        ("seccomp", (1, 8, 1), True),
        ("seccomp", (1, 0, 1), False),
        ("unshare", (0x20000,), True),
        ("unshare", (0x10000000,), False),
        ("fsconfig", (3, 3, 1, 1, HERE), True),
        ("fsconfig", (3, 1, 1, 1, 0), False),
        ("bpf", (7, 1, 16), True),
        ("bpf", (0, 1, 16), False),
        ("io_uring_setup", (8, 1), True),
    ],
)
def test_arguments_decide_where_they_can(name: str, arguments: tuple[int, ...], stops: bool, code: bytes) -> None:
    wanted = RET_USER_NOTIF if stops else RET_ALLOW
    assert run(code, number(X86_64, name), X86_64.audit, *arguments) == wanted


def test_socketcall_stops_for_addresses_only(code: bytes) -> None:
    stopped = {call for call in range(1, 21) if run(code, 102, I386.audit, call) == RET_USER_NOTIF}
    assert stopped == {2, 3, 11}


def test_actions_that_are_not_wanted_are_allowed() -> None:
    code = program((AARCH64, ARM), RET_USER_NOTIF, EVERYTHING - {Action.TRACER, Action.CHANGES_FD})
    assert run(code, number(AARCH64, "fchmod"), AARCH64.audit, 3) == RET_ALLOW
    assert run(code, number(AARCH64, "ptrace"), AARCH64.audit, 16) == RET_ALLOW
    assert run(code, number(AARCH64, "openat"), AARCH64.audit, HERE, 1) == RET_USER_NOTIF
    assert run(code, number(ARM, "open"), ARM.audit, 1) == RET_USER_NOTIF
