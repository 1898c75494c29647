"""The filter of a sandbox's commands, judged call by call, and its numbers against the kernel's headers."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest

from tests.unit.test_session_parts_say_what_they_mean import judge
from tracer.errors import TracerError
from tracer.kernel import capabilities, denied
from tracer.kernel.denied import AARCH64, ARM, COMMON, I386, NUMBERS, X86_64, Table

ALLOW, REFUSED, ABSENT = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
PLAIN = denied.program((X86_64, I386), nested=False, recorded=False)
NESTED = denied.program((X86_64, I386), nested=True, recorded=True)
ARGUED = {"clone", "clone3", "io_uring_setup", "socket", "personality"}


@pytest.mark.parametrize("table", [X86_64, I386], ids=["x86_64", "i386"])
def test_each_call_of_the_table_is_refused_and_others_are_not(table: Table) -> None:
    for name, number in table.calls:
        if name not in ARGUED:
            assert judge(PLAIN, table.audit, number) == REFUSED, name
    for number in (0, 1, 2, 39, 231):
        assert judge(PLAIN, X86_64.audit, number) == ALLOW
    assert judge(PLAIN, table.audit, 435) == ABSENT
    assert judge(PLAIN, table.audit, 425) == ABSENT
    assert judge(PLAIN, table.audit, 700) == ABSENT  # not of any kernel yet


def test_the_numbers_of_x32_are_no_way_round() -> None:
    bit = 0x40000000
    assert judge(PLAIN, X86_64.audit, 272 | bit) == REFUSED
    assert judge(PLAIN, X86_64.audit, 528 | bit) == REFUSED
    assert judge(PLAIN, X86_64.audit, 0 | bit) == ALLOW


@pytest.mark.parametrize(
    ("flags", "answer"), [(0x11, ALLOW), (0x3D0F00, ALLOW), (0x10000011, REFUSED), (0x02000000, REFUSED)]
)
def test_clone_makes_threads_and_processes_but_no_namespaces(flags: int, answer: int) -> None:
    assert judge(PLAIN, X86_64.audit, 56, flags) == answer
    assert judge(PLAIN, I386.audit, 120, flags) == answer
    assert judge(NESTED, X86_64.audit, 56, flags) == ALLOW


def test_arguments_decide_about_sockets_and_personalities() -> None:
    assert judge(PLAIN, X86_64.audit, 41, 1) == ALLOW
    assert judge(PLAIN, X86_64.audit, 41, 40) == REFUSED  # AF_VSOCK
    for persona, answer in ((0, ALLOW), (8, ALLOW), (0x20008, ALLOW), (0xFFFFFFFF, ALLOW), (0x40000, REFUSED)):
        assert judge(PLAIN, X86_64.audit, 135, persona) == answer


def test_a_nested_sandbox_can_be_made_and_the_machine_not_be_touched() -> None:
    for number in (272, 165, 166, 155, 308, 430, 435, 425):
        assert judge(NESTED, X86_64.audit, number) == ALLOW
    for number in (321, 298, 250, 175, 246, 169, 304, 323, 443):
        assert judge(NESTED, X86_64.audit, number) == REFUSED


@pytest.mark.parametrize(("table", "header"), [(X86_64, "unistd_64.h"), (I386, "unistd_32.h")], ids=["x86_64", "i386"])
def test_numbers_are_those_of_the_kernels_headers(table: Table, header: str) -> None:
    place = Path("/usr/include/x86_64-linux-gnu/asm") / header
    if not place.exists():
        pytest.skip(f"not installed: {place} (linux-libc-dev)")
    known = {match[1]: int(match[2]) for match in re.finditer(r"#define __NR_(\w+) (\d+)", place.read_text())}
    known |= {"open_tree_attr": 467} | ({"kexec_load": 528, "move_pages": 533} if table is X86_64 else {})
    usual = {name: number for name, number in table.calls if number not in (246, 279)}
    assert {name: known[name] for name in usual} == usual


def test_every_architecture_denies_the_same_but_what_it_lacks() -> None:
    lacking = {line.split()[0] for line in NUMBERS.split("\n") if " -" in line}
    names = {name for name, _ in X86_64.calls} - lacking
    for table in (I386, ARM, AARCH64):
        assert names - {name for name, _ in table.calls} == set()
    assert all(number >= 424 for number in COMMON.values())


def test_capabilities_are_named_as_runtimes_name_them() -> None:
    assert capabilities.number("CAP_SYS_PTRACE") == capabilities.number("sys_ptrace") == 19
    assert len(capabilities.RUNTIME) == 13
    assert capabilities.number("MKNOD") not in capabilities.RUNTIME
    with pytest.raises(TracerError, match="no such capability: SYS_EVERYTHING"):
        capabilities.number("SYS_EVERYTHING")
