"""What interpreters have compiled in, and what an OS package holds: shared by the language rules."""

from __future__ import annotations

import re
from collections.abc import Iterator

from slimmer.closure.model import View
from slimmer.errors import SlimmerError
from slimmer.packages.model import Package, PackageType
from slimmer.root.model import Entry, FileType

SYSTEM = frozenset({PackageType.DEB, PackageType.APK, PackageType.RPM})
NOT_RUN = re.compile(
    r"^/usr/(?:local/)?share/(?:doc|man|info|lintian|bug|doc-base|locale|bash-completion|zsh|fish|menu|applications|pixmaps"
    r"|icons|ri)/|^/usr/(?:local/)?include/|/(?:tests?|spec|t|examples?|xt)/|\.(?:pod|h|a|la)$"
)
LIBRARY = re.compile(r"\.(?:so(?:\.[\d.]+)?|rb|pm|pl|al|php|jar|node)$")
BLOCK = 1 << 20  # bytes of a binary that are looked at together
OVERLAP = 1 << 12  # longer than any name in question


def matches(entry: Entry, view: View, pattern: re.Pattern[bytes]) -> dict[bytes, None]:
    """The distinct first groups (or whole matches) of a pattern in a file of any size, in its order, memory flat."""
    found: dict[bytes, None] = {}
    try:
        with view.root.open(entry.path) as stream:
            kept = b""
            while block := stream.read(BLOCK):
                block = kept + block
                for match in pattern.finditer(block):
                    found.setdefault(match[pattern.groups and 1])
                kept = block[-OVERLAP:]
    except SlimmerError:
        return {}
    return found


def compiled_paths(entry: Entry, view: View, word: str) -> list[str]:
    """Directories of the root that stand as texts in a binary and have `word` in their name, in the binary's order.

    An interpreter's search path is compiled in as plain strings: perl's @INC, ruby's $LOAD_PATH, php's extension_dir.
    """
    pattern = re.compile(rb"(?<=[\0:])(/[\w./+-]*" + re.escape(word.encode()) + rb"[\w./+-]*)(?=[\0:])")
    found = []
    for text in matches(entry, view, pattern):
        there = view.root.find(text.decode())
        if there is not None and there.type is FileType.DIRECTORY:
            found.append(text.decode().rstrip("/"))
    return list(dict.fromkeys(found))


def system_owner(path: str, view: View) -> Package | None:
    """The OS package that holds a path."""
    for owner in view.packages.owners(path):
        if owner.type in SYSTEM:
            return owner
    return None


def package_content(package: Package, view: View) -> Iterator[str]:
    """A package's files and links, but for documentation, tests, headers, and programs: who starts one names it."""
    for path in view.packages.files(package):
        if not NOT_RUN.search(path):
            entry = view.root.entry(path)
            if entry is None or entry.type is FileType.DIRECTORY:
                continue
            if not entry.executable or LIBRARY.search(path):
                yield path
