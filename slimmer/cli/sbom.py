"""`slim sbom`: the image's software bill of materials."""

from __future__ import annotations

import os
from pathlib import Path

import click

from slimmer.errors import SlimmerError
from slimmer.image.times import source_date_epoch
from slimmer.report.bill import bill, sha1_of_files
from slimmer.report.output import open_output


@click.command("sbom")
@click.argument("out", default="slim-out", metavar="[OUT]")
@click.option("--format", "kind", type=click.Choice(["cyclonedx", "spdx"]), default="cyclonedx", show_default=True)
@click.option("--no-files", is_flag=True, help="Only packages.")
@click.option("-o", "--output", "target", default="-", metavar="FILE", help="Where to; stdout by default.")
def command(out: str, kind: str, no_files: bool, target: str) -> None:
    """The bill of materials of OUT's image: CycloneDX 1.6 or SPDX 2.3, as JSON.

    Packages with purls and licences, files with hashes. The same image gives the same bytes; the time in
    it is SOURCE_DATE_EPOCH, else 1970.
    """
    output = open_output(out)
    found = bill(output, files=not no_files)
    epoch = source_date_epoch(dict(os.environ)) or 0
    # Either library takes a while to load.
    if kind == "cyclonedx":
        from slimmer.report.sbom_cyclonedx import cyclonedx

        text = cyclonedx(found, epoch=epoch)
    else:
        from slimmer.report.sbom_spdx import spdx

        text = spdx(found, {} if no_files else sha1_of_files(output), epoch=epoch)
    if target == "-":
        click.echo(text, nl=False)
        return
    try:
        Path(target).write_text(text, encoding="utf-8")
    except OSError as error:
        raise SlimmerError(f"cannot write {target}: {error.strerror}") from error
