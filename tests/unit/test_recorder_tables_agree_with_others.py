"""The table of system calls: its numbers against python-ptrace's and the kernel's headers, its shape by rule."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ptrace.syscall.linux.aarch64 import SYSCALL_NAMES as PTRACE_AARCH64
from ptrace.syscall.linux.x86_64 import SYSCALL_NAMES as PTRACE_X86_64

from tracer.kernel.syscalls import (
    AARCH64,
    ARM,
    I386,
    LIST,
    READ,
    STAT,
    WRITE,
    X32,
    X86_64,
    Action,
    Convention,
    conventions,
    open_mask,
)
from tracer.recorder.ptrace import REGISTERS

ALL = (X86_64, X32, I386, ARM, AARCH64)
# Calls of these kinds name no path.
NOT_PATHS = frozenset(
    """fstat ftruncate fchmod fchown fsetxattr fgetxattr flistxattr fremovexattr fchdir fstatfs perf_event_open mq_open
    pidfd_open open_by_handle_at mq_unlink fsmount timer_create epoll_create epoll_create1 timerfd_create memfd_create
    create_module ustat kexec_load kexec_file_load fsopen""".split()  # noqa: SIM905
)


@pytest.mark.parametrize(("convention", "names"), [(X86_64, PTRACE_X86_64), (AARCH64, PTRACE_AARCH64)])
def test_numbers_are_those_of_python_ptrace(convention: Convention, names: dict[int, str]) -> None:
    for number, call in convention.calls.items():
        if number in names and number < 424:
            assert names[number] == call.name
        else:
            assert number >= 424, call.name


@pytest.mark.parametrize(
    ("convention", "header"),
    [(X86_64, "unistd_64.h"), (I386, "unistd_32.h"), (X32, "unistd_x32.h")],
    ids=lambda value: getattr(value, "name", value),
)
def test_numbers_are_those_of_the_kernel_headers(convention: Convention, header: str) -> None:
    place = Path("/usr/include/x86_64-linux-gnu/asm") / header
    if not place.exists():
        pytest.skip(f"not installed: {place} (linux-libc-dev)")
    numbers = {
        match[1]: int(match[2])
        for match in re.finditer(r"#define __NR_(\w+) (?:\(__X32_SYSCALL_BIT \+ )?(\d+)", place.read_text())
    }
    for number, call in convention.calls.items():
        if call.name in numbers:
            assert numbers[call.name] == number & 0xFFFF, call.name
        else:  # newer than the header, or not of this convention
            assert number & 0xFFFF >= 450 or (convention is X32 and call.name == "uselib"), call.name


@pytest.mark.parametrize("convention", [X86_64, AARCH64], ids=lambda value: value.name)
def test_no_call_that_names_a_path_is_forgotten(convention: Convention) -> None:
    """By name: every call of python-ptrace's table that looks like one is in ours."""
    names = PTRACE_X86_64 if convention is X86_64 else PTRACE_AARCH64
    pattern = re.compile(
        "open|stat|access|link|mkdir|mknod|rmdir|rename|chmod|chown|chdir|chroot|truncate|xattr|exec|mount|pivot_root"
        "|swapo|acct|utime|creat|inotify_add|name_to_handle|fanotify_mark|uselib|quotactl|bind|connect|sendto"
    )
    known = {call.name for call in convention.calls.values()}
    assert {name for name in names.values() if pattern.search(name)} - known - NOT_PATHS == {"mbind"} & set(
        names.values()
    )


def test_arm_has_the_numbers_of_its_table() -> None:
    """A sample from arch/arm/tools/syscall.tbl, which no package here carries."""
    names = {call.name: number for number, call in ARM.calls.items()}
    sample = {"open": 5, "openat": 322, "execve": 11, "stat64": 195, "fstatat64": 327, "statx": 397, "connect": 283}
    assert {name: names[name] for name in sample} == sample
    assert "newfstatat" not in names
    assert names["faccessat2"] == 439


@pytest.mark.parametrize("convention", ALL, ids=lambda value: value.name)
def test_operands_are_arguments(convention: Convention) -> None:
    for call in convention.calls.values():
        for operand in call.operands:
            assert 0 <= operand.path < 6
            assert operand.dirfd is None or 0 <= operand.dirfd < 6
        if call.action in (Action.OPEN, Action.OPENAT2, Action.EXEC, Action.ADDRESS):
            assert len(call.operands) == 1
            assert 0 <= call.extra < 6


def test_x32_has_its_own_exec() -> None:
    assert X32.calls[0x40000000 | 520].name == "execve"
    assert 0x40000000 | 59 not in X32.calls
    assert X32.calls[0x40000000 | 257].name == "openat"


@pytest.mark.parametrize(
    ("flags", "mask"),
    [
        (0, READ),
        (1, WRITE),
        (2, READ | WRITE),
        (0o100, READ | WRITE),  # O_CREAT
        (0o1000, READ | WRITE),  # O_TRUNC
        (0o1101, WRITE),
        (0o200000, LIST),
        (0o10000000, STAT),  # O_PATH
        (0o10200000, STAT),
        (0o20200002, WRITE),  # O_TMPFILE
        (0o2004000, READ),  # O_CLOEXEC, O_NONBLOCK
    ],
)
def test_the_flags_of_open_decide_its_kind(flags: int, mask: int) -> None:
    assert open_mask(flags, X86_64.directory_flag) == mask


def test_o_directory_differs_between_architectures() -> None:
    assert open_mask(0o40000, AARCH64.directory_flag) == LIST
    assert open_mask(0o40000, X86_64.directory_flag) == READ


def test_a_kernel_runs_its_compat_conventions() -> None:
    assert conventions("x86_64") == (X86_64, X32, I386)
    assert conventions("aarch64") == (AARCH64, ARM)
    assert conventions("vax") == ()


def test_every_machine_has_its_registers() -> None:
    for machine in ("x86_64", "aarch64", "i386", "arm"):
        assert len(set(REGISTERS[machine].arguments)) == 6
