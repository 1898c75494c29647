"""Makes rows: an entry of a root with its package and its risk marks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from slimmer.closure.model import Reason
from slimmer.packages.model import Package, PackageIndex
from slimmer.report.model import KeptPath, RemovedPath
from slimmer.report.risk import Marker
from slimmer.root.model import Entry, FileType, Root


class Rows:
    """Rows for one root. `user` is the uid and gids that the image runs as, for "writable by the image's user"."""

    def __init__(
        self,
        root: Root,
        index: PackageIndex,
        *,
        uid: int = 0,
        gids: Iterable[int] = (),
        listens: Mapping[str, int] | None = None,
    ) -> None:
        self._index = index
        self._marker = Marker(root, uid=uid, gids=gids, listens=listens)
        self.of_trees = Marker(root, uid=uid, gids=gids, listens=listens)  # counts what it reads for itself

    def kept(
        self, entry: Entry, reasons: Iterable[Reason], *, sha256: str = "", xattrs: Mapping[str, bytes] | None = None
    ) -> KeptPath:
        """The row of a path that stays. `xattrs` are those that the image carries."""
        attributes = xattrs or {}
        package, also = self._packages(entry)
        marks = self._marker.marks(entry, attributes, owned=package is not None)
        return KeptPath(entry, sha256, attributes, package, tuple(reasons), marks, also)

    def removed(self, entry: Entry) -> RemovedPath:
        """The row of a path that does not stay."""
        package, also = self._packages(entry)
        return RemovedPath(
            entry, package, self._marker.marks(entry, None, owned=package is not None, removed=True), also
        )

    @property
    def unsearched(self) -> int:
        """How many removed files were looked at for secrets by their names alone, as there are so many."""
        return self._marker.unsearched

    def _packages(self, entry: Entry) -> tuple[Package | None, tuple[Package, ...]]:
        if entry.type is FileType.DIRECTORY:
            return self._index.owner(entry.path), ()
        found = self._index.owners_of_file(entry.path)
        if not found:
            return None, ()
        return found[0], tuple(found[1:])
