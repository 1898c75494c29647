"""What a glibc loader has compiled in, read from its own bytes: search path, $LIB, capability names.

Distributions patch all of these, so a table would be wrong somewhere; the loader is
there, and on every architecture they are plain texts in its read-only data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from slimmer.elf.machine import Machine
from slimmer.elf.model import Cpu, Libc

MAX_LOADER = 16 << 20  # bytes; ld.so has 0.2 MB, musl's whole libc 0.8 MB
FALLBACK = ("/lib64/", "/usr/lib64/", "/lib/", "/usr/lib/")

_DIRECTORIES = re.compile(rb"(?<=\0)(?:/(?:[\x21-\x7e]+/)?\0){1,16}")
_CACHE = re.compile(rb"(?<=\0)(/[\x21-\x7e]*/ld\.so\.cache)\0")
_PRELOAD = re.compile(rb"(?<=\0)(/[\x21-\x7e]*/ld\.so\.preload)\0")
_LEVEL = rb"(?:x86-64-v\d|power\d+|z\d\d|la64v\d\.\d)"
_HWCAPS = re.compile(rb"(?<=\0)(" + _LEVEL + rb"(?::" + _LEVEL + rb")*)\0")
_RELEASE = re.compile(rb"release version (\d+)\.(\d+)")
_DEBIAN = re.compile(rb"\((?:Debian|Ubuntu) E?GLIBC ")
_MUSL_PATH = re.compile(rb"/etc/ld-musl-([\x21-\x7e]{1,64})\.path\0")
_MUSL_DEFAULT = re.compile(rb"(?<=\0)(/[\x21-\x39\x3b-\x7e]+(?::/[\x21-\x39\x3b-\x7e]+)+)\0")


@dataclass(frozen=True, slots=True)
class Traits:
    """Of one glibc loader. Directories end in a slash, as it has them."""

    trusted: tuple[str, ...] = FALLBACK
    lib: str = "lib64"  # what $LIB stands for
    cache: str = "/etc/ld.so.cache"
    preload: str = "/etc/ld.so.preload"
    hwcaps: tuple[str, ...] = ()  # best first
    release: tuple[int, int] = (0, 0)  # (2, 36)
    lenient: bool = False  # passes over files of other machines before it looks at their ABI: Debian's patch
    nohwcap: str = ""  # a file that turns all capability directories off, in old Debians
    legacy: bool = False  # searches tls/, the platform's and capability directories (before 2.37)


def libc_of(loader: bytes, path: str) -> Libc | None:
    """Whose loader these bytes are."""
    if b"/etc/ld-musl-" in loader or b"musl libc" in loader:
        return Libc.MUSL
    if b"ld.so.cache" in loader or b"GLIBC_PRIVATE" in loader:
        return Libc.GLIBC
    if "/ld-musl-" in path:
        return Libc.MUSL
    return Libc.GLIBC if re.search(r"/ld(64|-linux[^/]*)?\.so\.\d$", path) else None


def traits_of(loader: bytes) -> Traits:
    """Read a glibc loader's traits. What it does not show has upstream's default."""
    runs = [match.group() for match in _DIRECTORIES.finditer(loader) if b"lib" in match.group()]
    trusted: tuple[str, ...] = FALLBACK
    if runs:
        best = max(runs, key=lambda run: run.count(b"\0"))  # all that it searches stand together
        trusted = tuple(part.decode("utf-8", "surrogateescape") for part in best.split(b"\0") if len(part) > 1)
    first = trusted[0].strip("/")
    lib = first if f"{first}\0".encode("utf-8", "surrogateescape") in loader else first.rpartition("/")[2]
    release = _RELEASE.search(loader)
    known = (int(release[1]), int(release[2])) if release else (0, 0)
    hwcaps = max((match[1] for match in _HWCAPS.finditer(loader)), key=len, default=b"") if known >= (2, 33) else b""
    cache, preload = _CACHE.search(loader), _PRELOAD.search(loader)
    return Traits(
        trusted=trusted,
        lib=lib,
        cache=cache[1].decode() if cache else "/etc/ld.so.cache",
        preload=preload[1].decode() if preload else "/etc/ld.so.preload",
        hwcaps=tuple(hwcaps.decode().split(":")) if hwcaps else (),
        release=known,
        lenient=_DEBIAN.search(loader) is not None,
        nohwcap="/etc/ld.so.nohwcap" if b"\0/etc/ld.so.nohwcap\0" in loader else "",
        legacy=bool(release) and known < (2, 37),
    )


def musl_search_path(loader: bytes) -> tuple[str, str]:
    """(architecture as in /etc/ld-musl-ARCH.path, default search path) of a musl loader; "" where it does not say."""
    arch = _MUSL_PATH.search(loader)
    lists = (match[1].decode() for match in _MUSL_DEFAULT.finditer(loader))  # execvp's default PATH is another one
    default = next((each for each in lists if all("lib" in part for part in each.split(":"))), "")
    return arch[1].decode() if arch else "", default or "/lib:/usr/local/lib:/usr/lib"


def processors(machine: Machine, traits: Traits) -> tuple[Cpu, ...]:
    """The kinds of processor that this loader tells apart, the plainest first.

    Source: _dl_important_hwcaps in elf/dl-hwcaps.c; sysdeps/x86/cpu-features.c names the platform.
    """
    platforms: tuple[str | None, ...] = machine.platforms or (None,)
    plain = machine.capabilities if traits.legacy else ()
    rich = machine.capabilities + machine.extras if traits.legacy else ()
    kinds = [Cpu("baseline", (), platforms[0], plain, machine.hwcap)]
    for start in range(len(traits.hwcaps) - 1, -1, -1):
        name = traits.hwcaps[start]
        platform = name if name in platforms else platforms[0]
        kinds.append(Cpu(name, traits.hwcaps[start:], platform, plain, machine.hwcap))
    for platform in platforms[1:] if len(platforms) > 1 else platforms if rich != plain else ():
        kinds.append(Cpu(f"{kinds[len(traits.hwcaps)].name}+{platform}", traits.hwcaps, platform, rich, ~0))
    return tuple(kinds)


def subdirectories(cpu: Cpu, traits: Traits) -> tuple[str, ...]:
    """What is searched below each directory, in order, each with a slash at its end; the directory itself last.

    Before 2.37: every combination of capabilities, platform and "tls", in the order of
    a binary number counted down, the highest bit outermost. Source: elf/dl-hwcaps.c.
    """
    named = tuple(f"glibc-hwcaps/{name}/" for name in cpu.hwcaps)
    if not traits.legacy:
        return (*named, "")
    words = [*cpu.capabilities, *([cpu.platform] if cpu.platform else []), "tls"]
    combined = []
    for mask in range((1 << len(words)) - 1, -1, -1):
        combined.append("".join(f"{words[bit]}/" for bit in range(len(words) - 1, -1, -1) if mask >> bit & 1))
    return (*named, *dict.fromkeys(combined))
