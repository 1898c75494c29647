"""`slim reproduce`: an output or a pushed image built again from its own record, and compared bit for bit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from slimmer import recipe as recipes
from slimmer.cli.described import recipe_over
from slimmer.cli.options import named_in, output_at, trust_option
from slimmer.cli.progress import ConsoleProgress
from slimmer.errors import CheckFailed, SlimmerError
from slimmer.image.fetch import fetch
from slimmer.pipeline import consent
from slimmer.pipeline import reproduce as reproducing
from slimmer.recipe import Recipe
from slimmer.registry.client import RegistryOptions
from slimmer.registry.reference import Reference
from slimmer.trust.evidence import of_registry
from slimmer.trust.statements import RECIPE
from tracer.runner import session_directory


@click.command("reproduce")
@click.argument("image", default="slim-out", metavar="[OUT|REF]")
@click.option("--source", metavar="DIR|REF", help="The fat root, where it lies elsewhere now: a directory or an image.")
@click.option("--qemu", metavar="FILE", help="qemu-user-static for a foreign architecture.")
@click.option("--insecure", is_flag=True, help="Registries may speak plain HTTP, or show an unknown certificate.")
@trust_option
@click.option("-q", "--quiet", is_flag=True, help="No narration.")
@click.option("--json", "as_json", is_flag=True, help="The comparison as JSON on stdout.")
def command(
    image: str, source: str | None, qemu: str | None, insecure: bool, trust: bool, quiet: bool, as_json: bool
) -> None:
    """Build OUT or a signed image of a registry once more from its recipe and recording, and compare.

    Nothing is run and nothing is written. "Bit for bit equal"; or that only the compressed bytes differ (another
    compressor's version); or what differs in the content, and then exit 3.
    """
    narrator = ConsoleProgress(quiet=quiet)
    changes: dict[str, Any] = {"qemu": qemu, "insecure": insecure}
    if source is not None:
        changes["root" if Path(source).is_dir() and not (Path(source) / "oci-layout").is_file() else "image"] = source
    if Path(image).exists() or (":" not in image and "/" not in image):
        place = output_at(image)
        base = recipes.load(place / RECIPE)
        if not trust:
            _consented(base, (place / RECIPE).read_bytes(), changes, image)
        found = reproducing.reproduce(place, recipe_over(base, changes), narrator.say)
    else:
        with session_directory.directory() as folder:
            found = _of_registry(Reference.parse(image), Path(folder), changes, narrator, trust=trust)
    if as_json:
        click.echo(json.dumps(reproducing.value(found), indent=1))
    else:
        click.echo("\n".join(reproducing.lines(found)))
    if not found.same_content:
        raise CheckFailed(f"{image} could not be reproduced")


def _consented(recipe: Recipe, text: bytes, changes: dict[str, Any], what: str) -> None:
    """Raises UsageProblem for a stranger's recipe whose source the caller has not named.

    Nothing is run: of what it asks for only the source is read.
    """
    if not consent.remembered(text):
        consent.require(Recipe(source=replace(recipe.source, qemu="")), named_in(changes), what)


def _of_registry(
    reference: Reference, folder: Path, changes: dict[str, Any], narrator: ConsoleProgress, *, trust: bool
) -> reproducing.Reproduction:
    options = RegistryOptions(insecure=bool(changes["insecure"]))
    record = of_registry(reference, options).record
    missing = {RECIPE, reproducing.RECORDING} - set(record)
    if missing:
        raise SlimmerError(f"{reference} has no record to build from", "`slim sign` and `slim push` send it")
    for name, data in record.items():
        (folder / name).write_bytes(data)
    base = recipes.load(folder / RECIPE)
    if not trust:
        _consented(base, record[RECIPE], changes, str(reference))
    narrator.say(f"fetching {reference}")
    fetch(reference, folder / "image", options)
    return reproducing.reproduce(folder, recipe_over(base, changes), narrator.say)
