"""Which file a command is, and why it could not be started. Runs inside the root, before anything is recorded."""

from __future__ import annotations

import errno
import os
import platform
import stat
import struct
from collections.abc import Mapping

from tracer.errors import TracerError
from tracer.runner import protocol

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MACHINES = {3: "i386", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64", 22: "s390x", 21: "ppc64", 8: "mips"}
_RUNS = {"x86_64": {3, 62}, "aarch64": {40, 183}}


def find(name: str, env: Mapping[str, str], workdir: str) -> str:
    """The path to execute: `name` itself when it has a slash, else the first executable file on PATH, as execvp(3).

    Raises TracerError when there is none.
    """
    if not name:
        raise TracerError("the command is empty", "name a program and its arguments")
    if "/" in name:
        return name
    searched = env.get("PATH", DEFAULT_PATH).split(":")
    refused = ""
    for directory in searched:
        candidate = os.path.join(directory, name) if directory else f"./{name}"
        try:
            status = os.stat(os.path.join(workdir, candidate))
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(status.st_mode) and status.st_mode & 0o111:
            return candidate
        if stat.S_ISREG(status.st_mode):
            refused = candidate
    if refused:
        raise TracerError(f"permission denied in the root: {refused} is not executable", f"chmod +x {refused}")
    raise TracerError(
        f"command not found in the root: {name}",
        f"looked in PATH {':'.join(searched)}; give its full path, or set PATH with --env",
    )


def explain(stage: str, number: int, text: str, program: str, request: protocol.Spawn) -> TracerError:
    """The error for a person, from what the forked child said: the stage and an errno."""
    who = f"uid {request.uid}, gid {request.gid}"
    match stage:
        case "workdir":
            return TracerError(
                f"cannot run in {request.workdir}: {text}", "name a directory of the root with --workdir"
            )
        case "identity":
            return TracerError(
                f"cannot become {who}: {text}",
                "an ordinary user can only become the ids that /etc/subuid and /etc/subgid give it; "
                "in place it can only stay itself",
            )
        case "exec":
            return _exec(number, text, program, request, who)
        case _:
            return TracerError(f"cannot {stage} {program}: {text}")


def _exec(number: int, text: str, program: str, request: protocol.Spawn, who: str) -> TracerError:
    place = os.path.join(request.workdir, program)
    try:
        status = os.stat(place)
    except OSError as error:
        if number == errno.ENOENT:
            return TracerError(
                f"command not found in the root: {program}", f"in the working directory {request.workdir}"
            )
        return TracerError(f"cannot execute {program} in the root: {error.strerror}", f"as {who}")
    if stat.S_ISDIR(status.st_mode):
        return TracerError(f"cannot execute {program} in the root: it is a directory")
    head = _head(place)
    interpreter = _interpreter(head, place)
    if number in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR) and interpreter:
        return TracerError(
            f"cannot execute {program}: its interpreter {interpreter} is not in the root",
            "the root is incomplete, or the program is of another architecture or C library",
        )
    if number == errno.EACCES:
        return TracerError(
            f"permission denied in the root: {program} has mode {stat.S_IMODE(status.st_mode):04o}, "
            f"uid {status.st_uid}, gid {status.st_gid}" + (f", interpreter {interpreter}" if interpreter else ""),
            f"it, its interpreter and all directories above must be executable for {who}",
        )
    machine = _machine(head)
    if machine and machine not in _RUNS.get(platform.machine(), {machine}):
        name = _MACHINES.get(machine, f"ELF machine {machine}")
        return TracerError(
            f"cannot execute {program}: it is for {name}, this machine is {platform.machine()}",
            "name the root's platform with --platform (needs qemu-user-static)",
        )
    if number == errno.ENOEXEC:
        return TracerError(
            f"cannot execute {program}: not a program (neither ELF nor a #! line)",
            f"run it with its interpreter, for example `sh {program}`",
        )
    return TracerError(f"cannot execute {program} in the root: {text}", f"as {who}")


def _head(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        return os.pread(descriptor, 4096, 0)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _machine(head: bytes) -> int:
    if head[:4] != b"\x7fELF" or len(head) < 20:
        return 0
    return int(struct.unpack_from("<H" if head[5] == 1 else ">H", head, 18)[0])


def _interpreter(head: bytes, path: str) -> str:
    """What the kernel opens beside the file itself: the #! program, or PT_INTERP."""
    if head[:2] == b"#!":
        words = head[2:256].split(b"\n")[0].split()
        return os.fsdecode(words[0]) if words else ""
    if head[:4] != b"\x7fELF" or len(head) < 64:
        return ""
    order = "<" if head[5] == 1 else ">"
    wide = head[4] == 2
    start, size, count = (
        struct.unpack_from(f"{order}Q", head, 32) + struct.unpack_from(f"{order}HH", head, 54)
        if wide
        else struct.unpack_from(f"{order}I", head, 28) + struct.unpack_from(f"{order}HH", head, 42)
    )
    for number in range(count):
        at = start + number * size
        if at + size > len(head):
            break
        if struct.unpack_from(f"{order}I", head, at)[0] == 3:  # PT_INTERP, elf.h
            offset, length = (
                (struct.unpack_from(f"{order}Q", head, at + 8)[0], struct.unpack_from(f"{order}Q", head, at + 32)[0])
                if wide
                else struct.unpack_from(f"{order}I", head, at + 4) + struct.unpack_from(f"{order}I", head, at + 16)
            )
            return os.fsdecode(head[offset : offset + length].rstrip(b"\0"))
    return ""
