"""One traced thread, and the program that it runs."""

from __future__ import annotations

import contextlib
import os

from tracer.recorder.mount_namespace import Namespace

_WORTH_OPENING = 4  # reads: opening and closing cost about as much as these save


class DiscardScope(dict[bytes, int]):
    """For paths that lead nowhere: forgets what it is told."""

    def __setitem__(self, key: bytes, value: int) -> None:
        pass


class Scope(dict[bytes, int]):
    """What the processes of one executable named from one root and directory: string → mask.

    What is new goes to `news` too, for the journal.
    """

    __slots__ = ("news", "program", "where")

    def __init__(self, program: Program, where: tuple[bytes, bytes], news: list[News]) -> None:
        super().__init__()
        self.program = program
        self.where = where
        self.news = news

    def __setitem__(self, raw: bytes, mask: int) -> None:
        if self.get(raw) != mask:
            dict.__setitem__(self, raw, mask)
            self.news.append((self, raw, mask))


News = tuple[Scope, bytes, int]


class Program:
    """What the processes of one executable have named, by root and directory."""

    __slots__ = ("_news", "name", "scopes")

    def __init__(self, name: bytes, news: list[News]) -> None:
        self.name = name
        self.scopes: dict[tuple[bytes, bytes], Scope] = {}
        self._news = news

    def scope(self, root: bytes, base: bytes) -> Scope:
        scope = self.scopes.get((root, base))
        if scope is None:
            scope = self.scopes[root, base] = Scope(self, (root, base), self._news)
        return scope


class Process:
    """One thread. `absolute` and `relative` are the scopes of what it names from its root and from its directory."""

    __slots__ = (
        "_reads",
        "absolute",
        "base",
        "cwd_epoch",
        "memory",
        "namespace",
        "program",
        "relative",
        "root",
        "root_epoch",
        "tid",
    )

    def __init__(self, tid: int, program: Program) -> None:
        self.tid = tid
        self.program = program
        self.namespace: Namespace | None = None  # of mounts, when it has one of its own
        self.root_epoch = -1
        self.cwd_epoch = -1
        self.root: bytes = b""
        self.base: bytes = b""
        self.absolute: dict[bytes, int] = {}
        self.relative: dict[bytes, int] = {}
        self.memory = -1  # /proc/TID/mem, opened when it pays
        self._reads = 0

    def look(self) -> None:
        """Its memory has been read without `memory`."""
        self._reads += 1
        if self._reads == _WORTH_OPENING:
            with contextlib.suppress(OSError):
                self.memory = os.open(b"/proc/%d/mem" % self.tid, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """It may be another program soon, or another process under the same number."""
        if self.memory >= 0:
            os.close(self.memory)
            self.memory = -1
