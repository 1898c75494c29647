"""The cache of unpacked images: whole directories by the digest of what they hold.

    TOP/store-1-KIND/            KIND: "own" made by root with true owners, "user" by an ordinary user
        layers/HEX/  data/ entries facts.json          one layer, by diff id
        roots/HEX/   tree/ index strings facts.json    a stack of layers, by chain id
        building/    what is being made, or was when a process died
        locks/       one lock file for each of the above

A place is made in `building` under an exclusive lock and renamed when it is whole, so
it is there wholly or not at all. Readers hold a shared lock while they use it, and
only what nobody holds is pruned. After a crash of the machine the content of files may
be lost though their names are there; so a place is trusted in the boot that wrote it,
or when a later use has seen the filesystem synced (`facts.json`, `durable`).
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import enum
import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from slimmer.errors import SlimmerError
from slimmer.root.unpack import OwnershipMode

VERSION = 1  # of everything that is written below the store's directory
DEFAULT_SIZE = 20 << 30  # bytes
_SPOOL = "spool-"
_SETTLE = 60  # seconds after which the kernel has written most of a new place by itself


class CacheKind(enum.StrEnum):
    LAYERS = "layers"
    ROOTS = "roots"


@dataclass(frozen=True, slots=True)
class CacheMetadata:
    """What is known of a place without reading it."""

    bytes: int = 0  # of file content
    entries: int = 0
    whiteouts: int = 0
    devices: int = 0  # unusual device nodes, which only some callers take
    layers: tuple[str, ...] = ()  # of a root: the layers it shares content with
    notes: tuple[str, ...] = ()
    boot: str = ""  # the boot that wrote it
    durable: bool = False  # known to be on the disk
    digest: str = ""  # of the lists of entries, which nothing else would notice to be damaged


@dataclass(frozen=True, slots=True)
class Stored:
    """One place of the cache, as `slim cache` shows it."""

    shelf: CacheKind
    key: str
    path: Path
    facts: CacheMetadata
    used: float  # seconds since the epoch, of the last use
    busy: bool


class CacheLease:
    """A whole place that will not go away before `close` (or the process) ends."""

    def __init__(self, path: Path, facts: CacheMetadata, lock: int) -> None:
        self.path = path
        self.facts = facts
        self._lock = lock

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> CacheLease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


def boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # without /proc no place is trusted longer than it takes to use it
        return ""


@dataclass(slots=True)
class Store:
    """A cache below `top`. Raises SlimmerError when it cannot be written."""

    top: Path
    limit: int = DEFAULT_SIZE
    home: Path = field(init=False)
    manner: OwnershipMode = field(init=False)

    def __post_init__(self) -> None:
        try:
            self.top.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.manner = OwnershipMode(owned=_may_own(self.top))
            self.home = self.top / f"store-{VERSION}-{'own' if self.manner.owned else 'user'}"
            self.home.mkdir(mode=0o700, exist_ok=True)
            # Nobody else may reach what is below: as root it has setuid programs of other people's images.
            # `top` is left as it is: it may be somebody's directory for more than this.
            if os.stat(self.home).st_uid == os.geteuid():
                self.home.chmod(0o700)
            for name in (*CacheKind, "building", "locks"):
                (self.home / name).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise SlimmerError(
                f"the cache {self.top} cannot be used: {error.strerror}", "set XDG_CACHE_HOME to a directory of yours"
            ) from error

    def find(self, shelf: CacheKind, key: str) -> CacheLease | None:
        """A place that is there, held; None when it is not, or not to be trusted."""
        lock = self._lock(shelf, key, fcntl.LOCK_SH)
        found = self._whole(shelf, key, lock)
        if found is None:
            os.close(lock)
        return found

    def make(self, shelf: CacheKind, key: str, build: Callable[[Path], CacheMetadata]) -> CacheLease:
        """The place, held; built by `build` in a new empty directory when it is not there.

        When `build` raises, nothing stays. Two processes that want the same place build it once.
        """
        while True:
            found = self.find(shelf, key)
            if found is not None:
                return found
            lock = self._lock(shelf, key, fcntl.LOCK_EX)
            try:
                if self._facts(shelf, key) is None:
                    self._build(shelf, key, build)
                # Not atomic: between the two locks a pruner may take the place away, then it is built again.
                fcntl.flock(lock, fcntl.LOCK_SH)
                made = self._whole(shelf, key, lock)
            except BaseException:
                os.close(lock)
                raise
            if made is not None:
                return made
            os.close(lock)

    def _build(self, shelf: CacheKind, key: str, build: Callable[[Path], CacheMetadata]) -> None:
        place = self.home / shelf / key
        part = self.home / "building" / f"{shelf}-{key}"
        _remove(part)
        _remove(place)
        try:
            part.mkdir(mode=0o700)
            facts = dataclasses.replace(build(part), boot=boot_id(), durable=False, digest=_digest(part))
            _write_facts(part, facts)
            os.rename(part, place)
        except BaseException as error:
            _remove(part)
            if isinstance(error, OSError):
                hint = "make room, or move the cache with XDG_CACHE_HOME" if error.errno == errno.ENOSPC else ""
                raise SlimmerError(f"cannot unpack into {self.home}: {error.strerror or error}", hint) from error
            raise

    def _whole(self, shelf: CacheKind, key: str, lock: int) -> CacheLease | None:
        facts = self._facts(shelf, key)
        if facts is None:
            return None
        place = self.home / shelf / key
        with contextlib.suppress(OSError):
            used = place.stat().st_mtime
            if not facts.durable and time.time() - used > _SETTLE:
                _sync(place)
                _write_facts(place, dataclasses.replace(facts, durable=True))
            os.utime(place)
            for layer in facts.layers:  # a root's layers are as young as the root
                with contextlib.suppress(OSError):
                    os.utime(self.home / CacheKind.LAYERS / layer)
        return CacheLease(place, facts, lock)

    def _facts(self, shelf: CacheKind, key: str) -> CacheMetadata | None:
        """The facts of a place that can be trusted."""
        facts = _read_facts(self.home / shelf / key)
        if facts is None or not (facts.durable or (facts.boot and facts.boot == boot_id())):
            return None
        return facts if facts.digest == _digest(self.home / shelf / key) else None

    def _lock(self, shelf: CacheKind, key: str, how: int) -> int:
        """An open, locked lock file; the lock goes with the descriptor."""
        path = self.home / "locks" / f"{shelf}-{key}"
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(descriptor, how)
                here, there = os.fstat(descriptor), os.stat(path)
            except FileNotFoundError:  # a pruner removed the lock file while we waited for it
                os.close(descriptor)
                continue
            except BaseException:
                os.close(descriptor)
                raise
            if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
                return descriptor
            os.close(descriptor)

    def stored(self) -> list[Stored]:
        """Everything there is, the longest unused first."""
        found: list[Stored] = []
        for shelf in CacheKind:
            with contextlib.suppress(FileNotFoundError):
                for name in sorted(os.listdir(self.home / shelf)):
                    path = self.home / shelf / name
                    facts = _read_facts(path)
                    with contextlib.suppress(FileNotFoundError):
                        used = path.stat().st_mtime
                        found.append(Stored(shelf, name, path, facts or CacheMetadata(), used, self._busy(shelf, name)))
        return sorted(found, key=lambda place: (place.used, place.shelf, place.key))

    def _busy(self, shelf: CacheKind, key: str) -> bool:
        try:
            lock = self._lock(shelf, key, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        os.close(lock)
        return False

    def size(self) -> int:
        """Bytes of content; roots share theirs with their layers, so only layers that are there count."""
        return sum(_weight(place) for place in self.stored())

    def prune(self, limit: int | None = None) -> list[Stored]:
        """Removes what was not used for the longest, until no more than `limit` bytes stay; what is in use stays.

        A layer goes together with the roots that share its content, for otherwise no room is won.
        """
        limit = self.limit if limit is None else limit
        self._sweep()
        places = self.stored()
        total = sum(_weight(place) for place in places)
        gone: list[Stored] = []
        removed: set[tuple[CacheKind, str]] = set()
        for place in places:
            if total <= limit:
                break
            if (place.shelf, place.key) in removed:
                continue
            group = [place]
            if place.shelf is CacheKind.LAYERS:
                group = [root for root in places if place.key in root.facts.layers and root.shelf is CacheKind.ROOTS]
                group.append(place)
            group = [one for one in group if (one.shelf, one.key) not in removed]
            with contextlib.ExitStack() as locks:
                if not all(self._take(one, locks) for one in group):
                    continue
                for one in group:
                    _remove(one.path)
                    (self.home / "locks" / f"{one.shelf}-{one.key}").unlink(missing_ok=True)
                    removed.add((one.shelf, one.key))
                    gone.append(one)
                    total -= _weight(one)
        return gone

    def _take(self, place: Stored, locks: contextlib.ExitStack) -> bool:
        try:
            lock = self._lock(place.shelf, place.key, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        locks.callback(os.close, lock)
        return True

    def _sweep(self) -> None:
        """What a killed process left behind: its lock is free."""
        for name in os.listdir(self.home / "building"):
            path = self.home / "building" / name
            shelf, _, key = name.partition("-")
            with contextlib.suppress(BlockingIOError, FileNotFoundError):
                if shelf in tuple(CacheKind):
                    lock = self._lock(CacheKind(shelf), key, fcntl.LOCK_EX | fcntl.LOCK_NB)
                elif time.time() - path.stat().st_mtime < _SETTLE:  # it may not have locked itself yet
                    continue
                else:
                    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove(path)
                finally:
                    os.close(lock)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A directory of our own for spooled archives, removed afterwards."""
        with tempfile.TemporaryDirectory(prefix=_SPOOL, dir=self.home / "building") as directory:
            lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_SH)  # tells a pruner that we live
                yield Path(directory)
            finally:
                os.close(lock)


def _weight(place: Stored) -> int:
    """Bytes that go when it goes; every entry costs an inode or a name as well."""
    own = place.facts.bytes if place.shelf is CacheKind.LAYERS else 0
    return own + 256 * place.facts.entries


def _may_own(top: Path) -> bool:
    """Whether this process can give files away, as root outside of a small user namespace can."""
    if os.geteuid() != 0:
        return False
    with tempfile.TemporaryFile(dir=top) as probe:
        try:
            os.fchown(probe.fileno(), 65534, 65534)
            os.fchown(probe.fileno(), 12345, 23456)
        except OSError:
            return False
    return True


def _read_facts(place: Path) -> CacheMetadata | None:
    try:
        found = json.loads((place / "facts.json").read_bytes())
        return CacheMetadata(**{**found, "layers": tuple(found["layers"]), "notes": tuple(found["notes"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _digest(place: Path) -> str:
    """SHA-256 of what tells a place's entries; "" where there is nothing to read."""
    found = hashlib.sha256()
    for name in ("entries", "index", "strings"):
        try:
            with open(place / name, "rb") as stream:
                found.update(name.encode() + hashlib.file_digest(stream, "sha256").digest())
        except FileNotFoundError:
            continue
        except OSError:
            return ""
    return found.hexdigest()


def _write_facts(place: Path, facts: CacheMetadata) -> None:
    fresh = place / "facts.new"
    fresh.write_text(json.dumps(dataclasses.asdict(facts), sort_keys=True))
    os.replace(fresh, place / "facts.json")


def _sync(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            raise OSError(ctypes.get_errno(), "syncfs")
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """A tree of ours; directories without write permission are ours too."""

    def unlock(function: Callable[..., object], name: str, _: object) -> None:
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(name), 0o700)
        function(name)

    with contextlib.suppress(FileNotFoundError):
        # Its mark of being whole goes first, so that a removal cut short leaves nothing that looks whole.
        (path / "facts.json").unlink(missing_ok=True)
        shutil.rmtree(path, onerror=unlock)
