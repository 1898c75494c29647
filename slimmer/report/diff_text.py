"""A difference as text, Markdown and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from slimmer.report.diff import Diff, PackageChange, PathChange
from slimmer.report.table import LINES
from slimmer.report.words import change, entry_words, less, plural, shown, size
from slimmer.report.write import manifest_row

FORMAT = "slimmer.diff/1"
SHOWN = 40  # paths of each kind in the text


def lines(diff: Diff) -> Iterator[str]:
    """For a terminal."""
    if diff.same:
        yield f"no difference between {shown(diff.old)} and {shown(diff.new)}: {size(diff.new_bytes)}"
        return
    grown = change(diff.new_bytes - diff.old_bytes)
    yield f"{shown(diff.old)} → {shown(diff.new)}: {size(diff.old_bytes)} → {size(diff.new_bytes)} ({grown})"
    yield f"{_count(diff.added)} added, {_count(diff.removed)} removed, {_count(diff.changed)} changed"
    yield from _section("config", [f"{each.field}: {_q(each.before)} → {_q(each.after)}" for each in diff.config])
    yield from _section("packages", [_package(each) for each in diff.packages])
    yield from _section("risks", [line for each in diff.risks for line in _risk(each.path, each.gained, each.lost)])
    yield from _section("added", [_path("+", each) for each in diff.added])
    yield from _section("removed", [_path("-", each) for each in diff.removed])
    yield from _section("changed", [_path("~", each) for each in diff.changed])


def _count(changes: Sequence[PathChange]) -> str:
    return plural(len(changes), "path")


def _section(title: str, rows: Sequence[str]) -> Iterator[str]:
    if rows:
        yield ""
        yield title
        yield from (f"  {row}" for row in rows[:SHOWN])
        if len(rows) > SHOWN:
            yield f"  and {len(rows) - SHOWN:,} more: --json has all"


def _q(text: str) -> str:
    return shown(text) if text else "(none)"


def _package(each: PackageChange) -> str:
    name = f"{shown(each.name)} ({each.type.value})"
    if not each.before:
        return f"+ {name} {', '.join(map(shown, each.after))}"
    if not each.after:
        return f"- {name} {', '.join(map(shown, each.before))}"
    return f"~ {name} {', '.join(map(shown, each.before))} → {', '.join(map(shown, each.after))}"


def _risk(path: str, gained: Sequence[object], lost: Sequence[object]) -> Iterator[str]:
    yield from (f"+ {mark}  {shown(path)}" for mark in gained)
    yield from (f"- {mark}  {shown(path)}" for mark in lost)


def _path(sign: str, each: PathChange) -> str:
    row = each.after or each.before
    assert row is not None
    text = f"{sign} {shown(each.path)}"
    if each.what:
        text += f"  {', '.join(each.what)}"
        if "content" in each.what:
            text += f" {change(each.bytes)}"
        if "mode" in each.what and each.before and each.after:
            text += f" {each.before.entry.mode:04o} → {each.after.entry.mode:04o}"
        return text
    text += f"  {entry_words(row.entry)}"
    if sign == "+" and row.reasons and row.reasons[0].rule not in ("directory", "image"):
        text += f"  {shown(row.reasons[0].text)}"
    return text


def markdown(diff: Diff) -> str:
    """For a pull request, in under LINES lines."""
    if diff.same:
        return f"### Slim image unchanged\n\n{size(diff.new_bytes)}\n"
    share = less(diff.old_bytes, diff.new_bytes)
    rows = [
        f"### Slim image: {size(diff.old_bytes)} → {size(diff.new_bytes)} ({share or '±0'})",
        "",
        f"{_count(diff.added)} added, {_count(diff.removed)} removed, {_count(diff.changed)} changed",
        "",
    ]
    rows += _fenced("Config", [f"! {each.field}: {_q(each.before)} → {_q(each.after)}" for each in diff.config], 6)
    risks = [line for each in diff.risks for line in _risk(each.path, each.gained, each.lost)]
    rows += _fenced("Risks", risks, 10)
    rows += _fenced("Packages", [_package(each) for each in diff.packages], 12)
    rows += _fenced("Paths", list(_most(diff)), LINES - len(rows) - 6)
    return "\n".join(rows).rstrip("\n") + "\n"


def _most(diff: Diff) -> Iterator[str]:
    """Files before directories, the weightiest first."""
    signs = [("+", diff.added), ("-", diff.removed), ("~", diff.changed)]
    pairs = [(sign, each) for sign, changes in signs for each in changes]
    pairs.sort(key=lambda pair: -abs(pair[1].bytes))
    return (_path(sign, each) for sign, each in pairs)


def _fenced(title: str, rows: Sequence[str], most: int) -> list[str]:
    """A block in the colours of a patch."""
    if not rows:
        return []
    fence = "```"
    while any(fence in row for row in rows):
        fence += "`"
    found = [f"**{title}**", "", f"{fence}diff", *("!" + row[1:] if row[0] == "~" else row for row in rows[:most])]
    if len(rows) > most:
        found.append(f"# and {len(rows) - most:,} more")
    return [*found, fence, ""]


def value(diff: Diff) -> dict[str, Any]:
    """As JSON."""
    return {
        "format": FORMAT,
        "old": diff.old,
        "new": diff.new,
        "bytes": {"old": diff.old_bytes, "new": diff.new_bytes},
        "same": diff.same,
        "added": [manifest_row(each.after) for each in diff.added if each.after],
        "removed": [manifest_row(each.before) for each in diff.removed if each.before],
        "changed": [
            {
                "path": each.path,
                "what": list(each.what),
                "before": manifest_row(each.before),
                "after": manifest_row(each.after),
            }
            for each in diff.changed
            if each.before and each.after
        ],
        "packages": [
            {"type": each.type.value, "name": each.name, "before": list(each.before), "after": list(each.after)}
            for each in diff.packages
        ],
        "risks": [
            {"path": each.path, "gained": list(map(str, each.gained)), "lost": list(map(str, each.lost))}
            for each in diff.risks
        ],
        "config": [{"field": each.field, "before": each.before, "after": each.after} for each in diff.config],
    }
