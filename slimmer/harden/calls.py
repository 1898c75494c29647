"""Which system calls the kept objects of an image can make, each with who makes it and how."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ptrace.syscall.linux.aarch64 import SYSCALL_NAMES as AARCH64
from ptrace.syscall.linux.i386 import SYSCALL_NAMES as I386
from ptrace.syscall.linux.x86_64 import SYSCALL_NAMES as X86_64

from slimmer.elf.file import Elf, ElfError
from slimmer.elf.loader import Loader
from slimmer.elf.symbols import imports
from slimmer.harden import code
from slimmer.harden.table import FUNCTIONS, WRAPPERS
from slimmer.root.model import Entry, FileType, Root
from tracer.kernel.denied import COMMON
from tracer.kernel.syscalls import conventions

# Objects that are the way to a call for others: what of them is used, their users' imports tell.
_LIBRARY = re.compile(
    r"(?:ld-linux[\w.-]*|ld64|ld-musl-\w+|libc\.musl-\w+|libc|libpthread|librt|libdl|libm|libresolv|libanl|libutil"
    r"|libnss_\w+|libBrokenLocale|libnsl|libmvec|libthread_db)(?:-2\.\d+)?\.so(?:\.\d+)*"
)
# Libraries that hand a number on to syscall(2) that their own callers inside give them: what these are, by the source.
_HANDED_ON = {
    "libcap.so.2": (("capset", "prctl", "setgid", "setgroups", "setuid"), "libcap, cap_proc.c"),
    "libseccomp.so.2": (("seccomp",), "libseccomp, system.c"),
    "libpsx.so.2": (("capset", "prctl", "setgid", "setgroups", "setuid"), "libcap, psx"),
}
# Interpreters with a syscall() for scripts: what that is used for, the scripts say.
_INTERPRETERS = re.compile(r"(?:perl|libperl\.so|libruby|ruby)[\w.-]*")
_PERL = re.compile(r"\.(?:pl|pm|ph|t|rb|cgi|psgi)$|/[^.]+$")
_BUILT_IN = re.compile(rb"\bsyscall\s*[(&]|\bSYS_\w+|syscall\.ph\b")
_SCRIPT = 1 << 20  # bytes of a text that is searched for names of functions
_TEXTS = re.compile(rb"\b(ctypes|cffi|Fiddle|ffi-napi|FFI)\b")
_WORDS = re.compile(rb"(?:[.\"'])(" + b"|".join(sorted(each.encode() for each in FUNCTIONS)) + rb"|syscall)\b")
_LITERALS = re.compile(rb"\0(" + b"|".join(sorted(each.encode() for each in FUNCTIONS)) + rb")(?=\0)")
_ENOUGH = 4  # reasons that are told of one call


@dataclass(frozen=True, slots=True)
class Reason:
    """A kept path, and how it comes to the call."""

    path: str
    text: str


@dataclass(slots=True)
class Possible:
    """What kept objects can do. `untold`: reasons why any call is possible. `wide` and `narrow`: 64 and 32 bits."""

    calls: dict[str, list[Reason]] = field(default_factory=dict)
    untold: list[Reason] = field(default_factory=list)
    imports: dict[str, list[str]] = field(default_factory=dict)  # a function to the objects that import it
    wide: bool = False
    narrow: list[str] = field(default_factory=list)

    def add(self, call: str, path: str, text: str) -> None:
        reasons = self.calls.setdefault(call, [])
        if len(reasons) < _ENOUGH and all(each.path != path for each in reasons):
            reasons.append(Reason(path, text))


def names(machine: str) -> Mapping[int, str]:
    """System call numbers of a machine (as uname -m says) by name; empty for one that is not known here."""
    table = {"x86_64": X86_64, "aarch64": AARCH64, "i386": I386}.get(machine, {})
    if not table:
        return {}
    kernel = conventions("x86_64")[1] if machine == "i386" else conventions(machine)[0]
    known = {number: call.name for number, call in kernel.calls.items()}
    return {**known, **{number: name for name, number in COMMON.items()}, **_NEWER, **table}


# One number on every architecture: scripts/syscall.tbl.
_NEWER = {
    424: "pidfd_send_signal",
    434: "pidfd_open",
    436: "close_range",
    437: "openat2",
    438: "pidfd_getfd",
    439: "faccessat2",
    440: "process_madvise",
    441: "epoll_pwait2",
    444: "landlock_create_ruleset",
    445: "landlock_add_rule",
    446: "landlock_restrict_self",
    447: "memfd_secret",
    448: "process_mrelease",
    449: "futex_waitv",
    451: "cachestat",
    452: "fchmodat2",
    453: "map_shadow_stack",
    454: "futex_wake",
    455: "futex_wait",
    456: "futex_requeue",
    462: "mseal",
}
_BY_FUNCTION: dict[str, list[str]] = {}
for _call, _functions in WRAPPERS.items():
    for _function in _functions:
        _BY_FUNCTION.setdefault(_function, []).append(_call)


def possible(root: Root, paths: Iterable[str], say: Callable[[str], None] = lambda text: None) -> Possible:
    """Of the image whose kept files these are."""
    found = Possible()
    loader = Loader(root)
    texts: list[Entry] = []
    foreign: list[str] = []
    interpreters: list[str] = []
    for path in paths:
        entry = root.entry(path)
        if entry is None or entry.type is not FileType.FILE or not entry.size:
            continue
        try:
            file = loader.finder.file(entry)
            if file is None:
                texts.append(entry)
                continue
            name = file.soname or path.rpartition("/")[2]
            if _INTERPRETERS.fullmatch(name):
                interpreters.append(path)
            if _object(root, entry, file, name, found):
                foreign.append(path)
        except ElfError as error:
            found.untold.append(Reason(path, f"it cannot be read: {error.reason}"))
    if foreign or interpreters:
        say(f"looking into texts for functions that are called by name, for {(*foreign, *interpreters)[0]}")
        _scripts(root, texts, found, bool(interpreters))
    return found


def _object(root: Root, entry: Entry, file: Elf, name: str, found: Possible) -> bool:
    """Note what an object can do; whether it calls functions that others name."""
    if file.bits == 64:
        found.wide = True
    else:
        found.narrow.append(entry.path)
    if _LIBRARY.fullmatch(name):
        return False
    wanted = imports(root, entry, file)
    for function in wanted:
        found.imports.setdefault(function, []).append(entry.path)
        for call in _BY_FUNCTION.get(function, ()):
            found.add(call, entry.path, f"imports {function}()")
    if "dlsym" in wanted or "dlvsym" in wanted or "ffi_call" in wanted:
        for function in _literals(root, entry):
            for call in _BY_FUNCTION.get(function, ()):
                found.add(call, entry.path, f"looks functions up by name and holds the name {function}")
    if not code.readable(file):
        if "syscall" in wanted or not file.dynamic:
            found.untold.append(Reason(entry.path, "its code is of an architecture that is not read here"))
        return "ffi_call" in wanted
    handed = _HANDED_ON.get(name)
    for sites, how in (
        (code.instructions(root, entry, file), "has a syscall instruction for it"),
        (code.generic(root, entry, file) if "syscall" in wanted else code.Sites(), "calls syscall() for it"),
    ):
        for number in sites.numbers:
            found.add(names("x86_64").get(number, f"number {number}"), entry.path, how)
        if sites.untold and handed:
            for call in handed[0]:
                found.add(call, entry.path, f"hands it on to syscall() ({handed[1]})")
        elif sites.untold and not (_INTERPRETERS.fullmatch(name) and how.startswith("calls")):
            text = f"{sites.untold} of its ways into the kernel take a number that cannot be told"
            found.untold.append(Reason(entry.path, text))
    return "ffi_call" in wanted


def _literals(root: Root, entry: Entry) -> set[str]:
    with root.open(entry.path) as stream:
        return {each.decode() for each in _LITERALS.findall(stream.read())}


def _scripts(root: Root, texts: Iterable[Entry], found: Possible, built_in: bool) -> None:
    """Functions that scripts name to a foreign function interface (ctypes.CDLL(None).ptrace), and Perl's syscall()."""
    for entry in texts:
        if entry.size > _SCRIPT:
            continue
        with root.open(entry.path) as stream:
            content = stream.read()
        if built_in and _PERL.search(entry.path) and _BUILT_IN.search(content):
            found.untold.append(Reason(entry.path, "a script that speaks of syscall()"))
        if not _TEXTS.search(content):
            continue
        for word in set(_WORDS.findall(content)):
            name = word.decode()
            if name == "syscall":
                found.untold.append(Reason(entry.path, "speaks of a foreign function interface and of syscall()"))
            for call in _BY_FUNCTION.get(name, ()):
                found.add(call, entry.path, f"speaks of a foreign function interface and of {name}()")
