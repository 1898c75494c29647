"""Keeps the metadata by which scanners know the language packages that kept files belong to."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from slimmer.closure.model import Level, Need, Reason, Rule, View
from slimmer.packages.model import Package
from slimmer.root.model import FileType, sort_key


class ScannerRule(Rule):
    """METADATA and RECORD of a wheel, package.json of a Node package, the gemspec of a gem; once a package."""

    name = "scanner"
    level = Level.RECORDED

    def __init__(self) -> None:
        self._seen = 0  # how many kept paths were looked at; they only ever grow at the end
        self._known: set[Package] = set()

    def settle(self, view: View) -> Iterator[Need]:
        first: dict[Package, str] = {}
        fresh = list(islice(view.kept, self._seen, None))
        self._seen += len(fresh)
        for path in sorted(fresh, key=sort_key):
            entry = view.root.entry(path)
            if entry is None or entry.type is FileType.DIRECTORY:
                continue
            for package in view.packages.owners_of_file(path):
                if package not in self._known:
                    first.setdefault(package, path)
        self._known.update(first)
        for package, path in first.items():
            for metadata in view.packages.metadata_files(package):
                yield Need(metadata, Reason(self.name, f"by which scanners know {package.name}", path))
