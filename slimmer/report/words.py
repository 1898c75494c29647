"""How numbers and names are written for people."""

from __future__ import annotations

from collections.abc import Sequence

from slimmer.closure.model import LevelSize
from slimmer.packages.model import Package
from slimmer.report.model import Held, Tree
from slimmer.root.model import Entry
from slimmer.values import printable

UNITS = ("B", "kB", "MB", "GB", "TB")


def size(count: int) -> str:
    """Bytes with three significant digits, in powers of 1000: "668 kB", "21.8 MB"."""
    value = float(count)
    for unit in UNITS:
        if abs(value) < 999.5 or unit == UNITS[-1]:
            break
        value /= 1000
    if unit == "B":
        return f"{count} B"
    return (
        f"{value:.2f} {unit}"
        if abs(value) < 9.995
        else f"{value:.1f} {unit}"
        if abs(value) < 99.95
        else f"{value:.0f} {unit}"
    )


def change(count: int) -> str:
    """A difference in bytes with its sign: "+1.20 MB", "−3 kB", "±0"."""
    return "±0" if count == 0 else ("+" if count > 0 else "−") + size(abs(count))


def tree_words(tree: Tree) -> str:
    """ "12,345 paths (1.20 GB)"; of packages "…, 1 package"."""
    packages = f", {plural(len(tree.packages), 'package')}" if tree.packages else ""
    return f"{plural(tree.paths, 'path')} ({size(tree.bytes)}){packages}"


def heaviest(tree: Tree) -> list[Held]:
    """The packages that a tree has parts of, the largest part first."""
    return sorted(tree.packages, key=lambda each: (-each.bytes, -each.files, each.package))


def less(before: int, after: int) -> str:
    """By how much something shrank: "−89.5 %"; empty when there was nothing."""
    if not before:
        return ""
    if before == after:
        return "±0 %"
    share = 100 * (after - before) / before
    return f"{'+' if share > 0 else '−'}{abs(share):.1f} %"


def plural(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def shown(text: str) -> str:
    """A path as it can be printed anywhere."""
    return printable(text)


def package_words(package: Package) -> str:
    """ "libc6 2.36-9 (deb)"."""
    return shown(f"{package.name} {package.version}".rstrip()) + f" ({package.type.value})"


def entry_words(entry: Entry) -> str:
    """ "file 0644 0:0 668 kB"."""
    text = f"{entry.type.value} {mode_words(entry)}"
    if entry.target:
        return f"{text} → {shown(entry.target)}"
    return f"{text} {size(entry.size)}" if entry.size else text


def mode_words(entry: Entry) -> str:
    """ "0644 0:0"."""
    return f"{entry.mode:04o} {entry.uid}:{entry.gid}"


def some(items: Sequence[str], most: int) -> str:
    """The first few, and how many more there are."""
    more = len(items) - most
    return ", ".join(items[:most]) + (f" and {more:,} more" if more > 0 else "")


def about(level: LevelSize) -> str:
    """What stands before a size that was not counted path by path."""
    return "about " if level.estimate else ""


def is_root(user: str) -> bool:
    """Whether an image's user (its config's word, with a group or without) is root; none is root too."""
    return user.partition(":")[0] in ("", "0", "root")


def user_words(user: str) -> str:
    """Who the image runs as, root with what that means."""
    if not is_root(user):
        return shown(user)
    return f"{'root' if user else 'root (no user is set)'}: --user names another"
