"""The seccomp profile of an image, in the form that docker, podman and Kubernetes read, and as a BPF program.

Source: moby's profiles/seccomp (seccomp.go, default_linux.go); runtime-spec, config-linux.md.
"""

from __future__ import annotations

import enum
import errno
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from slimmer.errors import SlimmerError
from slimmer.harden.calls import Possible, Reason, names
from slimmer.harden.table import ALWAYS, DEFAULT, HOT, THIRTY_TWO, WRAPPERS
from tracer.kernel.bpf import (
    ANY_BIT,
    EQUAL,
    LOAD,
    RET_ALLOW,
    RET_ERRNO,
    RET_USER_NOTIF,
    RETURN,
    argument,
    by_architecture,
    op,
)

_NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
_VSOCK = 40
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "i386": 0x40000003}
# OCI's architectures: seccomp's name of the machine, the names of those whose programs it runs too, uname's name.
_MACHINES = {
    "amd64": ("SCMP_ARCH_X86_64", ("SCMP_ARCH_X86", "SCMP_ARCH_X32"), "x86_64"),
    "arm64": ("SCMP_ARCH_AARCH64", ("SCMP_ARCH_ARM",), "aarch64"),
    "386": ("SCMP_ARCH_X86", (), "i386"),
    "arm": ("SCMP_ARCH_ARM", (), "arm"),
    "s390x": ("SCMP_ARCH_S390X", ("SCMP_ARCH_S390",), "s390x"),
    "ppc64le": ("SCMP_ARCH_PPC64LE", (), "ppc64le"),
    "riscv64": ("SCMP_ARCH_RISCV64", (), "riscv64"),
}
# What a runtime's own default has for these machines alone.
_EXTRA = {
    "arm64": ("arm_fadvise64_64", "arm_sync_file_range", "sync_file_range2", "breakpoint", "cacheflush", "set_tls"),
    "arm": ("arm_fadvise64_64", "arm_sync_file_range", "sync_file_range2", "breakpoint", "cacheflush", "set_tls"),
    "s390x": ("s390_pci_mmio_read", "s390_pci_mmio_write", "s390_runtime_instr"),
    "ppc64le": ("sync_file_range2", "swapcontext"),
    "riscv64": ("riscv_flush_icache",),
}


class Level(enum.StrEnum):
    """From which evidence a profile is made."""

    SAFE = "safe"  # the runtimes' default less what nothing in the image can call
    STRICT = "strict"  # what its exercise called, and what every program needs


@dataclass(frozen=True, slots=True)
class Profile:
    """What is allowed, and why; what the runtimes' default has and this has not."""

    architecture: str  # OCI's name
    allowed: Mapping[str, tuple[Reason, ...]]
    refused: tuple[str, ...]
    untold: tuple[Reason, ...] = ()
    narrow: bool = False

    def document(self) -> dict[str, Any]:
        """As the runtimes read it."""
        machine, others, _ = _MACHINES[self.architecture]
        plain = sorted(set(self.allowed) - {"clone", "clone3", "personality", "socket"})
        rules: list[dict[str, Any]] = [{"names": plain, "action": "SCMP_ACT_ALLOW"}]
        if "clone" in self.allowed:
            index = 1 if self.architecture == "s390x" else 0
            masked = {"index": index, "value": _NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
            rules.append({"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [masked]})
        if "clone3" in self.allowed:  # its flags lie in memory: C libraries fall back to clone on ENOSYS
            rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS})
        if "personality" in self.allowed:
            for value in _PERSONALITIES:
                rules.append({"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [_test(value, "EQ")]})
        if "socket" in self.allowed:
            rules.append({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [_test(_VSOCK, "NE")]})
        return {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": errno.EPERM,
            "archMap": [{"architecture": machine, "subArchitectures": list(others) if self.narrow else []}],
            "syscalls": rules,
        }

    def dump(self) -> str:
        return json.dumps(self.document(), indent=1, sort_keys=True) + "\n"

    def program(self, otherwise: int = RET_ERRNO | errno.EPERM) -> bytes:
        """The same for this machine's kernel; `otherwise` is what becomes of a call that is not allowed.

        Raises SlimmerError where calls have no known numbers.
        """
        machine = _MACHINES[self.architecture][2]
        if not names(machine) or machine not in _AUDIT:
            raise SlimmerError(f"a filter for {self.architecture} cannot be tried here", "try it on its machine")
        machines = (machine, "i386") if self.narrow and machine == "x86_64" else (machine,)
        return by_architecture(
            (
                _AUDIT[each],
                [
                    *(step for number, name in sorted(names(each).items()) for step in self._steps(number, name)),
                    op(RETURN, otherwise),
                ],
            )
            for each in machines
        )

    def _steps(self, number: int, name: str) -> Iterator[bytes]:
        if name not in self.allowed:
            return
        allow, refuse = op(RETURN, RET_ALLOW), op(RETURN, RET_ERRNO | errno.EPERM)
        match name:
            case "clone3":
                decision = [op(RETURN, RET_ERRNO | errno.ENOSYS)]
            case "clone":
                decision = [op(LOAD, argument(0)), op(ANY_BIT, _NAMESPACES, 0, 1), refuse, allow]
            case "socket":
                decision = [op(LOAD, argument(0)), op(EQUAL, _VSOCK, 0, 1), refuse, allow]
            case "personality":
                last = len(_PERSONALITIES)
                tests = [op(EQUAL, each, last - index, 0) for index, each in enumerate(_PERSONALITIES)]
                decision = [op(LOAD, argument(0)), *tests, refuse, allow]
            case _:
                decision = [allow]
        yield op(EQUAL, number, 0, len(decision))
        yield from decision


def _test(value: int, how: str) -> dict[str, Any]:
    return {"index": 0, "value": value, "valueTwo": 0, "op": f"SCMP_CMP_{how}"}


def safe(possible: Possible, architecture: str, made: Collection[str] = (), beyond: bool = False) -> Profile:
    """The runtimes' default less what neither a C library by itself nor any kept object can call, nor a run `made`.

    `beyond`: the runs were given more than a container has by itself, so what they made counts beside the default.
    Raises SlimmerError.
    """
    _known(architecture)
    allowed: dict[str, tuple[Reason, ...]] = {}
    refused = []
    for call in _candidates(architecture, made, beyond):
        if call in made and call not in possible.calls and call not in ALWAYS:
            allowed[call] = (_MADE,)
        elif call in THIRTY_TWO and possible.wide and not possible.narrow:
            refused.append(call)
        elif reasons := possible.calls.get(call):
            allowed[call] = tuple(reasons)
        elif call in ALWAYS:
            allowed[call] = (_NEEDED,)
        elif call not in WRAPPERS:
            allowed[call] = (Reason("", "C libraries make it on behalf of other functions"),)
        elif possible.untold:
            first, more = possible.untold[0], len(possible.untold) - 1
            text = first.text + (f"; so it is with {more} more" if more else "")
            allowed[call] = (Reason(first.path, f"cannot be told: {text}"),)
        else:
            refused.append(call)
    return Profile(architecture, allowed, tuple(refused), tuple(possible.untold), bool(possible.narrow))


def strict(possible: Possible, architecture: str, made: Collection[str], beyond: bool = False) -> Profile:
    """What the runs `made`, and what every program needs. `possible` gives reasons, and no permission.

    Raises SlimmerError.
    """
    _known(architecture)
    allowed: dict[str, tuple[Reason, ...]] = {}
    refused = []
    for call in _candidates(architecture, made, beyond):
        if call in made:
            allowed[call] = (_MADE, *possible.calls.get(call, ()))
        elif call in ALWAYS:
            allowed[call] = (_NEEDED,)
        elif call in HOT:
            allowed[call] = (Reason("", "it works only on what other calls open, and is not watched for"),)
        elif call in THIRTY_TWO and possible.narrow:
            allowed[call] = (Reason(possible.narrow[0], "a program of 32 bits makes it in place of another"),)
        elif call == "fchown" and (users := possible.imports.get("fchown")):
            # Where a user namespace has one id only, it is answered before a recorder could see it.
            allowed[call] = (Reason(users[0], "imports fchown(), which cannot be watched for everywhere"),)
        else:
            refused.append(call)
    return Profile(architecture, allowed, tuple(refused), (), bool(possible.narrow))


_MADE = Reason("", "the exercise made it")
_NEEDED = Reason("", "every program, its C library or the runtime that starts it makes it")


def _candidates(architecture: str, made: Iterable[str], beyond: bool) -> list[str]:
    return sorted({*DEFAULT, *_EXTRA.get(architecture, ()), *(made if beyond else ())})


def runtimes_allow(architecture: str, call: str) -> bool:
    """Whether container runtimes allow a call by themselves."""
    return call in DEFAULT or call in _EXTRA.get(architecture, ())


def listening(machine: str) -> bytes:
    """A program that tells of every call of this machine but those that every profile allows."""
    machines = (machine, "i386") if machine == "x86_64" else (machine,)
    sections = []
    for each in machines:
        code: list[bytes] = []
        for number, name in sorted(names(each).items()):
            if name in ALWAYS or name in HOT:
                code += [op(EQUAL, number, 0, 1), op(RETURN, RET_ALLOW)]
        sections.append((_AUDIT[each], [*code, op(RETURN, RET_USER_NOTIF)]))
    return by_architecture(sections)


def named(calls: Iterable[tuple[int, int]]) -> frozenset[str]:
    """Names of calls that were told of, from audit architecture and number."""
    tables = {audit: names(machine) for machine, audit in _AUDIT.items()}
    return frozenset(tables.get(audit, {}).get(number, f"number {number}") for audit, number in calls)


def _known(architecture: str) -> None:
    if architecture not in _MACHINES:
        known = ", ".join(_MACHINES)
        raise SlimmerError(f"no seccomp profile is known for the architecture {architecture}", f"known are {known}")
