"""The live root `/`, as an in-place run finds it: without pseudo filesystems, and as it was before the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from slimmer.errors import SlimmerError
from slimmer.root.directory import DirectoryRoot
from slimmer.root.model import Entry, FileType, Root, sort_key
from tracer.aside import Saved

# Filesystems whose content the kernel or the machine makes, not the build; proc(5) mountinfo, field after " - ".
PSEUDO = frozenset(
    (
        *("proc", "sysfs", "devtmpfs", "devpts", "tmpfs", "ramfs", "cgroup", "cgroup2", "mqueue", "debugfs"),
        *("tracefs", "securityfs", "bpf", "pstore", "hugetlbfs", "configfs", "fusectl", "binfmt_misc", "autofs"),
        *("efivarfs", "nsfs", "rpc_pipefs"),
    )
)


def pseudo_mounts(mountinfo: str) -> frozenset[str]:
    """Mount points of pseudo filesystems below /, from /proc/self/mountinfo's text."""
    found = set()
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        point = fields.split()[4].encode("latin-1").decode("unicode_escape").encode("latin-1")
        if rest.split()[:1] and rest.split()[0] in PSEUDO and point != b"/":
            found.add(point.decode("utf-8", "surrogateescape"))
    return frozenset(found)


def live_root(closed: Iterable[str] = ()) -> DirectoryRoot:
    """`/` without pseudo filesystems and without the directories named."""
    try:
        mounts = pseudo_mounts(Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape"))
    except OSError:
        mounts = frozenset()
    return DirectoryRoot("/", mounts | {"/proc", "/sys", "/dev"} | frozenset(closed))


class SavedRoot(Root):
    """A root as it was before a run: what the run changed comes from the copies that were set aside."""

    def __init__(self, base: Root, saved: Mapping[str, Saved | None]) -> None:
        self._base = base
        self._saved: dict[str, Saved | None] = {}
        self._known: dict[str, set[str]] = {}
        self.add(saved)

    def add(self, saved: Mapping[str, Saved | None]) -> None:
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
