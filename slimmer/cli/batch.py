"""`slim batch`: many images from a list, on this machine or on a cluster."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import click

from slimmer import __version__
from slimmer.batch.capacity import jobs_at_once
from slimmer.batch.cluster import Cluster, run_on
from slimmer.batch.journal import Journal, done_before, read
from slimmer.batch.lists import Listed, check_push, policy_text, read_lists, refuse_twins
from slimmer.batch.local import run_here
from slimmer.batch.model import Job, Outcome, Status
from slimmer.cli.options import challenge_budget, challenge_option, challenge_questions, check_mode
from slimmer.errors import Interrupted, UsageProblem
from slimmer.pipeline import consent
from slimmer.pipeline.outputs import CheckMode
from slimmer.pipeline.target import refuse_foreign
from slimmer.report.words import plural, shown

SUMMARY = "slimmer.batchsummary/1"
FAILED, REFUSED = 1, 3
RESULTS = "slim-batch.jsonl"
WIDTH = 100


@click.command("batch")
@click.argument("lists", nargs=-1, type=click.Path(path_type=Path), metavar="FILE|DIR…")
@click.option("-o", "--output", metavar="DIR", help="Outputs that the list gives no place: DIR/NAME.")
@click.option("--push", "prefix", metavar="REF", help="Images that the list does not push: REF/NAME.")
@click.option("--policy", "policy_file", metavar="FILE", help="For images without one of their own; see slim gate.")
@click.option("--jobs", type=click.IntRange(1, 1000), metavar="N", help="At once; default by cores and memory.")
@click.option("--scheduler", metavar="ADDRESS", help="On a Dask cluster: tcp://HOST:PORT.")
@click.option("--resource", "resources", multiple=True, metavar="NAME=NUMBER", help="Of Dask, that an image needs.")
@click.option("--retries", type=click.IntRange(0, 100), default=2, metavar="N", help="After a process died; default 2.")
@click.option("--results", default=RESULTS, metavar="FILE", help=f"A line for each image; default {RESULTS}.")
@click.option("--resume", is_flag=True, help="Leave out what --results says was done.")
@click.option("--fail-fast/--keep-going", default=False, help="Stop at the first that fails; default keep going.")
@click.option("--cache", metavar="DIR", help="The cache, of layers and facts; default by XDG_CACHE_HOME.")
@click.option("--trust", is_flag=True, help="Recipes in files of their own may use this host.")
@click.option("--check", type=click.Choice([each.value for each in CheckMode]), help="As for slim trace.")
@click.option("--no-check", is_flag=True, help="The same as --check=off.")
@challenge_option
@challenge_questions
@click.option("-q", "--quiet", is_flag=True, help="No narration.")
@click.option("--json", "as_json", is_flag=True, help="The lines, and the summary as the last, on stdout.")
def command(
    lists: tuple[Path, ...],
    output: str | None,
    prefix: str | None,
    policy_file: str | None,
    jobs: int | None,
    scheduler: str | None,
    resources: tuple[str, ...],
    retries: int,
    results: str,
    resume: bool,
    fail_fast: bool,
    cache: str | None,
    trust: bool,
    quiet: bool,
    as_json: bool,
    **options: object,
) -> None:
    """Make the images of a list: [[image]] tables of TOML, lines of JSON, or a directory of slim.toml files.

    \b
    [[image]]  name = "shop", recipe = "shop/slim.toml", policy = "policy.toml",
               source = { image = "docker://HOST/shop:7" },
               output = "out/shop", push = "docker://HOST/slim/shop:7"

    An image that the registry has already is not pushed. Exit 1 when one could not be made, 3 when checks or
    policies alone were against it. Ctrl-C ends everything; --resume goes on.
    """
    began = time.monotonic()
    if not lists:
        raise UsageProblem("no list of images", "name a file with [[image]] tables, or a directory of slim.toml files")
    cluster = _cluster(scheduler, resources, retries)
    images = [_placed(each, output, prefix, policy_file) for each in read_lists(lists)]
    refuse_twins(images)
    _require_trust(images, trust)
    mode = check_mode(options, os.environ)
    budget = challenge_budget(options, default=True)
    template = Job(
        "",
        "",
        check=mode.value,
        questions=budget.questions if budget else 0,
        directory=os.getcwd(),
        cache=os.path.abspath(cache) if cache else "",
        version=__version__,
    )
    wanted = [_job(each, template) for each in images]
    for each in wanted:
        if each.output:
            refuse_foreign(Path(each.output))
    place = Path(results)
    known = done_before(wanted, read(place)) if resume else {}
    todo = [each for each in wanted if each.key not in known]
    screen = Screen(len(wanted), quiet=quiet)
    if known:
        screen.say(f"{plural(len(known), 'image')} done before; {len(todo)} to go")
    if cluster is not None:
        made = run_on(cluster, todo, screen.stage, screen.say)
    else:
        made = run_here(todo, jobs or jobs_at_once(), retries=retries, watch=screen.stage)
    outcomes: list[Outcome] = []
    with Journal(place, known.values()) as journal:
        for outcome in known.values():
            if as_json:
                click.echo(outcome.dump())
        try:
            for outcome in _followed(made, journal, screen, fail_fast=fail_fast, as_json=as_json):
                outcomes.append(outcome)  # one by one: those of before an interruption count
        except KeyboardInterrupt as error:
            number = error.number if isinstance(error, Interrupted) else signal.SIGINT
            done = f"{len(known) + len(outcomes)} of {plural(len(wanted), 'image')} done"
            raise Interrupted(number, f"{done}; the same again with --resume goes on") from error
    _end(wanted, known, outcomes, screen, time.monotonic() - began, as_json=as_json)


def _followed(
    made: Generator[Outcome, None, None], journal: Journal, screen: Screen, *, fail_fast: bool, as_json: bool
) -> Iterator[Outcome]:
    """The outcomes, each written and told. Whatever ends this, ends what runs."""
    try:
        for outcome in made:
            journal.add(outcome)
            if as_json:
                click.echo(outcome.dump())
            screen.done(outcome)
            yield outcome
            if fail_fast and not outcome.status.good:
                screen.say("--fail-fast: the others are ended")
                return
    finally:
        screen.clear()
        made.close()


def _cluster(scheduler: str | None, resources: Sequence[str], retries: int) -> Cluster | None:
    found = {}
    for text in resources:
        name, equals, number = text.partition("=")
        try:
            found[name] = float(number)
        except ValueError:
            equals = ""
        if not name or not equals or not found[name] > 0:
            raise UsageProblem(f"--resource {text}: write NAME=NUMBER", "as `dask worker --resources` has it")
    if scheduler is None:
        if found:
            raise UsageProblem("--resource is a cluster's", "name one with --scheduler tcp://HOST:PORT")
        return None
    return Cluster(scheduler, retries, found)


def _placed(image: Listed, output: str | None, prefix: str | None, policy_file: str | None) -> Listed:
    """With what the command line says for all. Raises UsageProblem."""
    changed = image
    if prefix and not image.push:
        changed = replace(changed, push=f"{prefix.rstrip('/')}/{image.name.lower()}")
        check_push(changed.push)
    if not image.output and (output or not changed.push):
        changed = replace(changed, output=os.path.join(output or "slim-out", image.name))
    if policy_file and not image.policy:
        changed = replace(changed, policy=policy_text(Path(policy_file)))
    return changed


def _require_trust(images: Sequence[Listed], trust: bool) -> None:
    """What stands in the list its caller says himself; a recipe in another file may be anybody's."""
    for each in images:
        if not each.theirs or trust or consent.remembered(Path(each.theirs).read_bytes()):
            continue
        # An image is what is to be made smaller; a directory of this host would be packed, and pushed.
        own = each.own_source or bool(each.recipe.source.image)
        consent.require(each.recipe, consent.Named(source=own), each.theirs)


def _job(image: Listed, template: Job) -> Job:
    source = image.recipe.source
    return replace(
        template,
        name=image.name,
        recipe=image.recipe.dump(),
        output=os.path.abspath(image.output) if image.output else "",
        push=image.push,
        policy=image.policy,
        alone=not source.image and os.path.realpath(source.root) == "/",
    )


def _end(
    wanted: Sequence[Job],
    known: dict[str, Outcome],
    outcomes: Sequence[Outcome],
    screen: Screen,
    seconds: float,
    *,
    as_json: bool,
) -> None:
    counts = Counter(each.status for each in outcomes)
    left = len(wanted) - len(known) - len(outcomes)
    bad = [each for each in outcomes if not each.status.good]
    code = 0 if not bad else REFUSED if all(each.status is Status.REFUSED for each in bad) else FAILED
    if as_json:
        value = {
            "format": SUMMARY,
            "images": len(wanted),
            "done_before": len(known),
            **{each.value: counts[each] for each in Status},
            "not_made": left,
            "seconds": round(seconds, 3),
        }
        click.echo(json.dumps(value))
    words = [f"{counts[each]} {each.value}" for each in Status if counts[each]]
    words += [f"{len(known)} done before"] if known else []
    words += [f"{left} not made"] if left else []
    screen.say(f"{plural(len(wanted), 'image')}: {', '.join(words)}; {seconds:.1f} s")
    for each in bad:
        screen.say(
            f"{each.name}: {each.status.value}: {shown(each.message)}" + (f"\n  {each.hint}" if each.hint else "")
        )
    if code:
        click.get_current_context().exit(code)


@dataclass(slots=True)
class Screen:
    """stderr: a line for each image that is done, and on a terminal one for those that are being made."""

    total: int
    quiet: bool = False
    finished: int = 0
    stages: dict[str, str] = field(default_factory=dict)
    live: bool = field(default_factory=lambda: sys.stderr.isatty())

    def say(self, text: str) -> None:
        if not self.quiet:
            self.clear()
            click.echo(click.style("slim: ", dim=True) + text, err=True)

    def stage(self, name: str, text: str) -> None:
        self.stages[name] = text
        if self.live and not self.quiet:
            words = "; ".join(f"{each}: {shown(stage)}" for each, stage in self.stages.items())
            line = f"slim: {self.finished} of {self.total} done; {words}"
            click.echo("\r" + line[: WIDTH - 1].ljust(WIDTH), err=True, nl=False)
        elif text.startswith("again: "):
            self.say(f"{name}: {shown(text)}")

    def clear(self) -> None:
        if self.live and not self.quiet:
            click.echo("\r" + " " * WIDTH + "\r", err=True, nl=False)

    def done(self, outcome: Outcome) -> None:
        self.stages.pop(outcome.name, None)
        self.finished += 1
        size = f", {outcome.bytes / 1e6:.1f} MB" if outcome.bytes else ""
        what = outcome.image_id[:19] if outcome.status.good else shown(outcome.message.split("\n")[0])
        self.say(
            f"[{self.finished}/{self.total}] {outcome.name}: {outcome.status.value} {what}{size} "
            f"({outcome.seconds:.1f} s)"
        )
