"""`slim debug-image`: the image again with what was removed, sharing its layers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from slimmer import recipe as recipes
from slimmer.cli.described import recipe_over
from slimmer.cli.options import named_in, output_at, trust_option
from slimmer.exercise.source import open_for
from slimmer.image.compress import Compression
from slimmer.pipeline import consent
from slimmer.pipeline.debug_image import DebugImage, Selection, write_debug_image
from slimmer.pipeline.output import mtime_policy
from slimmer.pipeline.target import RECIPE, refuse_file
from slimmer.pipeline.trace import same_root
from slimmer.recipe import Recipe
from slimmer.report.output import open_output
from slimmer.report.words import size
from tracer.recording import load


@click.command("debug-image")
@click.argument("out", default="slim-out", metavar="[OUT]")
@click.option("--with", "words", multiple=True, metavar="all|shell|packages=A,B", help="What comes back; default all.")
@click.option("-o", "--output", "target", metavar="DIR", help="Where the twin goes; default OUT-debug.")
@click.option("--tag", metavar="NAME", help="Its name; default OUT's own with -debug.")
@click.option("--archive", metavar="FILE", help="Also as one file, for `docker load`.")
@click.option("--source", metavar="DIR|REF", help="The fat root, where it lies elsewhere now: a directory or an image.")
@trust_option
@click.option("-q", "--quiet", is_flag=True, help="No narration.")
@click.option("--json", "as_json", is_flag=True, help="What was written as JSON on stdout.")
def command(
    out: str,
    words: tuple[str, ...],
    target: str | None,
    tag: str | None,
    archive: str | None,
    source: str | None,
    trust: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Write a twin of OUT's image: its own layers, byte for byte, and on top what slimming removed.

    A registry that holds the slim image is sent the upper layer alone; the twin starts as the slim image does, and
    has a shell, tools and the package manager again.

    \b
    slim debug-image slim-out --with shell --tag app:1.4-debug
    slim push slim-out-debug docker://registry.example/team/app:1.4-debug
    """
    place = output_at(out)
    base = recipes.load(place / RECIPE)
    changes: dict[str, Any] = {}
    if source is not None:
        changes["root" if Path(source).is_dir() and not (Path(source) / "oci-layout").is_file() else "image"] = source
    if not (trust or consent.remembered((place / RECIPE).read_bytes())):
        consent.require(Recipe(source=replace(base.source, qemu="")), named_in(changes), str(place))
    recipe = recipe_over(base, changes)
    if archive is not None:
        refuse_file(Path(archive))

    def say(text: str) -> None:
        if not quiet:
            click.echo(f"slim: {text}", err=True)

    directory = target or f"{place}-debug"
    written = write(place, recipe, Selection.parse(words), Path(directory), tag or "", archive, say)
    if as_json:
        value = {
            "directory": directory,
            "image": written.image.image_id,
            "digest": written.image.manifest_digest,
            "layers": [layer.digest for layer in written.image.layers],
            "paths": written.paths,
            "bytes": written.layer.size,
        }
        click.echo(json.dumps(value, indent=1))
        return
    click.echo(f"{written.image.image_id}  {written.paths:,} paths more, {size(written.layer.size)} packed")
    click.echo(f"written to {directory}")


def write(
    place: Path,
    recipe: Recipe,
    selection: Selection,
    directory: Path,
    tag: str,
    archive: str | None,
    say: Callable[[str], None],
) -> DebugImage:
    """The twin of the output at a place, from its recipe's root. Raises SlimmerError."""
    opened = open_for(recipe, hidden=[str(place.absolute()), str(directory.absolute())], say=say)
    same_root(load(place / "recording.json"), opened)
    return write_debug_image(
        open_output(str(place)),
        opened.root,
        selection,
        directory,
        tag or f"{recipe.image.tag}-debug",
        compression=Compression(recipe.image.compression),
        mtime=mtime_policy(recipe, {}),
        archive=Path(archive) if archive else None,
        say=say,
    )
