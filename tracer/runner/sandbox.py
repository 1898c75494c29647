"""A root to run commands in that is not the host's, and never changes: namespaces, an overlay, pivot_root.

What is inside, and where it comes from (as container runtimes do it, so that a slim
image behaves here as it will there):

    /              overlay: DIR below, a private directory above that is thrown away
    /proc          new, of the sandbox's own pid namespace; /proc/sys and the like read-only
    /sys           read-only
    /dev           null zero full random urandom tty, fd std* links, pts, shm, mqueue
    /tmp           new and empty, with the owner and mode of the root's own
    /etc/hosts, /etc/hostname, /etc/resolv.conf    generated
    everything else: the root's own, /run and /var too

A *keeper*, forked from the caller, makes the namespaces but stays in the host's mount
namespace; its child is pid 1 (`init`). When the caller dies, the wire hangs up and pid 1
ends, and with it, by the kernel, all of its pid namespace; the keeper then removes the
session's directory. When the keeper dies, pid 1 gets SIGKILL from the kernel.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from typing import NoReturn

from tracer.errors import TracerError
from tracer.kernel import fork, keyring, mountinfo, userns
from tracer.kernel.userns import Map
from tracer.recorder.protocol import Channel
from tracer.runner import init, protocol, session_directory
from tracer.runner.rootfs import RootfsBuilder, SandboxSpec


def available() -> str:
    """Why no sandbox can be made here, and what to do; "" when one can."""
    reason = userns.refused()
    return f"the kernel allows no namespaces here ({reason}); {userns.refusal()}" if reason else ""


def prepare(look: SandboxSpec) -> None:
    """In the caller: fill the session's directory. Raises TracerError."""
    try:
        os.symlink(look.root, f"{look.place}/lower")
        for name in ("upper", "work", "root", "etc"):
            os.mkdir(f"{look.place}/{name}", 0o755)
        for name, text in generated(
            look.hostname, private_network=look.private_network, hosts=look.hosts, files=look.files
        ).items():
            with open(f"{look.place}/etc/{name}", "w", encoding="utf-8") as stream:
                stream.write(text)
            os.chmod(f"{look.place}/etc/{name}", 0o644)
    except OSError as error:
        raise TracerError(f"cannot prepare a sandbox in {look.place}: {error}", "free some space there") from error


def generated(
    hostname: str,
    *,
    private_network: bool,
    hosts: Sequence[tuple[str, str]] = (),
    files: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The files of /etc that a runtime makes, by name; `files` are those of a network that is shared."""
    shared = files or {}
    resolver = shared.get("resolv.conf", "")
    if not private_network:
        with contextlib.suppress(OSError), open("/etc/resolv.conf", encoding="utf-8", errors="replace") as stream:
            resolver = stream.read()
    return {
        "hosts": f"127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n"
        + "".join(f"{address}\t{name}\n" for name, address in hosts)
        + shared.get("hosts", ""),
        "hostname": f"{hostname}\n",
        "resolv.conf": resolver,
    }


def keep(
    look: SandboxSpec,
    line: protocol.Wire,
    handshake: socket.socket,
    lock: int,
    channel: Channel | None,
    watched: tuple[int, ...],
    pretend_paths: bool,
) -> NoReturn:
    """The keeper's whole life, in a process that the caller forked. Failures go to the wire as an answer."""
    try:
        descriptors = channel.descriptors if channel else ()
        fork.alone(
            (line.fileno(), handshake.fileno(), lock, *descriptors, *watched, *look.join, *look.limits.entrances)
        )
        try:
            _unshare(look, handshake)
            child = os.fork()
        except OSError as error:
            line.reply(protocol.Answer(f"cannot make the namespaces of a sandbox: {error}", userns.refusal()))
            os._exit(1)
        if child == 0:
            os.close(lock)
            _first_process(look, line, channel, watched, pretend_paths)
        fork.close_others((lock,))
        os.waitpid(child, 0)
        session_directory.empty(look.place)
    finally:
        os._exit(0)


def _unshare(look: SandboxSpec, handshake: socket.socket) -> None:
    flags = (
        userns.NEWPID
        | userns.NEWIPC
        | userns.NEWUTS
        | userns.NEWCGROUP
        | (userns.NEWNET if look.private_network and not look.join else 0)
    )
    if look.join:
        userns.enter(look.join)
        fork.dumpable()
    if look.own_user_namespace:
        userns.unshare(userns.NEWUSER)
        fork.dumpable()
        handshake.send(b"u")
        if handshake.recv(1) != b"m":
            os._exit(1)  # the caller says why
    userns.unshare(flags)


def _first_process(
    look: SandboxSpec, line: protocol.Wire, channel: Channel | None, watched: tuple[int, ...], pretend_paths: bool
) -> NoReturn:
    try:
        fork.die_with_parent()
        keyring.join_new()
        inside = RootfsBuilder(look)
        inside.build()
        given = (os.pidfd_open(os.getpid()), *inside.namespaces())
        line.reply(protocol.Answer(hint="; ".join(inside.notes)), given)
        for descriptor in given:
            os.close(descriptor)
    except OSError as error:
        with contextlib.suppress(protocol.Closed):
            line.reply(protocol.Answer(f"cannot build a sandbox over {look.root}: {error}", _advice(error, look.root)))
        os._exit(1)
    except TracerError as error:
        with contextlib.suppress(protocol.Closed):
            line.reply(protocol.Answer(error.message, error.hint))
        os._exit(1)
    except BaseException:
        os._exit(1)
    held = look.confinement
    init.serve(
        init.InitConfig(
            wire=line,
            tree=PidNamespace(),
            channel=channel,
            watched=watched,
            single=look.ids.map is Map.SINGLE,
            pretend_paths=pretend_paths,
            protected=(),
            capabilities=held.numbers if held else look.capabilities,
            nested=look.nested,
            init=look.init,
            fresh_proc=inside.proc_of_process_one,
            no_new_privileges=(held is not None and held.no_new_privileges)
            or (look.ids.map in (Map.RANGES, Map.SINGLE) and not look.nested),
            seccomp=held.seccomp if held else b"",
            entrances=look.limits.entrances,
            most=look.limits.own_pids,
            nproc=look.ids.map is not Map.NONE,
            memory=bool(look.limits.memory),
            through=inside.through,
            changes=inside.changes,
        )
    )


def _advice(error: OSError, root: str) -> str:
    below = _mounted_below(root)
    if error.errno == errno.EINVAL and below:
        return (
            f"something is mounted in it, at {below}: unmount it, or run as root (an ordinary user cannot look behind)"
        )
    if error.errno in (errno.EPERM, errno.EACCES):
        return userns.refusal()
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "allow more open files with `ulimit -n`"
    if error.errno == errno.ENOSPC:
        return "free some space in the temporary directory, or name another with TMPDIR"
    return "the kernel needs overlayfs (5.11 or newer for an ordinary user)"


def _mounted_below(root: str) -> str:
    """The first mount point inside a directory, or ""."""
    try:
        places = [os.fsdecode(each.point) for each in mountinfo.read()]
    except OSError:
        return ""
    prefix = root.rstrip("/") + "/"
    return next((place for place in places if place.startswith(prefix) and "/slimmer-session-" not in place), "")


class PidNamespace:
    """All processes but pid 1, reached by kill(-1): the kernel walks them under one lock, so no fork escapes it."""

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
