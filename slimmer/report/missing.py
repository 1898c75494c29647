"""What a running slim image looks for in vain and had in its fat root: what to include next time."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from slimmer.packages.model import Package
from slimmer.report.output import Output
from slimmer.report.words import package_words
from slimmer.root.model import Root, sort_key
from tracer.recording import Access


@dataclass(frozen=True, slots=True)
class Missing:
    """A removed path that programs asked for."""

    path: str  # canonical
    by: tuple[str, ...]
    package: Package | None

    @property
    def advice(self) -> str:
        return f"--include {shlex.quote(self.path)}"

    def line(self) -> str:
        """For a person."""
        who = ", ".join(each for each in self.by if each) or "a program"
        of = f", of {package_words(self.package)}" if self.package else ""
        return f"{self.path}  (looked for by {who}{of})  {self.advice}"


def missing(accesses: Iterable[Access], root: Root, output: Output) -> list[Missing]:
    """Of all that was looked for in the root of a container, what is not there and the output removed."""
    wanted: dict[str, set[str]] = {}
    for access in accesses:
        found = root.resolve(access.path, follow=False)
        if found.entry is None:
            wanted.setdefault(found.path, set()).update(access.by)
    gone: dict[str, Missing] = {}
    for row in output.removed() if wanted else ():
        path = row.entry.path
        # What was in a tree is told by one row: it may have been there.
        inside = [each for each in wanted if each.startswith(f"{path}/")] if row.tree else []
        for each in (path, *inside):
            if each in wanted:
                gone[each] = Missing(each, tuple(sorted(wanted[each])), row.package if each == path else None)
    return [gone[path] for path in sorted(gone, key=sort_key)]
