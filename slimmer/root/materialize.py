"""The merged tree on disk: a new directory of copies of the layers' content, reflinks where the filesystem has them.

Not hard links: `ls -l`, `find -links`, tar and cron see how many names a file has, and it is to have those that the
image gives it. Where there are no reflinks (ext4) the cache so holds the content of an image twice, as a layer's and as
the tree's: a copy that is made when a program first looks at a file's link count is one that no kernel makes for us.
`slim cache` says how much, and removes it.

Times are the source's own, to the nanosecond where its headers have them (PAX); the layer that is written has whole
seconds (see slimmer.image.times).

Only names from the checked tree are used, each below a directory that was just
made here, so nothing can lead outside. Runs never write to it: the sandbox lays
an overlay on it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from slimmer.root.layers import IMPLIED, Tree
from slimmer.root.records import Kind, Record, unpack_xattrs
from slimmer.root.unpack import OwnershipMode, dress, give, set_time

_PIECE = 1 << 24  # bytes that one call copies
# Where the kernel or the filesystem cannot copy by itself.
_BY_HAND = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.ETXTBSY}


def materialize(tree: Tree, data: Sequence[Path], top: Path, manner: OwnershipMode) -> None:
    """Makes `top`; `data` are the layers' content directories. Device nodes are left out. Raises OSError."""
    top.mkdir(mode=0o700)
    home = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    sources: list[int] = []
    try:
        for directory in data:
            sources.append(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        _Planter(tree, sources, home, manner).run()
    finally:
        for descriptor in (home, *sources):
            os.close(descriptor)


class _Planter:
    def __init__(self, tree: Tree, sources: Sequence[int], home: int, manner: OwnershipMode) -> None:
        self._tree = tree
        self._sources = sources
        self._home = home
        self._manner = manner
        self._first: dict[int, bytes] = {}  # where a linked place was made first

    def run(self) -> None:
        made: list[tuple[bytes, int]] = []
        for path, directory in self._tree.breadth_first():
            if path:
                os.mkdir(path, 0o700, dir_fd=self._home)
            made.append((path, directory.record))
            prefix = path + b"/" if path else b""
            for name, child in directory.children.items():
                if isinstance(child, int):
                    self._leaf(prefix + name, child)
        for path, place in reversed(made):  # a directory's time is set when nothing more is made in it
            self._dress(path or b".", place)

    def _leaf(self, path: bytes, place: int) -> None:
        record = self._tree.record(place)
        if record.kind == Kind.FILE:
            self._file(path, place, record)
        elif record.kind in (Kind.SYMLINK, Kind.FIFO):
            first = self._first.get(place)
            if first is not None:
                os.link(first, path, src_dir_fd=self._home, dst_dir_fd=self._home, follow_symlinks=False)
                return
            if record.kind == Kind.SYMLINK:
                os.symlink(record.target, path, dir_fd=self._home)
            else:
                os.mkfifo(path, 0o600, dir_fd=self._home)
                self._mode(path, record.mode, Kind.FIFO)
            if self._manner.owned:
                give(path, record.uid, record.gid, dir_fd=self._home)
            set_time(os.fsdecode(path), record.mtime_ns, dir_fd=self._home)
            if place in self._tree.linked:
                self._first[place] = path

    def _file(self, path: bytes, place: int, record: Record) -> None:
        first = self._first.get(place)
        if first is not None:
            try:
                os.link(first, path, src_dir_fd=self._home, dst_dir_fd=self._home)
            except OSError as error:
                if error.errno not in (errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP):
                    raise
            else:
                return
        self._copy(self._sources[self._tree.layer_of(place)], path, record)
        if place in self._tree.linked:
            self._first[place] = path

    def _copy(self, source: int, path: bytes, record: Record) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        reading = os.open(str(record.number), os.O_RDONLY | os.O_CLOEXEC, dir_fd=source)
        try:
            writing = os.open(path, flags, 0o600, dir_fd=self._home)
            try:
                _copy_content(reading, writing, record.size)
                dress(writing, record, unpack_xattrs(record.xattrs), self._manner)
            finally:
                os.close(writing)
        finally:
            os.close(reading)

    def _mode(self, path: bytes, mode: int, kind: Kind) -> None:
        os.chmod(path, self._manner.mode(mode, kind), dir_fd=self._home)

    def _dress(self, path: bytes, place: int) -> None:
        if place == IMPLIED:
            mode, uid, gid, mtime_ns = 0o755, 0, 0, 0
        else:
            record = self._tree.record(place)
            mode, uid, gid, mtime_ns = record.mode, record.uid, record.gid, record.mtime_ns
        if self._manner.owned:
            give(path, uid, gid, dir_fd=self._home)
        self._mode(path, mode, Kind.DIRECTORY)
        set_time(os.fsdecode(path), mtime_ns, dir_fd=self._home)


def _copy_content(reading: int, writing: int, size: int) -> None:
    """Bytes from one open file to another; holes stay holes, and blocks are shared where the filesystem can."""
    at = 0
    while at < size:
        try:
            begin = os.lseek(reading, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole follows
                break
            begin = at
        try:
            end = os.lseek(reading, begin, os.SEEK_HOLE)
        except OSError:
            end = size
        while begin < end:
            count = _copy_some(reading, writing, begin, min(_PIECE, end - begin))
            if not count:
                break
            begin += count
        at = max(end, at + 1)
    os.ftruncate(writing, size)


def _copy_some(reading: int, writing: int, at: int, size: int) -> int:
    try:
        return os.copy_file_range(reading, writing, size, at, at)
    except OSError as error:
        if error.errno not in _BY_HAND:
            raise
    return os.pwrite(writing, os.pread(reading, size, at), at)
