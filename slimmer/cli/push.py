"""`slim push`: an output's image into a registry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click

from slimmer.cli.passphrase import load_key, passphrase_option
from slimmer.image.layout import layout_in, read_layout
from slimmer.image.push import BlobStatus, Progress, PushOptions, push
from slimmer.registry.client import RegistryOptions
from slimmer.registry.reference import Reference
from slimmer.report.output import open_output
from slimmer.trust.attach import FOLDER, push_legacy, push_signed
from tracer.runner import session_directory


def narration(quiet: bool) -> Callable[[str], None]:
    """Lines on stderr, or silence."""
    return lambda text: None if quiet else click.echo(f"slim: {text}", err=True)


def transfers(say: Callable[[str], None]) -> Callable[[Progress], None]:
    """One line for each blob, once it is there."""

    def tell(progress: Progress) -> None:
        if progress.how is not BlobStatus.SENDING:
            say(f"{progress.digest[:19]} {progress.size / 1e6:.1f} MB {progress.how.value}")

    return tell


@click.command("push")
@click.argument("output", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("reference")
@click.option("--insecure", is_flag=True, help="Allow plain HTTP and unknown certificates.")
@click.option("--chunk", type=click.IntRange(min=0), default=0, metavar="BYTES", help="Upload in chunks of this size.")
@click.option(
    "--mount-from", "sources", multiple=True, metavar="REPOSITORY", help="Where the registry may hold layers already."
)
@click.option("--cosign-legacy", metavar="KEY", help="Also sign in cosign's first form, as the tag sha256-….sig.")
@passphrase_option
@click.option("-q", "--quiet", is_flag=True, help="No narration.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")
def command(
    output: Path,
    reference: str,
    insecure: bool,
    chunk: int,
    sources: tuple[str, ...],
    cosign_legacy: str | None,
    passphrase_file: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Send the image of OUTPUT to a registry as REFERENCE (docker://HOST/NAME:TAG).

    What `slim sign` made goes after it, as referrers. Credentials come from docker's and podman's files and helpers.
    Prints the image's name with its digest.
    """
    target = Reference.parse(reference)
    say = narration(quiet)
    key = load_key(cosign_legacy, passphrase_file) if cosign_legacy else None
    options = PushOptions(RegistryOptions(insecure=insecure), chunk, sources, transfers(say))
    digest = push(layout_in(output), target, options)
    if (output / FOLDER).is_dir():
        sent = push_signed(open_output(str(output)), target, options)
        say(f"{len(sent)} signed statements and the record refer to it")
    if key is not None:
        with session_directory.directory() as scratch:
            tag = push_legacy(read_layout(layout_in(output)), key, target, options, Path(scratch))
        say(f"signed in cosign's first form: {tag}")
    full = f"{target.host}/{target.repository}@{digest}"
    if as_json:
        click.echo(json.dumps({"reference": str(target), "digest": digest, "pinned": full}, sort_keys=True))
    else:
        click.echo(full)
