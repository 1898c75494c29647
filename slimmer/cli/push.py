"""`slim push`: an output's image into a registry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click

from slimmer.image.layout import layout_in
from slimmer.image.push import How, Progress, PushOptions, push
from slimmer.image.reference import Reference
from slimmer.image.registry import RegistryOptions


def narration(quiet: bool) -> Callable[[str], None]:
    """Lines on stderr, or silence."""
    return lambda text: None if quiet else click.echo(f"slim: {text}", err=True)


def teller(say: Callable[[str], None]) -> Callable[[Progress], None]:
    """One line for each blob, once it is there."""

    def tell(progress: Progress) -> None:
        if progress.how is not How.SENDING:
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
@click.option("-q", "--quiet", is_flag=True, help="No narration.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")
def command(
    output: Path, reference: str, insecure: bool, chunk: int, sources: tuple[str, ...], quiet: bool, as_json: bool
) -> None:
    """Send the image of OUTPUT to a registry as REFERENCE (docker://HOST/NAME:TAG).

    Credentials come from docker's and podman's files and helpers. Prints the
    image's name with its digest.
    """
    target = Reference.parse(reference)
    options = PushOptions(RegistryOptions(insecure=insecure), chunk, sources, teller(narration(quiet)))
    digest = push(layout_in(output), target, options)
    full = f"{target.host}/{target.repository}@{digest}"
    if as_json:
        click.echo(json.dumps({"reference": str(target), "digest": digest, "pinned": full}, sort_keys=True))
    else:
        click.echo(full)
