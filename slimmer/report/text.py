"""The review as a page in a terminal: read in a minute, nothing that needs scrolling for long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from slimmer.closure.model import ClosureWarning
from slimmer.report.model import PackageReport, PackageState, Report, RiskyPath
from slimmer.report.output import Check
from slimmer.report.remedies import MOST, actionable
from slimmer.report.risk import GRAVITY, LOUD
from slimmer.report.support import support_words
from slimmer.report.vulnerabilities import Vulnerabilities
from slimmer.report.vulnerability_views import page_section
from slimmer.report.words import about, less, plural, shown, size, some, user_words

RISKS_SHOWN = 14
PACKAGES_SHOWN = 8
NOTES_SHOWN = 6


def page(
    report: Report, check: Check, name: str, *, verbose: bool = False, scanned: Vulnerabilities | None = None
) -> RenderableType:
    """The whole page. With `verbose` every warning, not only those that can be acted on."""
    parts: list[RenderableType] = [_title(report, name), Text(), _figures(report)]
    if report.levels:
        parts += [Text(), _levels(report)]
    parts += [Text(), *_packages(report)]
    if scanned is not None:
        parts += [Text(), *page_section(scanned)]
    parts += [Text(), *_risky(report), Text(), *_warnings(report, check, verbose=verbose)]
    return Group(*parts)


def _head(text: str) -> Text:
    return Text(text, style="bold")


def _pairs(rows: Iterable[tuple[str, RenderableType]]) -> Table:
    """Labels and what they say, each wrapped in its own column."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", style="dim", no_wrap=True, min_width=6)
    table.add_column(overflow="fold", ratio=1)
    for label, value in rows:
        table.add_row(label, value)
    return table


def _title(report: Report, name: str) -> RenderableType:
    subject = report.subject
    rows = [
        ("from", shown(subject.source) + (f" ({subject.architecture})" if subject.architecture else "")),
        ("runs", shown(" ".join(subject.command))),
        ("user", user_words(subject.user)),
        ("image", subject.image),
        ("size", f"{size(subject.image_bytes)} to transfer" if subject.image_bytes else ""),
        ("system", shown(support_words(subject))),
    ]
    head = Text.assemble(("Review of ", "bold"), (shown(name), "bold cyan"))
    return Group(head, _pairs((label, Text(value)) for label, value in rows if value.strip()))


def _figures(report: Report) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for column in ("before", "after", ""):
        table.add_column(column, justify="right")
    fat, slim = report.fat, report.slim
    table.add_row("size", size(fat.bytes), Text(size(slim.bytes), style="bold"), less(fat.bytes, slim.bytes))
    counts = [
        ("files", fat.files, slim.files),
        ("packages", fat.packages, slim.packages),
        ("executables", fat.executables, slim.executables),
        ("shared objects", fat.shared_objects, slim.shared_objects),
    ]
    for label, before, after in counts:
        table.add_row(label, f"{before:,}", f"{after:,}", less(before, after))
    by_risk = {each.risk: each for each in report.risks}
    for risk in GRAVITY:
        count = by_risk.get(risk)
        if count is not None and count.fat:
            style = "red" if risk in LOUD and count.slim else ""
            label = risk.value.replace("-", " ")
            table.add_row(label, f"{count.fat:,}", Text(f"{count.slim:,}", style=style), less(count.fat, count.slim))
    return table


def _levels(report: Report) -> Text:
    text = _head("Keep levels ")
    for each in report.levels:
        style = "bold green" if each.chosen else "dim"
        text.append(
            f"  {each.level} {about(each)}{size(each.bytes)}" + (" (this one)" if each.chosen else ""), style=style
        )
    return text


def _packages(report: Report) -> Iterator[RenderableType]:
    by_state: dict[PackageState, list[PackageReport]] = {state: [] for state in PackageState}
    for each in report.packages:
        by_state[each.state].append(each)
    whole, part, gone = (by_state[state] for state in PackageState)
    text = _head("Packages ")
    text.append(f"  {len(gone):,} removed, {len(part):,} kept in part, {len(whole):,} kept whole", style="")
    yield text
    lines: list[tuple[str, RenderableType]] = []
    for label, rows, stays in (("left", gone, False), ("stay", [*part, *whole], True)):
        rows = sorted(rows, key=lambda each: (-(each.kept_bytes if stays else each.removed_bytes), each.package))
        names = [
            f"{shown(each.package.name)} {size(each.kept_bytes if stays else each.removed_bytes)}"
            + (f" of {size(each.kept_bytes + each.removed_bytes)}" if stays and each.removed_files else "")
            for each in rows
        ]
        if names:
            lines.append((label, Text(some(names, PACKAGES_SHOWN))))
    silent = [each for each in [*part, *whole] if not each.copyright and each.package.type in ("deb", "rpm", "apk")]
    if silent:
        first = some([shown(each.package.name) for each in silent], 5)
        words = f"no copyright file stays of {plural(len(silent), 'kept package')}: {first}"
        lines.append(("note", Text(words, style="yellow")))
    yield _pairs(lines)


def gravest(report: Report) -> list[RiskyPath]:
    """Risky kept paths, the gravest mark first."""
    order = {risk: number for number, risk in enumerate(GRAVITY)}
    return sorted(report.risky, key=lambda each: min((order[mark.risk] for mark in each.marks), default=len(order)))


def _warning(each: ClosureWarning) -> Iterator[tuple[str, RenderableType]]:
    yield "!", Text.assemble((shown(each.path), "cyan"), f"  {shown(each.text)}")
    if each.remedy:
        yield "", Text(shown(each.remedy), style="bold")


def _risky(report: Report) -> Iterator[RenderableType]:
    if not report.risky:
        yield Text.assemble(("Risky paths that stay ", "bold"), ("  none", "green"))
        return
    yield _head(f"Risky paths that stay: {len(report.risky):,}")
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=False, overflow="fold")
    table.add_column(no_wrap=False, overflow="fold", ratio=1)
    table.add_column(no_wrap=False, overflow="fold", ratio=1, style="dim")
    rows = gravest(report)
    for each in rows[:RISKS_SHOWN]:
        marks = Text(", ".join(str(mark) for mark in each.marks))
        if any(mark.risk in LOUD for mark in each.marks):
            marks.stylize("red")
        reason = shown(each.reason.text) if each.reason else ""
        table.add_row(marks, Text(shown(each.path)), Text(reason))
    yield Padding(table, (0, 0, 0, 2))
    if len(rows) > RISKS_SHOWN:
        yield Text(f"  and {len(rows) - RISKS_SHOWN:,} more: --csv, --sarif or --html have all", style="dim")


def _warnings(report: Report, check: Check, *, verbose: bool) -> Iterator[RenderableType]:
    if check.verdict:
        style = {"passed": "bold green", "failed": "bold red"}.get(check.verdict, "bold yellow")
        text = _head("Check ")
        text.append(f"  {check.verdict}", style=style)
        if check.verdict == "not performed":
            text.append(f": {check.why_not}")
        else:
            text.append(f", {plural(check.asked, 'comparison')}")
            if check.repaired:
                text.append(f", {plural(check.repaired, 'path')} added by repair")
            if check.misses:
                text.append(f", {plural(check.misses, 'lookup')} failed without changing a result")
        yield text
        for problem in check.problems[:5]:
            yield Text(f"  {shown(problem)}", style="red")
        yield Text()
    found = report.warnings if verbose else actionable(report.warnings)
    first = found if verbose else found[:MOST]
    if found:
        yield _head(f"Where it may be wrong: {plural(len(found), 'warning')}, the heaviest first")
        yield _pairs(row for each in first for row in _warning(each))
    else:
        yield Text.assemble(("Where it may be wrong ", "bold"), ("  no warnings to act on", "green"))
    if left := len(report.warnings) - len(first):
        yield Text(f"  and {left:,} more, slight ones or alike: --verbose, --json or --html have all", style="dim")
    if report.notes:
        yield _pairs(("note", Text(shown(note), style="dim")) for note in report.notes[:NOTES_SHOWN])
