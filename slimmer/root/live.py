"""The live root `/`, as an in-place run finds it: without pseudo filesystems, and as it was before the run."""

from __future__ import annotations

import heapq
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import BinaryIO

from slimmer.errors import SlimmerError
from slimmer.root.directory import DirectoryRoot
from slimmer.root.model import Enter, Entry, FileType, Root, sort_key
from tracer.kernel import mountinfo
from tracer.kernel.mountinfo import Mount
from tracer.runner.before_image import BeforeImage

# Filesystems whose content the kernel or the machine makes, not the build; proc(5) mountinfo, field after " - ".
PSEUDO = frozenset(
    (
        *("proc", "sysfs", "devtmpfs", "devpts", "tmpfs", "ramfs", "cgroup", "cgroup2", "mqueue", "debugfs"),
        *("tracefs", "securityfs", "bpf", "pstore", "hugetlbfs", "configfs", "fusectl", "binfmt_misc", "autofs"),
        *("efivarfs", "nsfs", "rpc_pipefs"),
    )
)


def pseudo_mounts(mounts: Iterable[Mount]) -> frozenset[str]:
    """Mount points of pseudo filesystems below /."""
    return frozenset(
        os.fsdecode(each.point) for each in mounts if os.fsdecode(each.kind) in PSEUDO and each.point != b"/"
    )


def live_root(closed: Iterable[str] = ()) -> LiveRoot:
    """`/` without pseudo filesystems and without the directories named."""
    return LiveRoot("/", _now() | {"/proc", "/sys", "/dev"} | frozenset(closed))


def _now() -> frozenset[str]:
    try:
        return pseudo_mounts(mountinfo.read())
    except OSError:
        return frozenset()


class LiveRoot(DirectoryRoot):
    """A directory on disk where filesystems come and go: pseudo ones that were mounted meanwhile are left out too."""

    def __init__(self, directory: str, closed: frozenset[str] = frozenset()) -> None:
        super().__init__(directory, closed)
        self._devices: dict[int, bool] = {}  # by number: whether a pseudo filesystem was seen on it

    def _pseudo(self, device: int) -> bool:
        known = self._devices.get(device)
        if known is None:  # one look for each filesystem, and one for each directory of a pseudo one
            mounts = mountinfo.read()
            here = f"{os.major(device)}:{os.minor(device)}".encode()
            kinds = {os.fsdecode(each.kind) for each in mounts if each.device == here}
            known = self._devices[device] = bool(kinds) and kinds <= PSEUDO and "/" not in _points(mounts, here)
        return known


def _points(mounts: Iterable[Mount], device: bytes) -> set[str]:
    return {os.fsdecode(each.point) for each in mounts if each.device == device}


class SavedRoot(Root):
    """A root as it was before a run: what the run changed comes from the copies that were set aside."""

    def __init__(self, base: Root, saved: Mapping[str, BeforeImage | None]) -> None:
        self._base = base
        self._saved: dict[str, BeforeImage | None] = {}
        self._known: dict[str, set[str]] = {}
        self.add(saved)

    def add(self, saved: Mapping[str, BeforeImage | None]) -> None:
        """What a later run changed: what is known of the time before an earlier one stays."""
        for path, state in saved.items():
            if path not in self._saved:
                self._saved[path] = state
                parent, _, name = path.rpartition("/")
                self._known.setdefault(parent or "/", set()).add(name)

    @property
    def name(self) -> str:
        return self._base.name

    def entry(self, path: str) -> Entry | None:
        if path not in self._saved:
            parent = path[: path.rindex("/")] or "/"
            if path != "/" and parent in self._saved:  # below a directory that was not there, or that went away
                above = self.entry(parent)
                if above is None or above.type is not FileType.DIRECTORY:
                    return None
            return self._base.entry(path)
        saved = self._saved[path]
        if saved is None:
            return None
        return Entry(
            path=path,
            type=FileType(saved.type),
            mode=saved.mode,
            uid=saved.uid,
            gid=saved.gid,
            size=saved.size,
            mtime_ns=saved.mtime_ns,
            target=saved.target,
            device=saved.device,
        )

    def children(self, path: str) -> Sequence[str]:
        names = set(self._base.children(path)) | self._known.get(path, set())
        prefix = "/" if path == "/" else f"{path}/"
        if path in self._known:
            names = {
                name for name in names if prefix + name not in self._saved or self._saved[prefix + name] is not None
            }
        return sorted(names, key=sort_key)

    @property
    def saved(self) -> Collection[str]:
        """The paths that are told as they were before."""
        return self._saved.keys()

    def statuses(self, directory: str, device: int = 0) -> Sequence[tuple[str, os.stat_result]]:
        """As the base has them where nothing was saved."""
        saved = directory in self._known
        return super().statuses(directory, device) if saved else self._base.statuses(directory, device)

    def _below(self, top: str, enter: Enter = None) -> Iterator[Entry]:
        """The base's own walk, which reads each directory once, with what was saved in its place."""
        prefix = "/" if top == "/" else f"{top}/"
        own = sorted((path for path, state in self._saved.items() if state and path.startswith(prefix)), key=sort_key)
        saved = (found for path in own if (found := self.entry(path)) is not None)
        return heapq.merge(self._unchanged(top, enter), saved, key=lambda each: sort_key(each.path))

    def _unchanged(self, top: str, enter: Enter) -> Iterator[Entry]:
        gone: tuple[str, ...] = ()  # directories that were not there before the run
        for each in self._base.walk(top, enter):
            if each.path == top:
                continue
            if each.path in self._saved:
                if each.type is FileType.DIRECTORY and self._saved[each.path] is None:
                    gone += (f"{each.path}/",)
            elif not each.path.startswith(gone):
                yield each

    @property
    def unreadable(self) -> Sequence[str]:
        """Directories of the root met so far that could not be listed."""
        return self._base.unreadable if isinstance(self._base, DirectoryRoot) else ()

    def open(self, path: str) -> BinaryIO:
        saved = self._saved.get(path)
        if saved is None:
            return self._base.open(path)
        if saved.content is None:
            raise SlimmerError(
                f"{path} was changed by the run and was too large to set aside before",
                "run in a sandbox with --root DIR, or leave it out with --exclude",
            )
        return open(saved.content, "rb")

    def beginning(self, entry: Entry, limit: int) -> bytes:
        if entry.path in self._saved:
            return super().beginning(entry, limit)
        return self._base.beginning(entry, limit)

    def xattrs(self, path: str) -> Mapping[str, bytes]:
        saved = self._saved.get(path)
        return dict(saved.xattrs) if saved is not None else self._base.xattrs(path)
