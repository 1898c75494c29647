"""`slim index`: outputs for several platforms, joined."""

from __future__ import annotations

import json
from pathlib import Path

import click

from slimmer.cli.push import narration, transfers
from slimmer.errors import UsageProblem
from slimmer.image.index import platform_name, push_index, write_index
from slimmer.image.layout import layout_in, read_layout
from slimmer.image.push import PushOptions
from slimmer.registry.client import RegistryOptions
from slimmer.registry.reference import Reference


@click.command("index")
@click.argument("outputs", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-o", "--output", "directory", type=click.Path(path_type=Path), help="Write an OCI layout there.")
@click.option("--tag", default="latest", show_default=True, help="The name in that layout.")
@click.option("--push", "reference", help="Send images and index to a registry: docker://HOST/NAME:TAG.")
@click.option("--insecure", is_flag=True, help="Allow plain HTTP and unknown certificates.")
@click.option("-q", "--quiet", is_flag=True, help="No narration.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")
def command(
    outputs: tuple[Path, ...],
    directory: Path | None,
    tag: str,
    reference: str | None,
    insecure: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Join OUTPUTS, one for each platform, into one image index. Prints the index's digest."""
    if directory is None and reference is None:
        raise UsageProblem("nothing to do with the index", "write it with -o DIR, send it with --push REF, or both")
    say = narration(quiet)
    layouts = [layout_in(output) for output in outputs]
    target = Reference.parse(reference) if reference else None
    digest = ""
    if directory is not None:
        digest = write_index(layouts, directory, tag).digest
        say(f"written to {directory}")
    if target is not None:
        options = PushOptions(RegistryOptions(insecure=insecure), progress=transfers(say))
        digest = push_index(layouts, target, options)
        say(f"sent to {target}")
    if as_json:
        platforms = sorted(platform_name(read_layout(each)) for each in layouts)
        click.echo(json.dumps({"digest": digest, "platforms": platforms}, sort_keys=True))
    else:
        click.echo(digest)
