"""Classic BPF as seccomp takes it: an assembler of one line, and what the kernel shows a filter.

Source: include/uapi/linux/filter.h, bpf_common.h, seccomp.h.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable

LOAD, AND, GOTO, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x54, 0x05, 0x15, 0x35, 0x45, 0x06
RET_ERRNO, RET_USER_NOTIF, RET_TRACE, RET_ALLOW = 0x00050000, 0x7FC00000, 0x7FF00000, 0x7FFF0000
NUMBER, ARCHITECTURE = 0, 4  # offsets in struct seccomp_data


def op(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    """One struct sock_filter; `yes` and `no` are how many instructions a comparison skips."""
    return struct.pack("=HBBI", code, yes, no, value)


def argument(index: int, *, upper: bool = False) -> int:
    """The offset of one half of an argument; where the upper half lies depends on endianness."""
    return 16 + 8 * index + (4 if upper == (sys.byteorder == "little") else 0)


def by_architecture(sections: Iterable[tuple[int, list[bytes]]]) -> bytes:
    """A program of one section for each audit architecture, which finds the call's number loaded; the rest is allowed.

    A comparison skips 255 instructions at most, so a section is passed over by an unconditional jump.
    """
    code = [op(LOAD, ARCHITECTURE)]
    for audit, section in sections:
        body = [op(LOAD, NUMBER), *section, op(RETURN, RET_ALLOW)]
        code += [op(EQUAL, audit, 1, 0), op(GOTO, len(body)), *body]
    return b"".join([*code, op(RETURN, RET_ALLOW)])
