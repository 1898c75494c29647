"""`slim report`: the review."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import click

from slimmer.cli.scans import vulnerabilities
from slimmer.errors import SlimmerError, UsageProblem
from slimmer.report.output import Output, open_output
from slimmer.report.vulnerabilities import Vulnerabilities


@click.command("report")
@click.argument("out", default="slim-out", metavar="[OUT]")
@click.option("--json", "as_json", is_flag=True, help="report.json on stdout; with --scan what became of the findings.")
@click.option("--markdown", is_flag=True, help="For a pull request: under 60 lines, on stdout.")
@click.option("--html", metavar="FILE", help="One file to look at in a browser, offline; - for stdout.")
@click.option("--against", metavar="OLD", help="With --html: show what changed since another output.")
@click.option("--csv", "as_csv", metavar="FILE", help="Every path, kept and removed, a line each; - for stdout.")
@click.option("--sarif", "as_sarif", metavar="FILE", help="What stays and is risky, for code scanning; - for stdout.")
@click.option(
    "--scan",
    "scans",
    multiple=True,
    metavar="FILE",
    help="A scan of the fat root (grype's or trivy's JSON, debsecan's text): what became of each finding.",
)
@click.option("-v", "--verbose", is_flag=True, help="Every warning, also the slight ones.")
def command(
    out: str,
    as_json: bool,
    markdown: bool,
    html: str | None,
    against: str | None,
    as_csv: str | None,
    as_sarif: str | None,
    scans: tuple[str, ...],
    verbose: bool,
) -> None:
    """The review of an output: what was removed, what stays and why.

    OUT is the directory that `slim trace` wrote (slim-out). Without options, a page for the terminal.
    """
    if against and not html:
        raise UsageProblem("--against goes with --html", "for text use `slim diff OLD NEW`")
    if sum(map(bool, (as_json, markdown, html == "-", as_csv == "-", as_sarif == "-"))) > 1:
        raise UsageProblem(
            "only one thing fits on stdout", "give the others a file: --html FILE, --csv FILE, --sarif FILE"
        )
    output = open_output(out)
    scanned = vulnerabilities(output, scans)
    if as_json and scans and scanned is not None:
        click.echo(scanned.dump(), nl=False)
    elif as_json:
        click.echo((output.directory / "report.json").read_text(encoding="utf-8"), nl=False)
    if markdown:
        from slimmer.report.table import markdown as words

        click.echo(words(output.report(), output.check(), scanned), nl=False)
    if as_csv:
        _write_to(as_csv, lambda stream: _csv(stream, output), newline="")
    if as_sarif:
        _write_to(as_sarif, lambda stream: _sarif(stream, output))
    if html:
        old = open_output(against) if against else None
        _write_to(html, lambda stream: _html(stream, output, old, scanned))
    if not (as_json or markdown or html or as_csv or as_sarif):
        _page(output, out, verbose, scanned)


def _csv(stream: TextIO, output: Output) -> None:
    from slimmer.report.table import write_csv

    write_csv(stream, output)


def _sarif(stream: TextIO, output: Output) -> None:
    from slimmer.report.sarif import sarif

    json.dump(sarif(output, output.report()), stream, indent=1)
    stream.write("\n")


def _html(stream: TextIO, output: Output, old: Output | None, scanned: Vulnerabilities | None) -> None:
    from slimmer.report.html import write_html

    write_html(stream, output, old, scanned=scanned)


def _page(output: Output, name: str, verbose: bool, scanned: Vulnerabilities | None) -> None:
    from rich.console import Console

    from slimmer.report.text import page

    Console(file=sys.stdout, highlight=False, markup=False, emoji=False).print(
        page(output.report(), output.check(), name, verbose=verbose, scanned=scanned)
    )


def _write_to(place: str, write: Callable[[TextIO], None], newline: str | None = None) -> None:
    if place == "-":
        write(sys.stdout)
        return
    target = Path(place)
    part = target.with_name(f".{target.name}.part")
    try:
        with open(part, "w", encoding="utf-8", newline=newline) as stream:
            write(stream)
        part.replace(target)
    except OSError as error:
        raise SlimmerError(f"cannot write {place}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
