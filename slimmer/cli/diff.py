"""`slim diff`: what changed between two outputs or images."""

from __future__ import annotations

import json

import click

from slimmer.cli.narration import narrate
from slimmer.errors import UsageProblem
from slimmer.report import diff_text
from slimmer.report.diff import compare
from slimmer.report.sides import open_side


@click.command("diff")
@click.argument("old")
@click.argument("new")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON on stdout.")
@click.option("--markdown", is_flag=True, help="For a pull request: under 60 lines.")
@click.option(
    "--fail-on",
    multiple=True,
    type=click.Choice(["added", "risk", "any"]),
    help="Exit 3 when paths were added, a path gained a risk, or anything differs.",
)
def command(old: str, new: str, as_json: bool, markdown: bool, fail_on: tuple[str, ...]) -> None:
    """What changed from OLD to NEW: paths, packages, risks, config, sizes.

    Each is an output directory, an OCI layout, an archive or an image reference. Times of files do not count.
    """
    if as_json and markdown:
        raise UsageProblem("--json and --markdown exclude each other")
    say = _quiet if as_json or markdown else _say
    found = compare(open_side(old, say), open_side(new, say))
    if as_json:
        click.echo(json.dumps(diff_text.value(found), indent=1))
    elif markdown:
        click.echo(diff_text.markdown(found), nl=False)
    else:
        click.echo("\n".join(diff_text.lines(found)))
    failed = (
        ("added" in fail_on and found.added)
        or ("risk" in fail_on and found.risk_gained)
        or ("any" in fail_on and not found.same)
    )
    if failed:
        click.get_current_context().exit(3)


def _say(text: str) -> None:
    narrate(f"slim: {text}")


def _quiet(text: str) -> None:
    return
