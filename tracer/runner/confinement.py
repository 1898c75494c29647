"""What a policy leaves to the commands of a sandbox, where they are to be tried under it."""

from __future__ import annotations

from dataclasses import dataclass

from tracer.kernel.capabilities import number


@dataclass(frozen=True, slots=True)
class Confinement:
    """All of a policy that this machine's kernel can hold a command to."""

    seccomp: bytes = b""  # a BPF program, beside the sandbox's own
    capabilities: tuple[str, ...] = ()  # these and no others
    writable: tuple[str, ...] | None = None  # canonical directories; None: everything is
    no_new_privileges: bool = True

    @property
    def numbers(self) -> frozenset[int]:
        """Of the capabilities. Raises TracerError for a name that is none."""
        return frozenset(number(name) for name in self.capabilities)
