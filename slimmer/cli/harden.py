"""`slim harden`: run-time policy for an output's image, each permission with its reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from slimmer import recipe as recipes
from slimmer.cli.options import output_at, trust_option
from slimmer.cli.progress import ConsoleProgress
from slimmer.errors import CheckFailed, SlimmerError
from slimmer.exercise.observer import Interrupt
from slimmer.harden.documents import FLAGS, FOLDER, REASONS
from slimmer.harden.policy import Policy, policy
from slimmer.harden.prove import Rehearsal, rehearsed
from slimmer.harden.prove import proved as proved_by
from slimmer.harden.seccomp import Level
from slimmer.pipeline import consent
from slimmer.pipeline.target import RECIPE, mark_folder
from slimmer.pipeline.workspace import beside, place_all
from slimmer.recipe import Recipe
from slimmer.report.output import Output, open_output
from slimmer.report.words import plural, shown


@click.command("harden")
@click.argument("out", default="slim-out", metavar="[OUT]")
@click.option(
    "--level",
    type=click.Choice([each.value for each in Level]),
    default=Level.SAFE.value,
    help="Of seccomp.json: safe (what anything kept can call) or strict (what the exercise called). Default: safe.",
)
@click.option("--prove/--no-prove", "proved", default=True, help="Run the image once under the policy. Default: yes.")
@trust_option
@click.option("-q", "--quiet", is_flag=True, help="No narration.")
@click.option("--json", "as_json", is_flag=True, help="What is allowed, and why, as JSON on stdout.")
def command(out: str, level: str, proved: bool, trust: bool, quiet: bool, as_json: bool) -> None:
    """Write OUT/harden: what the image needs at run time, and nothing more.

    seccomp.json (for docker, podman and Kubernetes): the runtimes' default less every call that no kept file can
    make and the exercise did not; with --level strict only what the exercise made, and what every program needs;
    apparmor.profile; security-context.yaml; flags.txt for `docker run` and `podman run`; reasons.json, which
    `slim why OUT syscall:NAME` asks. The image runs its exercise once more under all of it; exit 3, with nothing
    written, when it then does something else.

    \b
    podman run $(cd OUT && cat harden/flags.txt) IMAGE
    """
    place = output_at(out)
    output = open_output(str(place))

    def say(text: str) -> None:
        if not quiet:
            click.echo(f"slim: {text}", err=True)

    recipe = recipes.load(place / RECIPE)
    wanted = Level(level)
    run = proved or wanted is Level.STRICT
    if run and not (trust or consent.remembered((place / RECIPE).read_bytes())):
        consent.require(recipe, consent.Named(source=not recipe.services), str(place))
    if run:
        narrator = ConsoleProgress(quiet=quiet)
        with (
            Interrupt().watching() as interrupt,
            rehearsed(output, recipe, narrator.progress(interrupt).observer, say) as rehearsal,
        ):
            found = _tried(output, recipe, wanted, rehearsal, proved, say)
        narrator.clear()
    else:
        found = policy(output, recipe, say)
    write(place, found)
    if as_json:
        click.echo(found.files()[REASONS], nl=False)
        return
    for line in summary(found):
        click.echo(shown(line))
    click.echo(f"written to {place / FOLDER}; {FLAGS} has the flags for docker and podman")


def _tried(
    output: Output, recipe: Recipe, level: Level, rehearsal: Rehearsal | str, proved: bool, say: Callable[[str], None]
) -> Policy:
    """The policy, from what the image did, and proved by it. Raises CheckFailed when it then does something else."""
    if isinstance(rehearsal, str) or (level is Level.STRICT and rehearsal.made is None):
        if level is Level.STRICT:
            why = rehearsal if isinstance(rehearsal, str) else "its calls cannot be watched here"
            raise SlimmerError(f"no strict profile without a run of the image: {why}", "take --level safe")
        say(f"not proved: {rehearsal}")
        return policy(output, recipe, say)
    found = policy(output, recipe, say, level, rehearsal.made)
    if not proved:
        return found
    found, proof = proved_by(found, rehearsal)
    if not proof.performed:
        say(f"not proved: {proof.why_not}")
        return found
    if not proof.passed:
        parts = f"; it is {' and '.join(proof.parts)} that makes the difference" if proof.parts else ""
        what = "\n  ".join(proof.problems[:10])
        hint = "nothing was written; --no-prove writes it all the same"
        raise CheckFailed(f"under the policy the image does something else{parts}\n  {what}", hint)
    if (verdict := output.check().verdict) != "passed":
        say(f"the image itself is not proved: its check {verdict or 'was not performed'}; `slim check` compares it")
    say(f"proved: {plural(len(proof.rows), 'comparison')} equal")
    if proof.denied:
        say(f"refused in it, and nothing came of that: {', '.join(proof.denied)}")
    return found


def write(place: Path, found: Policy) -> None:
    """Put the files into an output, all or none. Raises SlimmerError."""
    with beside(place / FOLDER, "the policy", "OUT") as part:
        part.mkdir()
        for name, text in found.files().items():
            (part / name).write_text(text, encoding="utf-8", errors="surrogateescape")
        place_all([(part, place / FOLDER)])
    mark_folder(place, FOLDER)


def summary(found: Policy) -> list[str]:
    """What it comes to, for a person."""
    seccomp, needs = found.seccomp, found.needs
    lines = [
        f"{len(seccomp.allowed)} system calls are allowed, {len(seccomp.refused)} of the runtimes' default are not",
        f"user {needs.uid}:{needs.gid}, capabilities: {', '.join(needs.capabilities) or 'none'}",
        f"writable: {', '.join(each.path for each in needs.writable) or 'nothing'}",
    ]
    if seccomp.untold:
        lines.append(f"{plural(len(seccomp.untold), 'object')} may make any call, as far as can be told:")
        lines += [f"  {each.path}: {each.text}" for each in seccomp.untold[:5]]
    return lines
