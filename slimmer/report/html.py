"""The review as one HTML file: works from a disk, offline, under its own strict Content-Security-Policy.

The figures stand in the markup; the lists follow as one block (`page_rows`), which the page's script unpacks
(DecompressionStream) and shows as they come into view.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TextIO

from slimmer.image.config import ImageConfig
from slimmer.report import vulnerability_views
from slimmer.report.card import image_card
from slimmer.report.diff import Diff, compare
from slimmer.report.model import Report
from slimmer.report.output import Check, Output
from slimmer.report.page_rows import changes, write_rows
from slimmer.report.remedies import MOST, actionable
from slimmer.report.risk import DEFINITIONS, GRAVITY, LOUD
from slimmer.report.sides import config_of, output_side
from slimmer.report.support import support_words
from slimmer.report.vulnerabilities import Vulnerabilities
from slimmer.report.words import about, less, plural, shown, size
from slimmer.values import masked

ASSETS = Path(__file__).with_name("assets")
SCRIPTS = ("data.js", "dom.js", "grid.js", "treemap.js", "panel.js", "main.js")
_MAP = '<h2>Where the bytes are</h2><div id="map"></div>'
LISTED = 200


def write_html(
    stream: TextIO,
    output: Output,
    old: Output | None = None,
    *,
    name: str = "",
    scanned: Vulnerabilities | None = None,
) -> None:
    """Write the page; with `old` what changed since that output too. Raises SlimmerError.

    `name` is what the output is called, when its directory is not where it will be.
    """
    report, check = output.report(), output.check()
    counts, config = output.counts(), config_of(output)
    diff = compare(output_side(str(old.directory)), output_side(str(output.directory))) if old else None
    style = (ASSETS / "page.css").read_text(encoding="utf-8")
    script = "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS)
    name = shown(name or output.directory.name or str(output.directory))
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    stream.write(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(name)}: slim image review</title>\n<style>{style}</style>\n</head>\n<body>\n"
    )
    stream.write(_body(_Page(report, check, diff, counts, config, scanned), name))
    stream.write('<script type="application/octet-stream" id="data">\n')
    write_rows(output, report, diff, stream)
    stream.write(f"\n</script>\n<script>{script}</script>\n</body>\n</html>\n")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@dataclass(frozen=True, slots=True)
class _Page:
    """What the page tells. `counts`: rows of its lists of kept and removed paths, as its tabs say them."""

    report: Report
    check: Check
    diff: Diff | None
    counts: tuple[int, int]
    config: ImageConfig
    scanned: Vulnerabilities | None = None


def _body(page: _Page, name: str) -> str:
    report, check, diff = page.report, page.check, page.diff
    warnings, packages = len(report.warnings), len(report.packages)
    kept, removed = page.counts
    tabs = [
        ("overview", "Overview", ""),
        ("kept", "Kept", f"{kept:,}"),
        ("removed", "Removed", f"{removed:,}"),
        ("packages", "Packages", f"{packages:,}"),
        ("risks", "Risks", f"{len(report.risky):,}"),
        ("warnings", "Warnings", f"{warnings:,}"),
    ]
    if page.scanned is not None:
        tabs.append(("vulnerabilities", "Vulnerabilities", f"{len(page.scanned.staying):,}"))
    if diff:
        tabs.append(("changes", "Changes", f"{len(changes(diff)):,}"))
    buttons = "".join(
        f'<button role="tab" type="button" id="go-{key}" data-tab="{key}" aria-controls="tab-{key}" '
        f'aria-selected="{"true" if key == "overview" else "false"}">{title}'
        + (f'<span class="n">{count}</span>' if count else "")
        + "</button>"
        for key, title, count in tabs
    )
    panels = "".join(
        f'<section role="tabpanel" id="tab-{key}" aria-labelledby="go-{key}"{"" if key == "overview" else " hidden"}>'
        f"{inner}</section>\n"
        for key, inner in ((key, _panel(key, page)) for key, _, _ in tabs)
    )
    return (
        '<a class="skip" href="#main">To the content</a>\n'
        f"<header>{_header(report, check, name)}</header>\n"
        f'<nav aria-label="Parts of the review"><div class="tabs" role="tablist">{buttons}</div></nav>\n'
        f'<main id="main"><p id="state" role="status">Unpacking the lists…</p>'
        "<noscript><p>The lists and the map need JavaScript; the figures do not.</p></noscript>\n"
        f"{panels}</main>\n"
        f"<footer>Made by slimmer {escape(report.subject.version)}. "
        "Nothing in this file is loaded from elsewhere.</footer>\n"
    )


def _header(report: Report, check: Check, name: str) -> str:
    fat, slim, subject = report.fat, report.slim, report.subject
    badge = {"passed": "good", "failed": "bad"}.get(check.verdict, "warn")
    verdict = f'<span class="badge {badge}">check {escape(check.verdict)}</span>' if check.verdict else ""
    facts = [
        ("from ", shown(subject.source) + (f" ({subject.architecture})" if subject.architecture else "")),
        ("runs ", shown(masked(" ".join(subject.command)))),
        ("as ", shown(subject.user) or "root"),
        ("image ", subject.image),
        ("system ", shown(support_words(subject))),
    ]
    about = " · ".join(f"{label}<code>{escape(text)}</code>" for label, text in facts if text)
    transfer = f"{size(subject.image_bytes)} to transfer · " if subject.image_bytes else ""
    return (
        f"<h1>Review of {escape(name)} {verdict}</h1>\n<p class='about'>{about}</p>\n"
        f'<div class="headline"><span class="big">{size(fat.bytes)} → {size(slim.bytes)}</span>'
        f'<span class="share">{less(fat.bytes, slim.bytes)}</span>'
        f'<span class="soft">{transfer}{slim.files:,} of {plural(fat.files, "file")} stay</span></div>\n'
        f'<progress class="bar" max="{max(fat.bytes, 1)}" value="{slim.bytes}" '
        f'aria-label="the part of the fat root that stays">{size(slim.bytes)} of {size(fat.bytes)}</progress>\n'
    )


def _panel(key: str, page: _Page) -> str:
    report, diff = page.report, page.diff
    if key == "overview":
        right = f"{_MAP}{_checked(page.check)}{_notes(report)}"
        left = f"{image_card(report, page.config)}{_figures(report)}"
        left += vulnerability_views.figures(page.scanned) if page.scanned is not None else ""
        return f'<div class="columns"><div>{left}</div><div>{right}</div></div>'
    if key == "risks":
        terms = "".join(f"<dt>{escape(risk.value)}</dt><dd>{escape(DEFINITIONS[risk])}</dd>" for risk in GRAVITY)
        return f"<details><summary>What each mark means</summary><dl class='terms'>{terms}</dl></details>"
    if key == "vulnerabilities" and page.scanned is not None:
        return vulnerability_views.panel(page.scanned)
    if key == "changes" and diff:
        grown = size(abs(diff.new_bytes - diff.old_bytes))
        word = "bigger" if diff.new_bytes > diff.old_bytes else "smaller"
        return (
            f"<p>Since {escape(shown(diff.old))}: {plural(len(diff.added), 'path')} added, "
            f"{len(diff.removed):,} removed, {len(diff.changed):,} changed; {grown} {word}.</p>"
        )
    return ""


def _figures(report: Report) -> str:
    fat, slim = report.fat, report.slim
    rows = [
        ("files", "", fat.files, slim.files, False),
        ("packages", "", fat.packages, slim.packages, False),
        ("executables", "", fat.executables, slim.executables, False),
        ("shared objects", "", fat.shared_objects, slim.shared_objects, False),
    ]
    counts = {each.risk: each for each in report.risks}
    for risk in GRAVITY:
        if risk in counts and counts[risk].fat:
            rows.append((risk.value.replace("-", " "), risk.value, counts[risk].fat, counts[risk].slim, risk in LOUD))
    lines = []
    for label, risk_name, before, after, loud in rows:
        shown_label = (
            f'<button class="link" type="button" data-risk="{risk_name}">{label}</button>' if risk_name else label
        )
        style = ' class="loud"' if loud and after else ""
        lines.append(
            f"<tr><td>{shown_label}</td><td>{before:,}</td><td{style}>{after:,}</td><td>{less(before, after)}</td></tr>"
        )
    levels = "".join(
        f"<li{' class=chosen' if each.chosen else ''}>{escape(each.level)} <b>{about(each)}{size(each.bytes)}</b>"
        f"{' (this one)' if each.chosen else ''}</li>"
        for each in report.levels
    )
    return (
        "<h2>Before and after</h2><table class='figures'><thead><tr><th scope='col'>count of</th>"
        "<th scope='col'>before</th><th scope='col'>after</th><th scope='col'>change</th></tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table>"
        + (f"<h2>Other keep levels</h2><ul class='levels'>{levels}</ul>" if levels else "")
    )


def _checked(check: Check) -> str:
    if not check.verdict:
        return ""
    words = (
        f"{check.verdict}: {check.why_not}"
        if check.why_not
        else f"{check.verdict}, {plural(check.asked, 'comparison')}"
    )
    if check.repaired:
        words += f", {plural(check.repaired, 'path')} added by repair"
    problems = "".join(f"<li>{escape(shown(each))}</li>" for each in check.problems[:20])
    return (
        f"<h2>Check</h2><p>{escape(words)}</p>"
        + (f"<ul>{problems}</ul>" if problems else "")
        + _listed("What was compared", [f"{each.what}: {each.word}" for each in check.compared])
        + _listed("What was looked for in vain", [f"{each.path}: {each.followed}" for each in check.vain])
        + _listed("What was added by repair", [f"{each.path}: {each.why}" for each in check.added])
    )


def _listed(title: str, rows: Sequence[str]) -> str:
    """A list that opens on a click, when there is something in it."""
    if not rows:
        return ""
    items = "".join(f"<li>{escape(shown(each))}</li>" for each in rows[:LISTED])
    more = f"<p class='soft'>and {len(rows) - LISTED:,} more in check.json</p>" if len(rows) > LISTED else ""
    return f"<details><summary>{title} ({len(rows):,})</summary><ul class='paths'>{items}</ul>{more}</details>"


def _notes(report: Report) -> str:
    found = actionable(report.warnings)
    warnings = "".join(
        f"<li><code>{escape(shown(each.path))}</code> {escape(shown(each.text))}"
        + (f"<pre>{escape(shown(each.remedy))}</pre>" if each.remedy else "")
        + "</li>"
        for each in found[:MOST]
    )
    notes = "".join(f"<li>{escape(shown(each))}</li>" for each in report.notes)
    text = ""
    if warnings:
        text += f"<h2>Where it may be wrong</h2><ul>{warnings}</ul>"
    if left := len(report.warnings) - len(found[:MOST]):
        text += f"<p class='soft'>{left:,} more, slight ones or alike, under Warnings</p>"
    return text + (f"<h2>Notes</h2><ul>{notes}</ul>" if notes else "")
