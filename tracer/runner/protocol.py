"""What the caller and the process that starts commands say to each other.

Frames over a stream socket: four bytes of length, then JSON; descriptors ride on
the length. The requests are the dataclasses below; an answer is `Answer`. One
request is answered before the next is sent.
"""

from __future__ import annotations

import array
import json
import socket
import struct
from dataclasses import asdict, dataclass, fields
from typing import Any

from tracer.errors import TracerError
from tracer.kernel import signals


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a command. Descriptors: stdin, stdout, stderr, and the pipe that gets its wait status."""

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    workdir: str
    uid: int
    gid: int
    groups: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OpenSocket:
    """Make an unconnected socket in the network namespace of the commands."""

    family: int
    type: int


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to every process of the tree."""

    number: int


@dataclass(frozen=True, slots=True)
class Drain:
    """Answer when no process is left, or after so many seconds; `number` of the answer is how many are left."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill every process of the tree; answered when none is left."""


@dataclass(frozen=True, slots=True)
class Writes:
    """List what the run changed."""


@dataclass(frozen=True, slots=True)
class Full:
    """Whether there were as many processes as there may be; `number` of the answer is 1 then."""


Request = Spawn | OpenSocket | Signal | Drain | Kill | Writes | Full
_REQUESTS: dict[str, type[Request]] = {
    each.__name__: each for each in (Spawn, OpenSocket, Signal, Drain, Kill, Writes, Full)
}


@dataclass(frozen=True, slots=True)
class Answer:
    """`error` is "" when it went well. Descriptors: what the request asked for."""

    error: str = ""
    hint: str = ""
    number: int = 0
    paths: tuple[str, ...] = ()

    def check(self) -> Answer:
        """Raises TracerError when it did not go well."""
        if self.error:
            raise TracerError(self.error, self.hint)
        return self


class Closed(Exception):
    """The other side is gone."""


class Wire:
    """One end. Owns its socket."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._asking = False  # an exchange began and did not end

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def ask(self, request: Request, descriptors: tuple[int, ...] = ()) -> tuple[Answer, tuple[int, ...]]:
        """One request and its answer. What ends the program waits so long: half an exchange would spoil the next.

        Raises Closed; TracerError where a former exchange broke off, or who starts commands is gone.
        """
        if self._asking:
            raise TracerError("the session was interrupted", "start another one")
        with signals.held_back():
            return self._exchange(request, descriptors)

    def _exchange(self, request: Request, descriptors: tuple[int, ...]) -> tuple[Answer, tuple[int, ...]]:
        self._asking = True
        try:
            self._send({"request": type(request).__name__, **asdict(request)}, descriptors)
            answer = self.answer()
        except Closed:
            self._asking = False
            if isinstance(request, Spawn | OpenSocket):
                raise TracerError(
                    "the commands' first process is gone, and all that ran with it",
                    "it or the recorder was killed, or memory ran out",
                ) from None
            raise
        self._asking = False
        return answer

    def answer(self) -> tuple[Answer, tuple[int, ...]]:
        """Wait for an answer. Raises Closed."""
        value, descriptors = self._receive()
        return Answer(**_tuples(value)), descriptors

    def reply(self, answer: Answer, descriptors: tuple[int, ...] = ()) -> None:
        """Answer a request. Raises Closed."""
        self._send(asdict(answer), descriptors)

    def request(self) -> tuple[Request, tuple[int, ...]]:
        """Wait for a request. Raises Closed."""
        value, descriptors = self._receive()
        kind = _REQUESTS[str(value.pop("request"))]
        known = {field.name for field in fields(kind)}
        return kind(**{name: each for name, each in _tuples(value).items() if name in known}), descriptors

    def _send(self, value: dict[str, Any], descriptors: tuple[int, ...]) -> None:
        raw = json.dumps(value).encode("ascii")
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        try:
            self._socket.sendmsg([struct.pack("=I", len(raw))], rights, socket.MSG_NOSIGNAL)
            self._socket.sendall(raw, socket.MSG_NOSIGNAL)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed from error

    def _receive(self) -> tuple[dict[str, Any], tuple[int, ...]]:
        try:
            head, ancillary, _, _ = self._socket.recvmsg(4, socket.CMSG_SPACE(16 * 4), socket.MSG_CMSG_CLOEXEC)
            descriptors = array.array("i")
            for level, kind, data in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    descriptors.frombytes(data[: len(data) // 4 * 4])
            if not head:
                raise Closed
            if len(head) < 4:  # the sender writes it at once, so this takes a signal's luck
                head += self._exactly(4 - len(head))
            value = json.loads(self._exactly(struct.unpack("=I", head)[0]))
        except ConnectionResetError as error:
            raise Closed from error
        assert isinstance(value, dict)
        return value, tuple(descriptors)

    def _exactly(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part = self._socket.recv(min(size - len(parts), 1 << 20))
            if not part:
                raise Closed
            parts += part
        return bytes(parts)


def _tuples(value: dict[str, Any]) -> dict[str, Any]:
    return {name: _tuple(each) for name, each in value.items()}


def _tuple(value: Any) -> Any:
    return tuple(_tuple(each) for each in value) if isinstance(value, list) else value
