"""`slim sign`: statements about an output, signed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from slimmer.cli.passphrase import key_option, load_key, passphrase_option
from slimmer.errors import SlimmerError
from slimmer.image.times import source_date_epoch
from slimmer.pipeline.target import mark_folder
from slimmer.report.output import open_output
from slimmer.trust.attach import FOLDER, SUFFIX, sign
from slimmer.trust.statements import LOCAL_BUILDER, Builder


@click.command("sign")
@click.argument("out", default="slim-out", metavar="[OUT]")
@key_option
@passphrase_option
@click.option("--builder", "builder_id", default=LOCAL_BUILDER, metavar="URI", help="Who built it, as provenance says.")
@click.option("--vex", "vex_file", metavar="FILE", help="An OpenVEX document (`slim vex`) to sign too.")
@click.option("-q", "--quiet", is_flag=True, help="No narration.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")
def command(
    out: str,
    key_name: str,
    passphrase_file: str | None,
    builder_id: str,
    vex_file: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Sign statements about OUT's image: provenance, bills of materials, the verdict of its check.

    They lie in OUT/attestations as sigstore bundles (DSSE, in-toto), and `slim push` sends them after the image.
    Times are SOURCE_DATE_EPOCH's or none at all, so that statements of two equal builds are equal.
    """
    key = load_key(key_name, passphrase_file)
    vex = b""
    if vex_file is not None:
        try:
            vex = Path(vex_file).read_bytes()
        except OSError as error:
            raise SlimmerError(f"cannot read {vex_file}: {error.strerror}") from error
    output = open_output(out)
    made = sign(output, key, Builder(builder_id, source_date_epoch(dict(os.environ))), vex)
    mark_folder(output.directory, FOLDER)
    if as_json:
        rows = [
            {
                "file": f"{FOLDER}/{each.statement.name}{SUFFIX}",
                "predicate_type": each.statement.predicate_type,
                "statement": each.statement.digest,
            }
            for each in made
        ]
        click.echo(json.dumps({"format": "slimmer.signed/1", "key": key.public.hint, "statements": rows}, indent=1))
    elif not quiet:
        for each in made:
            place = Path(out, FOLDER, f"{each.statement.name}{SUFFIX}")
            click.echo(f"slim: {place}  statement {each.statement.digest[:19]}", err=True)
        if not key.deterministic:
            click.echo("slim: this key's signatures differ each time; the statements do not", err=True)
