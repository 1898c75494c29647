"""`slim vex`: which findings of a scanner no longer apply."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import click

from slimmer.cli.narration import narrate
from slimmer.errors import SlimmerError
from slimmer.image.times import source_date_epoch
from slimmer.report.findings import load_findings, name_files
from slimmer.report.output import open_output
from slimmer.report.vex import Status, decide, openvex, product_of
from slimmer.report.words import plural, shown

SHOWN = 20


@click.command("vex")
@click.argument("out", default="slim-out", metavar="[OUT]")
@click.option(
    "--scan",
    "scans",
    multiple=True,
    required=True,
    metavar="FILE",
    help="grype's or trivy's JSON, or debsecan's text, of the fat root.",
)
@click.option("--files", "named", metavar="FILE", help="Advisory data that names vulnerable files: {CVE: [PATH, …]}.")
@click.option("--product", metavar="PURL", help="The image's purl; by default pkg:oci/image@ and the image id.")
@click.option("--author", default="slimmer", show_default=True, help="Who makes the statement.")
@click.option("-o", "--output", "target", default="-", metavar="FILE", help="Where to; stdout by default.")
def command(out: str, scans: tuple[str, ...], named: str | None, product: str | None, author: str, target: str) -> None:
    """An OpenVEX document: findings of a scan of the fat root that do not apply to OUT's image.

    A package that was removed is not present. One that is kept in part is only cleared where --files names
    the vulnerable files and all are gone. Everything else stays affected, as the scanner says.
    """
    output = open_output(out)
    findings = [finding for scan in scans for finding in load_findings(Path(scan))]
    if named:
        findings = list(name_files(findings, Path(named)))
    decisions = decide(output, findings)
    epoch = source_date_epoch(dict(os.environ))
    value = openvex(
        decisions,
        product or product_of(output.report()),
        author=author,
        epoch=int(time.time()) if epoch is None else epoch,
    )
    text = json.dumps(value, indent=1) + "\n"
    if target == "-":
        click.echo(text, nl=False)
    else:
        try:
            Path(target).write_text(text, encoding="utf-8")
        except OSError as error:
            raise SlimmerError(f"cannot write {target}: {error.strerror}") from error
    counts = {status: sum(1 for each in decisions if each.status is status) for status in Status}
    narrate(
        f"slim: {plural(len(decisions), 'finding')}: {counts[Status.NOT_PRESENT]:,} not present, "
        f"{counts[Status.CODE_NOT_PRESENT]:,} without the vulnerable code, {counts[Status.AFFECTED]:,} affected, "
        f"{counts[Status.UNDECIDED]:,} undecided"
    )
    undecided = [each for each in decisions if each.status is Status.UNDECIDED]
    for each in undecided[:SHOWN]:
        narrate(f"slim: undecided: {each.finding.vulnerability} {shown(each.finding.name)}: {each.text}")
    if len(undecided) > SHOWN:
        narrate(f"slim: and {len(undecided) - SHOWN:,} more undecided")
