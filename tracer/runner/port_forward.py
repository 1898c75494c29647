"""Ports of a session's network that programs outside can reach, as docker's -p gives them; no privilege and no tool.

    program outside ── listening socket of the caller's network ── forwarder ── loopback of the commands' network

A socket stays in the network that it was made in. So the caller listens first, and one process that it forks takes
these sockets along into the network of the commands: it accepts outside, and connects inside.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import gc
import os
import signal
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from tracer.errors import TracerError
from tracer.kernel import fork, userns

if TYPE_CHECKING:
    import asyncio

LOOPBACK = "127.0.0.1"
CHUNK = 1 << 16
_INSIDE = (LOOPBACK, "::1")  # where a program may listen, in the order in which it is tried
_RESET = struct.pack("ii", 1, 0)  # socket(7), SO_LINGER: closed at once, so that a client sees a broken connection


@dataclass(frozen=True, slots=True)
class PortForward:
    """`port` of `address` outside leads to port `to` inside."""

    port: int
    to: int
    address: str = LOOPBACK


class Forwarder:
    """The process. `close` ends it and all connections."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def close(self) -> None:
        """Nothing happens the second time."""
        if self._pid:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
            self._pid = 0


def forward(forwards: Sequence[PortForward], namespaces: Sequence[int]) -> Forwarder:
    """Listen, and lead what comes to the network of `namespaces` (none: the caller's own). Raises TracerError."""
    with contextlib.ExitStack() as listening:
        listeners = [(listening.enter_context(_listener(each)), each.to) for each in forwards]
        reader, writer = os.pipe2(os.O_CLOEXEC)
        # A Ctrl-C between fork and the child's own signal handling would unwind the caller's stack in the child.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            caller = os.getpid()
            child = os.fork()
            if child == 0:
                _child(listeners, namespaces, caller, writer)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(writer)
        with open(reader, encoding="utf-8", errors="replace") as stream:
            problem = stream.read()
        if problem:
            Forwarder(child).close()
            raise TracerError(f"cannot publish ports of the sandbox: {problem}")
        return Forwarder(child)


def _listener(forward: PortForward) -> socket.socket:
    family = socket.AF_INET6 if ":" in forward.address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((forward.address, forward.port))
        listener.listen(socket.SOMAXCONN)
    except OSError as error:
        listener.close()
        raise TracerError(
            f"cannot publish port {forward.to} at {forward.address} port {forward.port}: {error.strerror}",
            _advice(error.errno),
        ) from error
    return listener


def _advice(number: int | None) -> str:
    if number == errno.EADDRINUSE:
        return "something listens there already: stop it, or name another port"
    if number == errno.EACCES:
        return "ports below 1024 are root's: name a higher one"
    if number == errno.EADDRNOTAVAIL:
        return "this machine has no such address: leave it away for 127.0.0.1"
    return ""


def _child(
    listeners: Sequence[tuple[socket.socket, int]], namespaces: Sequence[int], caller: int, writer: int
) -> NoReturn:
    try:
        fork.alone([writer, *namespaces, *(listener.fileno() for listener, _ in listeners)])
        import asyncio  # takes a while to load, and only here

        userns.enter(namespaces)
        fork.die_with_parent()  # after the change of user namespace, which would take it back
        for each in namespaces:
            os.close(each)
        if os.getppid() != caller:
            os._exit(1)
        gc.freeze()  # the caller's objects are never collected here; our own are
        gc.enable()
        asyncio.new_event_loop().run_until_complete(_serve(listeners, writer))
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(writer, str(error).encode(errors="replace"))
    finally:
        os._exit(1)


async def _serve(listeners: Sequence[tuple[socket.socket, int]], writer: int) -> None:
    import asyncio

    servers = [
        await asyncio.start_server(functools.partial(_lead, port), sock=listener) for listener, port in listeners
    ]
    os.close(writer)  # they listen
    await asyncio.gather(*(each.serve_forever() for each in servers))


async def _lead(port: int, outside_in: asyncio.StreamReader, outside_out: asyncio.StreamWriter) -> None:
    """One connection, from its beginning to its end."""
    import asyncio

    for address in _INSIDE:
        try:
            inside_in, inside_out = await asyncio.open_connection(address, port)
            break
        except OSError:
            continue
    else:
        _break(outside_out)
        return
    try:
        await asyncio.gather(_pump(outside_in, inside_out), _pump(inside_in, outside_out))
        inside_out.close()
        outside_out.close()
    except OSError:
        _break(inside_out)
        _break(outside_out)


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """All that comes, and then that nothing more does: the other direction may go on. Raises OSError."""
    while data := await source.read(CHUNK):
        target.write(data)
        await target.drain()
    target.write_eof()


def _break(stream: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        stream.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    stream.transport.abort()
