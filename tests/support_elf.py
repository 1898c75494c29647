"""ELF files from data, and the real loaders to compare with.

`elf(...)` writes the smallest file that a dynamic loader accepts, for any class, byte
order and machine; it has no code, which tracing never runs. `trace(jobs)` starts such
files in their roots with the root's own loader listing what it loads.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NEEDED, SONAME, RPATH, RUNPATH = 1, 14, 15, 29
AUDIT, DEPAUDIT, AUXILIARY, FILTER, FLAGS_1 = 0x6FFFFEFC, 0x6FFFFEFB, 0x7FFFFFFD, 0x7FFFFFFF, 0x6FFFFFFB
NODEFLIB, PIE = 0x800, 0x08000000


@dataclass(frozen=True)
class Arch:
    """What a header of an architecture says, where Debian has its loader, and which qemu runs it."""

    debian: str
    machine: int
    bits: int
    little: bool
    flags: int
    loader: str
    qemu: str = ""

    @property
    def runner(self) -> list[str]:
        return [shutil.which(f"qemu-{self.qemu}-static") or ""] if self.qemu else []


ARCHES = {
    each.debian: each
    for each in (
        Arch("amd64", 62, 64, True, 0, "/lib64/ld-linux-x86-64.so.2"),
        Arch("i386", 3, 32, True, 0, "/lib/ld-linux.so.2"),
        Arch("arm64", 183, 64, True, 0, "/lib/ld-linux-aarch64.so.1", "aarch64"),
        Arch("armhf", 40, 32, True, 0x5000400, "/lib/ld-linux-armhf.so.3", "arm"),
        Arch("armel", 40, 32, True, 0x5000200, "/lib/ld-linux.so.3", "arm"),
        Arch("s390x", 22, 64, False, 0, "/lib/ld64.so.1", "s390x"),
        Arch("ppc64el", 21, 64, True, 2, "/lib64/ld64.so.2", "ppc64le"),
        Arch("mips64el", 8, 64, True, 0x80000007, "/lib64/ld.so.1", "mips64el"),
        Arch("mipsel", 8, 32, True, 0x70001007, "/lib/ld.so.1", "mipsel"),
        Arch("riscv64", 243, 64, True, 5, "/lib/ld-linux-riscv64-lp64d.so.1", "riscv64"),
    )
}
AMD64 = ARCHES["amd64"]


def elf(
    *tags: tuple[int, str | int],
    arch: Arch = AMD64,
    interpreter: str | None = None,
    type_: int = 3,
    ident: Mapping[int, int] | None = None,
    **header: int,
) -> bytes:
    """A file with these dynamic tags, in this order. `header` overrides machine, flags, version, bits, phentsize."""
    bits, order = header.get("bits", arch.bits), "<" if arch.little else ">"
    wide = bits == 64
    texts = bytearray(b"\0")
    entries: list[tuple[int, int]] = []
    for tag, value in tags:
        if isinstance(value, str):
            entries.append((tag, len(texts)))
            texts += value.encode("utf-8", "surrogateescape") + b"\0"
        else:
            entries.append((tag, value))
    ehsize, phsize = (64, 56) if wide else (52, 32)
    count = 5 if interpreter is not None else 3
    at = ehsize + count * phsize
    name = interpreter.encode() + b"\0" if interpreter is not None else b""
    interp_at, at = at, -(-(at + len(name)) // 16) * 16
    symbols_at, at = at, at + (24 if wide else 16)
    wide_hash = arch.machine == 22 and wide
    hash_at, at = at, -(-(at + (32 if wide_hash else 16)) // 16) * 16
    dynamic_at = at
    entry_size = 16 if wide else 8
    dynamic_size = (len(entries) + 6) * entry_size
    texts_at = at + dynamic_size
    # 4 hash, 5 texts, 6 symbols, 10 text size, 11 symbol size
    entries += [(5, texts_at), (6, symbols_at), (10, len(texts)), (11, 24 if wide else 16), (4, hash_at), (0, 0)]
    size = texts_at + len(texts)
    first = bytearray(b"\x7fELF" + bytes([2 if wide else 1, 1 if arch.little else 2, 1]) + bytes(9))
    for place, value in (ident or {}).items():
        first[place] = value
    out = bytearray(first)
    out += struct.pack(
        order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"),
        type_,
        header.get("machine", arch.machine),
        header.get("version", 1),
        0,
        ehsize,
        0,
        header.get("flags", arch.flags),
        ehsize,
        header.get("phentsize", phsize),
        count,
        0,
        0,
        0,
    )

    def segment(kind: int, flags: int, start: int, length: int, align: int) -> bytes:
        if wide:
            return struct.pack(order + "IIQQQQQQ", kind, flags, start, start, start, length, length, align)
        return struct.pack(order + "IIIIIIII", kind, start, start, start, length, length, flags, align)

    if interpreter is not None:
        out += segment(6, 4, ehsize, count * phsize, 8)
        out += segment(3, 4, interp_at, len(name), 1)
    out += segment(1, 7, 0, size, 0x10000)
    out += segment(2, 6, dynamic_at, dynamic_size, 8)
    out += segment(0x6474E551, 6, 0, 0, 16)
    out += name
    out += bytes(hash_at - len(out))
    out += struct.pack(order + ("4Q" if wide_hash else "4I"), 1, 1, 0, 0)
    out += bytes(dynamic_at - len(out))
    for tag, value in entries:
        out += struct.pack(order + ("QQ" if wide else "II"), tag, value)
    return bytes(out + texts)


def program(*tags: tuple[int, str | int], arch: Arch = AMD64, interpreter: str | None = None, **more: Any) -> bytes:
    return elf(*tags, arch=arch, interpreter=arch.loader if interpreter is None else interpreter, **more)


@dataclass(frozen=True)
class Job:
    """One program to trace: in its root, with this environment."""

    root: str
    path: str
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str = "/"
    runner: Sequence[str] = ()  # a static qemu
    uid: int = 0
    argv: Sequence[str] = ()  # run this instead, untraced


@dataclass(frozen=True)
class Traced:
    """What the real loader said."""

    loads: tuple[tuple[str, str], ...]  # name, path
    missing: tuple[str, ...]
    status: int
    output: str
    errors: str


def trace(jobs: Sequence[Job]) -> list[Traced]:
    """Run all jobs in a mount namespace of their own, each chrooted into its root with /proc mounted."""
    prefix = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    work = [{**job.__dict__, "env": dict(job.env), "runner": list(job.runner), "argv": list(job.argv)} for job in jobs]
    done = subprocess.run(
        [*prefix, sys.executable, "-S", __file__],
        input=json.dumps(work),
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    return [_parsed(*each) for each in json.loads(done.stdout)]


def listed(command: Sequence[str], env: Mapping[str, str]) -> Traced:
    """What a loader that is run as a command lists."""
    done = subprocess.run(command, capture_output=True, text=True, env=dict(env))
    return _parsed(done.returncode, done.stdout, done.stderr)


_LINE = re.compile(r"^\t(?:(.*) => )?(.*) \(0x[0-9a-f]+\)$")
_ABSENT = re.compile(r"^\t(.*) => not found$")


def _parsed(status: int, output: str, errors: str) -> Traced:
    loads: list[tuple[str, str]] = []
    missing: list[str] = []
    for line in output.splitlines():
        absent = _ABSENT.match(line)
        found = _LINE.match(line)
        if absent:
            missing.append(absent[1])
        elif found and not (found[1] is None and found[2].startswith(("linux-vdso", "linux-gate"))):
            loads.append((found[2] if found[1] is None else found[1], found[2]))
    return Traced(tuple(loads), tuple(missing), status, output, errors)


def loader_of(root: str | Path, arch: Arch) -> Path:
    """Where a Debian root really has its loader."""
    path = arch.loader
    for _ in range(10):
        place = Path(root) / path.lstrip("/")
        parent = Path(root) / os.path.relpath(os.path.realpath(place.parent), os.path.realpath(root))
        place = parent / place.name
        if not place.is_symlink():
            return place
        target = os.readlink(place)
        path = target if target.startswith("/") else "/" + os.path.relpath(parent / target, root)
    raise RuntimeError(f"no loader in {root}")


def _serve() -> None:
    answers = []
    mounted = set()
    scratches = []
    for job in json.load(sys.stdin):
        root = job["root"]
        if root not in mounted:
            if not os.path.isdir(os.path.join(root, "proc")):  # roots that are shared are never written to
                scratch = tempfile.mkdtemp()
                scratches.append(scratch)
                subprocess.run(["mount", "-t", "tmpfs", "tmpfs", scratch], check=True)
                for name in ("upper", "work"):
                    os.mkdir(os.path.join(scratch, name))
                options = f"lowerdir={root},upperdir={scratch}/upper,workdir={scratch}/work"
                subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, root], check=True)
                os.mkdir(os.path.join(root, "proc"))
            subprocess.run(["mount", "--rbind", "/proc", os.path.join(root, "proc")], check=True)
            mounted.add(root)
        answers.append(_run(job))
    for scratch in scratches:
        subprocess.run(["umount", "--lazy", scratch], check=True)
        os.rmdir(scratch)
    json.dump(answers, sys.stdout)


def _run(job: dict[str, Any]) -> tuple[int, str, str]:
    env = dict(job["env"])
    command = job["argv"] or [job["path"]]
    if not job["argv"]:
        env["LD_TRACE_LOADED_OBJECTS"] = "1"
    runner = job["runner"]
    handle = os.open(runner[0], os.O_RDONLY) if runner else -1
    ends = [os.pipe(), os.pipe()]
    child = os.fork()
    if child == 0:
        try:
            for number, (_, end) in enumerate(ends, 1):
                os.dup2(end, number)
            os.chroot(job["root"])
            os.chdir(job["workdir"])
            if job["uid"]:
                os.setgroups([])
                os.setgid(job["uid"])
                os.setuid(job["uid"])
            if runner:
                options = [word for name, value in env.items() for word in ("-E", f"{name}={value}")]
                os.set_inheritable(handle, True)
                os.execve(handle, [runner[0], *options, *command], {})
            signal.alarm(2)  # some filters send ld.so round in circles
            os.execve(command[0], command, env)
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(126)
    texts = []
    for start, end in ends:
        os.close(end)
        with os.fdopen(start, "rb") as stream:
            texts.append(stream.read().decode("utf-8", "surrogateescape"))
    if runner:
        os.close(handle)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), texts[0], texts[1]


if __name__ == "__main__":
    _serve()
