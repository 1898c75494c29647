"""Sums rows up into a report: one pass, memory by package and folder, never by path."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from slimmer.closure.model import ClosureWarning, LevelSize
from slimmer.packages.model import Package
from slimmer.report.inodes import Inodes
from slimmer.report.model import (
    FOLDER_DEPTH,
    PART_SHOWN,
    RISKY_SHOWN,
    Folder,
    Held,
    KeptPath,
    Mark,
    PackageReport,
    PackageState,
    RemovedPath,
    Report,
    Risk,
    RiskCount,
    RiskyPath,
    Subject,
    Total,
    Tree,
)
from slimmer.report.trees import SHARED_OBJECT, Below, Links
from slimmer.root.model import Entry, FileType, sort_key

PACKAGES_LEVEL = "packages"
_LEGAL = re.compile(r"/(copyright|licen[cs]es?|copying|notice)[^/]*$|/(licenses?)/", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RemovedSums:
    """What the rows of removed paths come to, for `ReportBuilder.removed_as`."""

    totals: tuple[int, int, int, int, int]  # paths, files, bytes, executables, shared objects
    risks: tuple[tuple[str, int], ...]
    linked: tuple[int, ...]  # of files that have several names: device and inode by turns
    packages: tuple[tuple[Package, int, int], ...]  # files, bytes
    folders: tuple[tuple[str, int, int], ...]  # paths, bytes


class ReportBuilder:
    """Rows in by `kept` and `removed`, in any order; the report out by `finish`."""

    def __init__(self) -> None:
        self._kept = _Side(sizes={})
        self._removed = _Side()
        self._added = _Side()
        self._packages: dict[Package, _Sum] = {}
        self._folders: dict[str, list[int]] = {}
        self._risky: list[RiskyPath] = []
        self._risky_left_out = 0
        self._rules: Counter[str] = Counter()

    def kept(self, row: KeptPath, *, added: bool = False) -> None:
        """A path that stays; `added`: the fat root has no such path, it was generated."""
        entry = row.entry
        size = self._kept.weigh(entry)
        self._kept.add(entry, size, row.risks)
        if added:
            self._added.add(entry, size, ())
        self._folder(entry, 0, size)
        if row.reasons:
            self._rules[row.reasons[0].rule] += 1
        if entry.type is not FileType.DIRECTORY:
            for package in (row.package, *row.also) if row.also else (row.package,):
                if package is not None:
                    self._sum(package).keep(entry, size)
        if row.risks:
            if len(self._risky) < RISKY_SHOWN:
                reason = row.reasons[0] if row.reasons else None
                self._risky.append(RiskyPath(entry.path, row.risks, row.package, reason))
            else:
                self._risky_left_out += 1

    def removed(self, row: RemovedPath) -> None:
        """A path that does not."""
        entry = row.entry
        size = self._removed.weigh(entry)
        self._removed.add(entry, size, row.risks)
        self._folder(entry, 2, size)
        if entry.type is not FileType.DIRECTORY:
            for package in (row.package, *row.also) if row.also else (row.package,):
                if package is not None:
                    found = self._sum(package)
                    found.removed_files += 1
                    found.removed_bytes += size

    def removed_sums(self) -> RemovedSums:
        """What `removed` and `tree` were told until now."""
        side = self._removed
        return RemovedSums(
            (side.paths, side.files, side.bytes, side.executables, side.shared_objects),
            tuple((risk.value, count) for risk, count in side.risks.items()),
            tuple(number for identity in side.linked for number in identity),
            tuple(
                (each, found.removed_files, found.removed_bytes)
                for each, found in self._packages.items()
                if found.removed_files
            ),
            tuple((path, weights[2], weights[3]) for path, weights in self._folders.items() if weights[2]),
        )

    def removed_as(self, sums: RemovedSums) -> None:
        """The same as the rows of which these are the sums; in place of all of them. Raises ValueError."""
        side = self._removed
        side.paths, side.files, side.bytes, side.executables, side.shared_objects = sums.totals
        side.risks = Counter({Risk(risk): count for risk, count in sums.risks})
        numbers = iter(sums.linked)
        for device, inode in zip(numbers, numbers, strict=True):
            side.linked.add(device, inode)
        for package, files, size in sums.packages:
            found = self._sum(package)
            found.removed_files, found.removed_bytes = files, size
        for path, paths, size in sums.folders:
            self._folders.setdefault(path, [0, 0, 0, 0])[2:] = [paths, size]

    def tree(self, below: Below) -> Tree:
        """What is below a removed directory and has no rows, as its row tells it."""
        for links in below.links:
            below.weighed(links, self._removed.weigh_links(links))
        self._removed.take(below)
        for folder, (paths, size) in below.folders.items():
            weights = self._folders.setdefault(folder, [0, 0, 0, 0])
            weights[2] += paths
            weights[3] += size
        for package, (files, size) in below.packages.items():
            found = self._sum(package)
            found.removed_files += files
            found.removed_bytes += size
        held = tuple(Held(package, *sums) for package, sums in sorted(below.packages.items()))
        risks = tuple((risk, below.risks[risk]) for risk in Risk if below.risks[risk])
        return Tree(below.paths, below.files, below.bytes, held, risks)

    def finish(
        self,
        subject: Subject,
        *,
        packages: Iterable[Package] = (),
        warnings: Iterable[ClosureWarning] = (),
        levels: Sequence[LevelSize] = (),
        notes: Iterable[str] = (),
        license_of: Callable[[Package], str] | None = None,
    ) -> Report:
        """The report. `packages` adds installed ones that hold no file at all: they count as removed.

        `license_of` is asked for each package with a kept file.
        """
        for package in packages:
            self._sum(package)
        reports = tuple(each.report(package, license_of) for package, each in sorted(self._packages.items()))
        slim = sum(1 for each in reports if each.state is not PackageState.REMOVED)
        said = list(notes)
        if self._risky_left_out:
            said.append(f"{self._risky_left_out} more kept paths carry a risk mark; manifest.json has them all")
        return Report(
            subject=subject,
            fat=self._kept.plus(self._removed, len(reports)).without(self._added.total(0)),
            slim=self._kept.total(slim),
            packages=reports,
            risks=tuple(
                RiskCount(risk, self._kept.risks[risk] + self._removed.risks[risk], self._kept.risks[risk])
                for risk in Risk
            ),
            risky=tuple(sorted(self._risky, key=lambda each: sort_key(each.path))),
            folders=tuple(Folder(path, *self._folders[path]) for path in sorted(self._folders, key=sort_key)),
            rules=dict(self._rules),
            warnings=tuple(
                sorted(set(warnings), key=lambda each: (-each.weight, each.kind, sort_key(each.path), each.text))
            ),
            levels=(*levels, *self._whole_packages(levels)),
            notes=tuple(said),
        )

    def _whole_packages(self, levels: Sequence[LevelSize]) -> tuple[LevelSize, ...]:
        """What the packages that stay would weigh when they stayed whole, where the closure was not grown so far."""
        if not levels or any(each.level == PACKAGES_LEVEL for each in levels):
            return ()
        stay = [each for each in self._packages.values() if each.kept_files]
        paths = self._kept.paths + sum(each.removed_files for each in stay)
        weight = self._kept.bytes + sum(each.removed_bytes for each in stay)
        return (
            LevelSize(
                PACKAGES_LEVEL,
                max(paths, *(each.paths for each in levels)),  # a level holds those below it
                max(weight, *(each.bytes for each in levels)),
                estimate=True,
            ),
        )

    def _sum(self, package: Package) -> _Sum:
        found = self._packages.get(package)
        if found is None:
            found = self._packages[package] = _Sum()
        return found

    def _folder(self, entry: Entry, side: int, size: int) -> None:
        if entry.type is FileType.DIRECTORY:
            return
        cut = 0
        for _ in range(FOLDER_DEPTH):
            cut = entry.path.find("/", cut + 1)
            if cut < 0:
                break
            weights = self._folders.get(entry.path[:cut])
            if weights is None:
                weights = self._folders[entry.path[:cut]] = [0, 0, 0, 0]
            weights[side] += 1
            weights[side + 1] += size


class _Side:
    def __init__(self, sizes: dict[tuple[int, int], int] | None = None) -> None:
        self.sizes = sizes  # of files that have several names, where the other side asks for them
        self.paths = self.files = self.bytes = self.executables = self.shared_objects = 0
        self.risks: Counter[Risk] = Counter()
        self.linked = Inodes()  # files that have several names

    def weigh(self, entry: Entry) -> int:
        """Bytes that this path adds: a hard link's further names add none."""
        if entry.links > 1 and entry.type is FileType.FILE and entry.identity != (0, 0):
            if not self.linked.add(*entry.identity):
                return 0
            if self.sizes is not None:
                self.sizes[entry.identity] = entry.size
        return entry.size

    def weigh_links(self, links: Links) -> int:
        """The same of many."""
        numbers, device = iter(links.numbers), links.device
        pairs = zip(numbers, numbers, strict=True)
        return sum(size for number, size in pairs if not (device or number) or self.linked.add(device, number))

    def add(self, entry: Entry, size: int, marks: tuple[Mark, ...]) -> None:
        self.paths += 1
        if entry.type is FileType.FILE:
            self.files += 1
            self.bytes += size
            if ".so" in entry.path and SHARED_OBJECT.search(entry.path):
                self.shared_objects += 1
            elif entry.mode & 0o111:
                self.executables += 1
        for risk in {mark.risk for mark in marks} if marks else ():
            self.risks[risk] += 1

    def take(self, below: Below) -> None:
        self.paths += below.paths
        self.files += below.files
        self.bytes += below.bytes
        self.executables += below.executables
        self.shared_objects += below.shared_objects
        self.risks.update(below.risks)

    def total(self, packages: int) -> Total:
        return Total(self.paths, self.files, self.bytes, packages, self.executables, self.shared_objects)

    def plus(self, other: _Side, packages: int) -> Total:
        twice = sum(size for identity, size in (self.sizes or {}).items() if identity in other.linked)
        return Total(
            self.paths + other.paths,
            self.files + other.files,
            self.bytes + other.bytes - twice,
            packages,
            self.executables + other.executables,
            self.shared_objects + other.shared_objects,
        )


def _is_doc_link(entry: Entry) -> bool:
    """Debian: /usr/share/doc/NAME may be a link to where another package's copyright is (policy 12.5)."""
    return entry.type is FileType.SYMLINK and entry.path.startswith("/usr/share/doc/") and entry.path.count("/") == 4


class _Sum:
    __slots__ = ("copyright", "kept_bytes", "kept_files", "part", "removed_bytes", "removed_files")

    def __init__(self) -> None:
        self.kept_files = self.kept_bytes = self.removed_files = self.removed_bytes = 0
        self.copyright = False
        self.part: list[str] = []

    def keep(self, entry: Entry, size: int) -> None:
        self.kept_files += 1
        self.kept_bytes += size
        if len(self.part) < PART_SHOWN:
            self.part.append(entry.path)
        if not self.copyright and (_LEGAL.search(entry.path) or _is_doc_link(entry)):
            self.copyright = True

    def report(self, package: Package, license_of: Callable[[Package], str] | None) -> PackageReport:
        if not self.kept_files:
            state = PackageState.REMOVED
        elif self.removed_files:
            state = PackageState.PART
        else:
            state = PackageState.WHOLE
        if license_of and self.kept_files and not package.license:
            package = replace(package, license=license_of(package))
        return PackageReport(
            package=package,
            state=state,
            kept_files=self.kept_files,
            kept_bytes=self.kept_bytes,
            removed_files=self.removed_files,
            removed_bytes=self.removed_bytes,
            copyright=self.copyright,
            part=tuple(self.part) if state is PackageState.PART else (),
        )


def build_report(
    kept: Iterable[KeptPath],
    removed: Iterable[RemovedPath],
    subject: Subject,
    *,
    packages: Iterable[Package] = (),
    warnings: Iterable[ClosureWarning] = (),
    levels: Sequence[LevelSize] = (),
    notes: Iterable[str] = (),
) -> Report:
    """The report of two streams of rows."""
    builder = ReportBuilder()
    for row in kept:
        builder.kept(row)
    for gone in removed:
        builder.removed(gone)
    return builder.finish(subject, packages=packages, warnings=warnings, levels=levels, notes=notes)
