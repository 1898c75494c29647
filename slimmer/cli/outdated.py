"""`slim outdated`: would a rebuild change anything that the image holds?"""

from __future__ import annotations

import json
from pathlib import Path

import click

from slimmer.exercise.source import open_source
from slimmer.packages.index import index
from slimmer.recipe import Source
from slimmer.report.outdated import check_source, lines, outdated, value
from slimmer.report.output import open_output
from slimmer.report.words import plural, shown

CHANGED = 3


@click.command("outdated")
@click.argument("out", default="slim-out", metavar="[OUT]")
@click.option("--against", required=True, metavar="DIR|REF", help="The newer source: a root, or an image.")
@click.option("--platform", default="", metavar="OS/ARCH", help="Which platform of a multi-platform image.")
@click.option("--insecure", is_flag=True, help="Registries may speak plain HTTP, or show an unknown certificate.")
@click.option("-q", "--quiet", is_flag=True, help="No narration.")
@click.option("--json", "as_json", is_flag=True, help="The changes as JSON on stdout.")
def command(out: str, against: str, platform: str, insecure: bool, quiet: bool, as_json: bool) -> None:
    """Which files of OUT's image would change if it were made again from a newer source.

    Exit 0: nothing that this image holds has changed, so that no rebuild is due. Exit 3: something has.
    """
    output = open_output(out)
    local = Path(against).is_dir() and not (Path(against) / "oci-layout").is_file()
    source = Source(root=against, platform=platform) if local else Source(image=against, platform=platform)
    if insecure:
        source = Source(root=source.root, image=source.image, platform=platform, insecure=True)

    def say(text: str) -> None:
        if not quiet:
            click.echo(f"slim: {text}", err=True)

    root = open_source(source, say=say).root
    check_source(root, output.manifest())
    changes = tuple(outdated(output.manifest(), root, index(root)))
    if as_json:
        click.echo(json.dumps(value(changes, against), indent=1))
    else:
        for line in lines(changes):
            click.echo(shown(line))
        if changes:
            click.echo(f"{plural(len(changes), 'path')} of the image would change")
        else:
            click.echo("nothing that this image holds has changed")
    if changes:
        click.get_current_context().exit(CHANGED)
