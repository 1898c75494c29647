"""The merged tree on disk: a new directory, mostly of hard links to the layers' content.

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
from slimmer.root.unpack import Manner, dress, give, set_time

# Files that a program may want to have one name only: cron ignores a crontab with another link count (database.c).
# Content elsewhere is not worth a copy; there the run sees one link more than the image has.
_COUNTED = (b"etc/", b"var/spool/")
_SMALL = 1 << 20  # bytes
_NO_LINKS = {errno.EMLINK, errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP}  # then a copy does it


def plant(tree: Tree, data: Sequence[Path], top: Path, manner: Manner) -> None:
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
    def __init__(self, tree: Tree, sources: Sequence[int], home: int, manner: Manner) -> None:
        self._tree = tree
        self._sources = sources
        self._home = home
        self._manner = manner
        self._first: dict[int, bytes] = {}  # where a linked place that is no file was made first

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
        source = self._sources[self._tree.layer_of(place)]
        if path.startswith(_COUNTED) and record.size <= _SMALL and place not in self._tree.linked:
            self._copy(source, path, record)
            return
        try:
            os.link(str(record.number), path, src_dir_fd=source, dst_dir_fd=self._home)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            self._copy(source, path, record)

    def _copy(self, source: int, path: bytes, record: Record) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        reading = os.open(str(record.number), os.O_RDONLY | os.O_CLOEXEC, dir_fd=source)
        try:
            writing = os.open(path, flags, 0o600, dir_fd=self._home)
            try:
                while os.sendfile(writing, reading, None, 1 << 24):
                    pass
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
