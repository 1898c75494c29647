"""What differs between architectures: names, ABI checks, cache flags, capabilities. One table.

Sources: include/uapi/linux/elf-em.h; glibc sysdeps/*/dl-machine.h
(elf_machine_matches_host), sysdeps/unix/sysv/linux/*/dl-cache.h, sysdeps/*/dl-hwcaps-subdirs.c.
"""

from __future__ import annotations

from dataclasses import dataclass

from slimmer.elf.file import Elf

EM_386, EM_68K, EM_MIPS, EM_MIPS_RS3_LE, EM_PARISC = 3, 4, 8, 10, 15
EM_PPC, EM_PPC64, EM_S390, EM_ARM, EM_SH, EM_SPARCV9 = 20, 21, 22, 40, 42, 43
EM_IA_64, EM_X86_64, EM_AARCH64, EM_RISCV, EM_LOONGARCH, EM_ALPHA = 50, 62, 183, 243, 258, 0x9026
EM_S390_OLD = 0xA390

EF_MIPS_ABI2, EF_MIPS_FP64, EF_MIPS_NAN2008 = 0x20, 0x200, 0x400
EF_ARM_SOFT, EF_ARM_HARD = 0x200, 0x400
ELF_LIBC6 = 3  # cache flag of every library of glibc 2, sysdeps/generic/ldconfig.h


@dataclass(frozen=True, slots=True)
class Machine:
    """One architecture and ABI as a loader tells it apart."""

    name: str  # as `uname -m` says, where it does
    cache_flags: int  # of its libraries in ld.so.cache
    loaders: tuple[str, ...] = ()  # where its program interpreters are by convention
    platforms: tuple[str, ...] = ()  # values $PLATFORM can have, the most common first; none: it has no value
    capabilities: tuple[str, ...] = ()  # legacy capability directories that any processor of it has
    vdso: str = "linux-vdso.so.1"  # the object that the kernel itself maps
    other_flags: int = 0  # further cache flags that its loader accepts, second best
    extras: tuple[str, ...] = ()  # legacy capability directories of its better processors
    hwcap: int = 0  # legacy capability bits of cache entries that any processor of it has


_X86_64 = Machine(
    "x86_64",
    0x303,
    ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1"),
    ("x86_64", "haswell"),
    ("x86_64",),
    extras=("avx512_1",),
    hwcap=2,  # HWCAP_X86_64
)
_X32 = Machine("x32", 0x803, ("/libx32/ld-linux-x32.so.2", "/lib/ld-musl-x32.so.1"), ("x86_64", "haswell"), ("x86_64",))
_I386 = Machine(
    "i386",
    0x003,
    ("/lib/ld-linux.so.2", "/lib/ld-musl-i386.so.1"),
    ("i686", "i586"),
    ("sse2",),
    "linux-gate.so.1",
    1,
    hwcap=1,  # HWCAP_X86_SSE2
)
_AARCH64 = Machine(
    "aarch64",
    0xA03,
    ("/lib/ld-linux-aarch64.so.1", "/lib/ld-musl-aarch64.so.1"),
    ("aarch64",),
    extras=("atomics",),
)
_ARMHF = Machine(
    "armhf",
    0x903,
    ("/lib/ld-linux-armhf.so.3", "/lib/ld-musl-armhf.so.1"),
    ("v7l", "v8l", "v6l"),
    other_flags=ELF_LIBC6,
    extras=("vfp", "neon"),
)
_ARMEL = Machine(
    "armel",
    0xB03,
    ("/lib/ld-linux.so.3", "/lib/ld-musl-arm.so.1"),
    ("v5l", "v6l", "v7l", "v8l"),
    other_flags=ELF_LIBC6,
    extras=("vfp", "neon"),
)
_S390X = Machine(
    "s390x",
    0x403,
    ("/lib/ld64.so.1", "/lib/ld-musl-s390x.so.1"),
    ("z900", "z990", "z9-109", "z10", "z196", "zEC12", "z13", "z14", "z15", "z16"),
    vdso="linux-vdso64.so.1",
    extras=("vx", "vxe", "vxe2"),
)
_S390 = Machine("s390", 0x003, ("/lib/ld.so.1",), vdso="linux-vdso32.so.1", other_flags=1)
_POWERS = ("power8", "power9", "power10", "power7", "power6", "power5+", "power5", "power4")
_PPC64LE = Machine(
    "ppc64le",
    0x503,
    ("/lib64/ld64.so.2", "/lib/ld-musl-powerpc64le.so.1"),
    _POWERS,
    vdso="linux-vdso64.so.1",
)
_PPC64 = Machine("ppc64", 0x503, ("/lib64/ld64.so.1", "/lib/ld-musl-powerpc64.so.1"), _POWERS, vdso="linux-vdso64.so.1")
_PPC = Machine(
    "ppc", 0x003, ("/lib/ld.so.1", "/lib/ld-musl-powerpc.so.1"), _POWERS, vdso="linux-vdso32.so.1", other_flags=1
)
_RISCV64 = Machine("riscv64", 0x1003, ("/lib/ld-linux-riscv64-lp64d.so.1", "/lib/ld-musl-riscv64.so.1"))
_RISCV64_SOFT = Machine("riscv64", 0xF03, ("/lib/ld-linux-riscv64-lp64.so.1", "/lib/ld-musl-riscv64-sf.so.1"))
_RISCV32 = Machine("riscv32", 0x1003, ("/lib/ld-linux-riscv32-ilp32d.so.1",))
_LOONGARCH64 = Machine(
    "loongarch64",
    0x003,
    ("/lib64/ld-linux-loongarch-lp64d.so.1", "/lib/ld-musl-loongarch64.so.1"),
    ("loongarch",),
    other_flags=1,
)
_OTHERS = {
    (EM_68K, 32, False): Machine("m68k", 0x003, ("/lib/ld.so.1", "/lib/ld-musl-m68k.so.1"), other_flags=1),
    (EM_PARISC, 32, False): Machine("hppa", 0x003, ("/lib/ld.so.1",), other_flags=1),
    (EM_SH, 32, True): Machine("sh4", 0x003, ("/lib/ld-linux.so.2", "/lib/ld-musl-sh4.so.1"), other_flags=1),
    (EM_SPARCV9, 64, False): Machine("sparc64", 0x103, ("/lib64/ld-linux.so.2",)),
    (EM_IA_64, 64, True): Machine("ia64", 0x203, ("/lib/ld-linux-ia64.so.2",)),
    (EM_ALPHA, 64, True): Machine("alpha", 0x003, ("/lib/ld-linux.so.2",), other_flags=1),
}

_ALL = (_X86_64, _X32, _I386, _AARCH64, _ARMHF, _ARMEL, _S390X, _S390, _PPC64LE, _PPC, _LOONGARCH64)
# Names of directories below a library directory that some processor searches first.
VARIANT_NAMES = frozenset(
    {"glibc-hwcaps", "tls"}.union(*({*each.platforms, *each.capabilities, *each.extras} for each in _ALL))
)


def machine_of(file: Elf) -> Machine:
    """The architecture and ABI of a file. Files that share a loader give an equal Machine."""
    key = (file.machine, file.bits)
    if file.machine == EM_X86_64:
        return _X86_64 if file.bits == 64 else _X32  # x32 is the 64-bit machine in 32-bit class
    if file.machine == EM_AARCH64 and file.bits == 64:
        return _AARCH64
    if file.machine == EM_386:
        return _I386
    if file.machine == EM_ARM:
        return _ARMEL if file.flags & EF_ARM_SOFT or (file.interpreter or "").endswith("ld-linux.so.3") else _ARMHF
    if file.machine in (EM_S390, EM_S390_OLD):
        return _S390X if file.bits == 64 else _S390
    if file.machine == EM_PPC64:
        return _PPC64LE if file.little else _PPC64
    if file.machine == EM_PPC:
        return _PPC
    if file.machine == EM_RISCV:
        if file.bits == 32:
            return _RISCV32
        return _RISCV64 if file.flags & 6 == 4 else _RISCV64_SOFT  # EF_RISCV_FLOAT_ABI_DOUBLE
    if file.machine == EM_LOONGARCH and file.bits == 64:
        return _LOONGARCH64
    if file.machine in (EM_MIPS, EM_MIPS_RS3_LE):
        return _mips(file)
    known = _OTHERS.get((*key, file.little))
    return known or Machine(f"machine-{file.machine}-{file.bits}", ELF_LIBC6, other_flags=1)


def _mips(file: Elf) -> Machine:
    nan2008 = bool(file.flags & EF_MIPS_NAN2008)
    end = "el" if file.little else ""
    if file.bits == 64:
        return Machine(
            f"mips64{end}", 0xE03 if nan2008 else 0x703, ("/lib64/ld.so.1", f"/lib/ld-musl-mips64{end}.so.1")
        )
    if file.flags & EF_MIPS_ABI2:
        return Machine(f"mipsn32{end}", 0xD03 if nan2008 else 0x603, ("/lib32/ld.so.1",))
    return Machine(
        f"mips{end}", 0xC03 if nan2008 else 0x003, ("/lib/ld.so.1", f"/lib/ld-musl-mips{end}.so.1"), other_flags=1
    )


def matches(file: Elf, host: Elf) -> bool:
    """Whether glibc, built as `host` is, takes `file` for its own machine; if not it goes on searching.

    Class and byte order are compared before. Source: elf_machine_matches_host in sysdeps/*/dl-machine.h.
    """
    if host.machine in (EM_S390, EM_S390_OLD):
        return file.machine in (EM_S390, EM_S390_OLD)
    if host.machine in (EM_MIPS, EM_MIPS_RS3_LE):
        return (
            file.machine in (EM_MIPS, EM_MIPS_RS3_LE)
            and (file.flags ^ host.flags) & EF_MIPS_NAN2008 == 0
            and not file.flags & EF_MIPS_FP64
            and (host.bits == 64 or (file.flags ^ host.flags) & EF_MIPS_ABI2 == 0)
        )
    if file.machine != host.machine:
        return False
    if host.machine == EM_PPC64:
        return file.flags & 3 in (0, 2 if host.little else 1)
    if host.machine == EM_RISCV:
        return (file.flags ^ host.flags) & 6 == 0
    return True


def other_floats(file: Elf, host: Elf) -> bool:
    """ARM: hard float in soft or the reverse, where the file says so (VALID_FLOAT_ABI)."""
    if host.machine != EM_ARM or file.flags & 0xFF000000 != 0x05000000:
        return False
    return bool(file.flags & (EF_ARM_SOFT if machine_of(host).name == "armhf" else EF_ARM_HARD))


def tolerates(file: Elf, host: Elf) -> bool:
    """glibc's VALID_ELF_HEADER beyond magic, class and byte order; a file that fails it ends the program.

    Sources: sysdeps/gnu/ldsodefs.h, sysdeps/unix/sysv/linux/{arm,mips}/ldsodefs.h.
    """
    abi, abi_version = file.ident[7], file.ident[8]
    known = {0, 3, 64} if host.machine == EM_ARM else {0, 3}  # SYSV, GNU, ARM_AEABI
    if file.ident[6] != 1 or abi not in known or any(file.ident[9:16]) or file.version != 1:
        return False
    if other_floats(file, host):
        return False
    if host.machine in (EM_MIPS, EM_MIPS_RS3_LE) and abi == 0:
        return abi_version < 6
    return abi_version == 0 or (abi == 3 and abi_version < 4)  # LIBC_ABI_MAX
