"""Every path of the fat root as CSV (RFC 4180), and the review as Markdown for a pull request."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from typing import TextIO

from slimmer.packages.model import Package
from slimmer.report.model import Mark, PackageState, Report
from slimmer.report.output import Check, Output
from slimmer.report.remedies import MOST, actionable
from slimmer.report.risk import GRAVITY
from slimmer.report.text import gravest
from slimmer.report.vulnerabilities import Vulnerabilities
from slimmer.report.vulnerability_views import markdown_lines
from slimmer.report.words import less, plural, shown, size, tree_words, user_words
from slimmer.root.model import Entry

COLUMNS = (
    *("status", "path", "type", "mode", "uid", "gid", "size", "target", "package", "risks"),
    *("rule", "reason", "needed_by", "sha256"),
)
LINES = 60  # of Markdown, at most


def write_csv(stream: TextIO, output: Output) -> int:
    """One line a path, kept ones first; how many. Names are escaped so that each stays on its line."""
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    count = 0
    for row in _rows(output):
        writer.writerow([_plain(each) for each in row])
        count += 1
    return count


def _plain(cell: str | int) -> str | int:
    """No spreadsheet takes it for a formula (OWASP, "CSV Injection")."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _rows(output: Output) -> Iterator[tuple[str | int, ...]]:
    for kept in output.manifest():
        reason = kept.reasons[0] if kept.reasons else None
        why = (reason.rule, shown(reason.text), shown(reason.needed_by)) if reason else ("", "", "")
        yield ("kept", *_common(kept.entry, kept.package, kept.risks), *why, kept.sha256)
    for gone in output.removed():
        entry, text = gone.entry, "nothing needed it"
        if gone.tree:
            entry = replace(entry, size=gone.tree.bytes)
            text += f", nor {tree_words(gone.tree)} in it"
        yield ("removed", *_common(entry, gone.package, gone.risks), "", text, "", "")


def _common(entry: Entry, package: Package | None, marks: tuple[Mark, ...]) -> tuple[str | int, ...]:
    # "deb:libc6@2.36": the type in front also keeps a spreadsheet from taking a name for a formula
    named = f"{package.type.value}:{shown(package.name)}@{shown(package.version)}" if package else ""
    return (
        shown(entry.path),
        entry.type.value,
        f"{entry.mode:04o}",
        entry.uid,
        entry.gid,
        entry.size,
        shown(entry.target),
        named,
        " ".join(map(str, marks)),
    )


def markdown(report: Report, check: Check, scanned: Vulnerabilities | None = None) -> str:
    """The review in under LINES lines."""
    fat, slim = report.fat, report.slim
    lines = [
        f"### Slim image: {size(fat.bytes)} → {size(slim.bytes)} ({less(fat.bytes, slim.bytes) or 'unchanged'})",
        "",
        "| | before | after | |",
        "| --- | ---: | ---: | ---: |",
    ]
    counts = [("files", fat.files, slim.files), ("packages", fat.packages, slim.packages)]
    counts += [("executables", fat.executables, slim.executables)]
    counts += [("shared objects", fat.shared_objects, slim.shared_objects)]
    by_risk = {each.risk: each for each in report.risks}
    counts += [
        (risk.value.replace("-", " "), by_risk[risk].fat, by_risk[risk].slim)
        for risk in GRAVITY
        if risk in by_risk and by_risk[risk].fat
    ]
    lines += [f"| {label} | {before:,} | {after:,} | {less(before, after)} |" for label, before, after in counts]
    lines.append("")
    lines += [f"Runs as: {_cell(user_words(report.subject.user))}", ""]
    if check.verdict:
        lines += [f"Check: **{check.verdict}**" + (f" ({_cell(check.why_not)})" if check.why_not else ""), ""]
    gone = sorted(
        (each for each in report.packages if each.state is PackageState.REMOVED),
        key=lambda each: (-each.removed_bytes, each.package),
    )
    if gone:
        names = ", ".join(f"{code(each.package.name)} {size(each.removed_bytes)}" for each in gone[:10])
        more = f" and {len(gone) - 10:,} more" if len(gone) > 10 else ""
        lines += [f"**{plural(len(gone), 'package')} removed**: {names}{more}", ""]
    if scanned is not None:
        lines += markdown_lines(scanned, code, _cell)
    risky = gravest(report)
    if risky:
        lines += [
            f"**{plural(len(risky), 'risky path')} that stay**" if len(risky) != 1 else "**1 risky path that stays**",
            "",
        ]
        lines += ["| path | marks | why |", "| --- | --- | --- |"]
        for each in risky[:12]:
            reason = _cell(each.reason.text) if each.reason else ""
            lines.append(f"| {code(each.path)} | {', '.join(map(str, each.marks))} | {reason} |")
        if len(risky) > 12:
            lines.append(f"| and {len(risky) - 12:,} more | | |")
        lines.append("")
    if found := actionable(report.warnings):
        lines += [f"**{plural(len(found), 'warning')}**, the heaviest first", ""]
        room = max(1, min(MOST, LINES - len(lines) - 3))
        lines += [
            f"- {code(each.path)} {_cell(each.text)}" + (f": {code(each.remedy)}" if each.remedy else "")
            for each in found[:room]
        ]
        if len(found) > room:
            lines.append(f"- and {len(found) - room:,} more")
    return "\n".join(lines[: LINES - 1]).rstrip("\n") + "\n"


def _cell(text: str) -> str:
    """Text that cannot leave its place in a table or become markup."""
    plain = shown(text).replace("\\", "\\\\")
    for mark in "|`*_<>[]&#~":
        plain = plain.replace(
            mark, f"\\{mark}" if mark not in "<>&" else {"<": "&lt;", ">": "&gt;", "&": "&amp;"}[mark]
        )
    return plain


def code(text: str) -> str:
    """A path or name as code, in or out of a table."""
    plain = shown(text).replace("|", "\\|")
    return f"`` {plain} ``" if "`" in plain else f"`{plain}`"
