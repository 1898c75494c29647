"""The store of facts: one SQLite file in a directory that only its owner may enter.

    $XDG_CACHE_HOME/slimmer/facts/    0700, its owner's
        facts.sqlite                  key, value, a checksum over both, and the day of the last use
        lock                          held while a database is opened, or given up

A key is a digest of what a fact was derived from and by what. Writers collect what is new and write it in one
transaction; the write-ahead log makes that whole or nothing, with any number of processes at once. Whatever cannot
be read, does not carry its checksum or belongs to somebody else is not there: the fact is worked out again. A
database that SQLite calls damaged is removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

VERSION = 2  # of the table
LIMIT = 1 << 30  # bytes of the database
NAME = "facts.sqlite"
_BATCH = 8 << 20  # bytes that wait to be written
_DAY = 86_400
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_OF_THE_MACHINE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM)
# With row numbers: keys beside large values, as WITHOUT ROWID has them, make a deep tree of four keys a page.
_TABLE = "CREATE TABLE IF NOT EXISTS facts (key BLOB PRIMARY KEY, value BLOB, sum BLOB, used INTEGER)"


@dataclass(frozen=True, slots=True)
class FactsSize:
    """What a store holds: entries, and bytes on disk."""

    entries: int = 0
    bytes: int = 0


class FactStore:
    """Facts by key. Never raises: what does not work is as if nothing were stored."""

    def __init__(self, directory: Path, limit: int = LIMIT) -> None:
        self._directory = directory
        self._limit = limit
        self._guard = threading.Lock()
        self._pending: dict[bytes, bytes] = {}
        self._waiting = 0
        self._touched: set[bytes] = set()
        self._today = int(time.time()) // _DAY
        self._process = os.getpid()
        self._identity = (0, 0)
        self._base: sqlite3.Connection | None = None
        with self._watched():
            self._base = self._open()

    @property
    def works(self) -> bool:
        """Whether there is a database to ask. A forked child has none: the connection is its parent's."""
        return self._base is not None and os.getpid() == self._process

    def get(self, key: bytes) -> bytes | None:
        """What is stored under a key."""
        found = None
        with self._guard, self._watched():
            found = self._pending.get(key)
            if found is None and self._base is not None and self.works:
                found = self._read(self._base, key)
        return found

    def put(self, key: bytes, value: bytes) -> None:
        """Store a value, at the latest when the store is closed."""
        with self._guard, self._watched():
            if not self.works or len(value) > _BATCH:
                return
            self._pending[key] = value
            self._waiting += len(value)
            if self._waiting > _BATCH:
                self._flush()

    def close(self) -> None:
        """Write what waits, make room where there is too much, and let go."""
        with self._guard, self._watched():
            if self._base is None or not self.works:
                return
            self._flush()
            if self._bytes() > self._limit:
                self._shrink(self._limit // 2)
            self._base.close()
            self._base = None

    def size(self) -> FactsSize:
        """How much there is."""
        with self._guard, self._watched():
            if self._base is not None:
                return FactsSize(self._base.execute("SELECT count(*) FROM facts").fetchone()[0], self._bytes())
        return FactsSize()

    def prune(self, limit: int) -> int:
        """Forget what was not used for the longest until no more than `limit` bytes stay; how many bytes went."""
        with self._guard, self._watched():
            if self._base is not None:
                before = self._bytes()
                self._shrink(limit)
                return max(before - self._bytes(), 0)
        return 0

    # ------------------------------------------------------------ the file

    def _open(self) -> sqlite3.Connection | None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = os.lstat(self._directory)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            return None  # others may have written there
        path = self._directory / NAME
        with self._locked():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            found = os.stat(path)
            self._identity = (found.st_dev, found.st_ino)
            base = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
            self._base = base  # what fails from here on has a file to give up
            base.execute("PRAGMA trusted_schema = OFF")
            base.execute("PRAGMA cell_size_check = ON")
            version = base.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, VERSION):
                raise sqlite3.DatabaseError("of another version")
            if not version:
                base.execute("PRAGMA auto_vacuum = INCREMENTAL")
                base.execute("PRAGMA journal_mode = WAL")
                base.execute(_TABLE)
                base.execute(f"PRAGMA user_version = {VERSION}")
            base.execute("PRAGMA synchronous = NORMAL")
        return base

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        handle = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
            if code not in _BUSY:
                self._give_up(damaged=code not in _OF_THE_MACHINE)
        except (OverflowError, UnicodeDecodeError):
            self._give_up(damaged=True)
        except OSError:
            self._give_up(damaged=False)

    def _give_up(self, *, damaged: bool) -> None:
        base, self._base = self._base, None
        self._pending.clear()
        if base is not None:
            with contextlib.suppress(sqlite3.Error):
                base.close()
        if damaged and self._identity != (0, 0):
            path = self._directory / NAME
            with contextlib.suppress(OSError), self._locked():
                found = os.lstat(path)
                if (found.st_dev, found.st_ino) == self._identity:  # or somebody began anew already
                    for name in (f"{NAME}-wal", f"{NAME}-shm", NAME):
                        (self._directory / name).unlink(missing_ok=True)

    def _read(self, base: sqlite3.Connection, key: bytes) -> bytes | None:
        row = base.execute("SELECT value, sum, used FROM facts WHERE key = ?", (key,)).fetchone()
        if row is None or not isinstance(row[0], bytes) or row[1] != _sum(key, row[0]):
            return None
        if row[2] != self._today:
            self._touched.add(key)
        return row[0]

    def _flush(self) -> None:
        if self._base is None or not (self._pending or self._touched):
            return
        rows = [(key, value, _sum(key, value), self._today) for key, value in self._pending.items()]
        touched = [(self._today, key) for key in self._touched]
        self._pending.clear()
        self._touched.clear()
        self._waiting = 0
        self._base.execute("BEGIN IMMEDIATE")
        try:
            self._base.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)", rows)
            self._base.executemany("UPDATE facts SET used = ? WHERE key = ?", touched)
            self._base.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._base.execute("ROLLBACK")
            raise

    def _bytes(self) -> int:
        if self._base is None:
            return 0
        pages, free, size = (
            self._base.execute(f"PRAGMA {each}").fetchone()[0] for each in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _shrink(self, limit: int) -> None:
        base = self._base
        if base is None:
            return
        while (size := self._bytes()) > limit:
            count = base.execute("SELECT count(*) FROM facts").fetchone()[0]
            if not count:
                break
            most = count if limit <= 0 else max(1, count * (size - limit) // size)
            oldest = "SELECT key FROM facts ORDER BY used LIMIT ?"
            base.execute(f"DELETE FROM facts WHERE key IN ({oldest})", (most,))
        base.execute("PRAGMA incremental_vacuum").fetchall()
        base.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _sum(key: bytes, value: bytes) -> bytes:
    return hashlib.blake2b(value, key=key[:64], digest_size=16).digest()
