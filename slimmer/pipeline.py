"""The way through: source → recording → closure → image → check → report."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from slimmer.check import Miss, Verdict
from slimmer.closure.model import Application
from slimmer.doubts import Packed, doubts
from slimmer.errors import CheckFailed, SlimmerError
from slimmer.exercise.drive import Observer, ending, last_lines
from slimmer.exercise.model import RunOutcome
from slimmer.exercise.perform import Performed, binds, perform, session_options
from slimmer.image.archive import split_tag, write_archive
from slimmer.image.layout import Image, check_ref
from slimmer.image.reference import Reference
from slimmer.image.times import MtimePolicy
from slimmer.image.unpack import write_rootfs
from slimmer.packages.index import index
from slimmer.plan import Plan, make_plan
from slimmer.product import Product, epoch_of, mtime_policy, write_image, write_review
from slimmer.recipe import Recipe, Repair
from slimmer.report.html import write_html
from slimmer.report.output import Output
from slimmer.root.fingerprint import fingerprint
from slimmer.root.live import SavedRoot
from slimmer.source import Opened, open_for
from slimmer.verify import unperformed, verify, verify_image
from slimmer.workspace import Workspace, beside, workspace
from tracer import leftovers
from tracer.recording import Recording, load, merge_all
from tracer.session import Session


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where results go."""

    directory: Path
    archive: str = ""  # a file, or "-" for stdout
    rootfs: str = ""
    push: str = ""
    check: bool = True
    repair: bool = True
    rounds: int = 4

    def __post_init__(self) -> None:
        if self.push:
            Reference.parse(self.push)  # a name that is none is said before the work, not after it

    def try_places(self, recipe: Recipe) -> None:
        """Raises SlimmerError when something cannot be written where, or as what, it is to go: before the work."""
        check_ref(recipe.image.tag)
        if self.archive:
            split_tag(_archive_name(recipe))
        if self.rootfs:
            with beside(Path(self.rootfs), "the tree", "--rootfs DIR"):
                pass
        if self.archive not in ("", "-"):
            if Path(self.archive).is_dir():
                raise SlimmerError(f"--archive {self.archive} is a directory", "name a file in it")
            with beside(Path(self.archive), "the archive", "--archive FILE"):
                pass

    def hidden(self, space: Workspace) -> list[str]:
        """Places that are no part of a live root."""
        places = [str(space.path), str(space.target), self.rootfs, self.archive if self.archive != "-" else ""]
        return [os.path.realpath(each) for each in places if each]


@dataclass(frozen=True, slots=True)
class Teller:
    """How the pipeline says what it does: `say` for lines, `observer` for runs."""

    say: Callable[[str], None] = lambda text: None
    observer: Observer = field(default_factory=Observer)


@dataclass(frozen=True, slots=True)
class Result:
    """What a whole trace gave."""

    directory: Path
    product: Product
    verdict: Verdict
    plan: Plan
    explanation: str


def trace(recipe: Recipe, outputs: Outputs, teller: Teller) -> Result:
    """The whole way. Raises SlimmerError; CheckFailed when the slim image does not do what the fat root does."""
    outputs.try_places(recipe)
    with workspace(outputs.directory) as space, leftovers.directory() as aside:
        opened = open_for(recipe, hidden=[*outputs.hidden(space), aside], say=teller.say)
        opened, performed, recording = record_runs(opened, recipe, teller, aside)
        return finish(space, opened, recording, recipe, outputs, teller, performed)


def build(recordings: Sequence[Recording], recipe: Recipe, outputs: Outputs, teller: Teller) -> Result:
    """Closure and image from recordings made before; checked when the recipe says how."""
    recording = merge_all(recordings)
    outputs.try_places(recipe)
    with workspace(outputs.directory) as space:
        opened = open_for(recipe, hidden=outputs.hidden(space), say=teller.say)
        here = fingerprint(opened.root)
        if recording.root and recording.root != here:
            raise SlimmerError(
                f"the recording was made in another root than {opened.root.name}",
                f"it says {recording.root[:19]}, this one is {here[:19]}; "
                "name the root it was made in with --root or --image",
            )
        return finish(space, opened, recording, recipe, outputs, teller, None)


def record(recipe: Recipe, teller: Teller) -> tuple[Recording, Performed]:
    """Only the recording."""
    with leftovers.directory() as aside:
        opened = open_for(recipe, hidden=[aside], say=teller.say)
        _, performed, recording = record_runs(opened, recipe, teller, aside)
        return recording, performed


def explain(recipe: Recipe) -> str:
    """Which recorder a run here would have, and why."""
    opened = open_for(recipe)
    with Session.start(session_options(opened.place, recipe)) as session:
        return session.explanation


def check_output(directory: Path, recipe: Recipe, teller: Teller, *, rounds: int = 0) -> Verdict:
    """An output's image, read from its layers, against its fat root. With `rounds`, rebuilt with what was missing."""
    recording = load(directory / "recording.json")
    opened = open_for(recipe, hidden=[str(directory.absolute())], say=teller.say)
    reference = None if unperformed(opened, recipe) else _reference(opened, recipe, teller)
    teller.say("running the slim image")
    verdict = verify_image(opened, directory / "image", recipe, teller.observer, reference)
    known = verdict.repairs(()) if verdict.performed and not verdict.passed and rounds else ()
    if not known:
        return verdict
    with workspace(directory) as space:
        outputs = Outputs(directory, rounds=rounds)
        return finish(space, opened, recording, recipe, outputs, teller, None, known, reference).verdict


def _reference(opened: Opened, recipe: Recipe, teller: Teller) -> Performed:
    """The exercise in the fat root. Recorded, for a repair that misses alone cannot do, but where that has a price."""
    teller.say("running the fat root")
    return perform(opened.place, recipe, teller.observer, record=not opened.place.in_place)


def record_runs(opened: Opened, recipe: Recipe, teller: Teller, aside: str) -> tuple[Opened, Performed, Recording]:
    """Do the recipe's runs in the fat root; the root as it was before them, and what they touched.

    `aside` is a directory for what runs in the live root change: it is read until the end.
    """
    opened = replace(opened, place=replace(opened.place, saved=aside))
    performed = perform(opened.place, recipe, teller.observer)
    expect(performed, recipe)
    if performed.recording is None:
        raise SlimmerError("nothing was recorded", "name the application with --run")
    if performed.saved:
        opened = replace(opened, root=SavedRoot(opened.root, performed.saved))
    return opened, performed, replace(performed.recording, root=fingerprint(opened.root))


def expect(performed: Performed, recipe: Recipe) -> None:
    """Raises SlimmerError unless the fat root itself does what the recipe expects."""
    for outcome, run in zip(performed.outcomes, recipe.runs, strict=False):
        if outcome.problems:
            raise SlimmerError(
                "the exercise failed in the fat root:\n  " + "\n  ".join(outcome.problems[:6]),
                _words(outcome) or "mend the exercise or the application first",
            )
        if not outcome.stopped and outcome.exit_code != run.expect_exit:
            raise SlimmerError(
                f"{shlex.join(outcome.command)[:200]} {ending(outcome.exit_code)}, not {run.expect_exit}",
                (_words(outcome) + "\n  " if _words(outcome) else "")
                + f"--expect-exit {outcome.exit_code} if that is as it should be",
            )


def _words(outcome: RunOutcome) -> str:
    return last_lines(outcome.errors + b"\n" + outcome.output[-4096:])


def finish(
    space: Workspace,
    opened: Opened,
    recording: Recording,
    recipe: Recipe,
    outputs: Outputs,
    teller: Teller,
    performed: Performed | None,
    repairs: Sequence[Miss] = (),
    reference: Performed | None = None,
) -> Result:
    """From a recording to a published output.

    `performed` gave the recording; `reference` is the exercise in the fat root when it did not.
    `repairs` are misses that are known already.
    """
    reference = performed or reference
    if reference is None and outputs.check and not unperformed(opened, recipe):
        reference = _reference(opened, recipe, teller)
    packages = index(opened.root)
    application = application_of(opened, recipe)
    hidden = [*outputs.hidden(space), opened.place.saved] if opened.place.in_place else []
    added = [*remembered(recipe), *repairs]
    environ = dict(os.environ)
    for turn in range(max(1, outputs.rounds)):
        teller.say("working out what is needed")
        plan = make_plan(opened.root, packages, recording, application, recipe, repairs=added, hidden=hidden)
        teller.say(f"packing {len(plan.paths)} paths")
        image = _fresh_image(plan, opened, recipe, space.path / "image", environ)
        if not outputs.check:
            verdict = Verdict(False, why_not="--no-check was given")
            break
        teller.say("checking the slim image")
        verdict = verify(opened, plan, image, recipe, reference, teller.observer)
        fresh = verdict.repairs(added, last=turn + 2 == outputs.rounds)
        if verdict.passed or not verdict.performed or not outputs.repair or not fresh or turn + 1 == outputs.rounds:
            break
        teller.say(f"repairing: {len(fresh)} paths, e.g. {fresh[0].path} {fresh[0].why or 'was looked for in vain'}")
        added.extend(fresh)
    verdict = replace(verdict, repaired=tuple(added))
    targets = [each.target.rstrip("/") for each in binds(recipe.sandbox.mounts, recipe.sandbox.secrets)]
    packed = Packed(plan.root, frozenset(plan.paths), image.config, targets)
    plan = replace(plan, unsure=doubts(packed, recording, [*plan.unsure, *verdict.doubts]))
    if verdict.performed and not verdict.passed:
        raise CheckFailed(_failed(verdict), "nothing was published; `--no-check` writes the image all the same")
    how = performed.explanation if performed else ""
    notes = (*opened.notes, *([f"recorder: {how}"] if how else []))
    listens = {path: port for outcome in (reference.outcomes if reference else ()) for path, port in outcome.listens}
    report = write_review(plan, opened.root, image, recording, space.path, notes=notes, listens=listens)
    _write(space.path / "recording.json", recording.dump())
    _write(space.path / "check.json", verdict.dump())
    with open(space.path / "report.html", "w", encoding="utf-8") as stream:
        write_html(stream, Output(space.path), name=space.target.name)
    _write(space.path / "recipe.toml", settled(recipe, added, environ).dump())
    with contextlib.ExitStack() as parts:
        # All is written before anything appears.
        ready = [
            *_rootfs(parts, plan, outputs, mtime_policy(recipe, environ), teller),
            *_archive(parts, space.path / "image", outputs, recipe),
        ]
        directory = space.publish()
        for part, target in ready:
            part.rename(target)
    if outputs.push:
        from slimmer.image.push import PushOptions, push  # an HTTP client takes a while to load
        from slimmer.image.registry import RegistryOptions

        options = PushOptions(RegistryOptions(insecure=recipe.source.insecure))
        teller.say(f"pushed to {outputs.push}: {push(directory / 'image', outputs.push, options)}")
    return Result(directory, Product(image, report), verdict, plan, performed.explanation if performed else "")


def remembered(recipe: Recipe) -> list[Miss]:
    """The repairs of an earlier run, which its recipe holds."""
    return [Miss(each.path, each.by, each.kinds, each.why) for each in recipe.repairs]


def settled(recipe: Recipe, repairs: Sequence[Miss], environ: Mapping[str, str]) -> Recipe:
    """The recipe that does the same again: with what was repaired, and with the environment's say on times."""
    held = tuple(Repair(each.path, each.by, each.kinds, each.why) for each in repairs)
    image = replace(recipe.image, source_date_epoch=epoch_of(recipe, environ))
    return replace(recipe, image=image, repairs=held)


def _fresh_image(plan: Plan, opened: Opened, recipe: Recipe, directory: Path, environ: Mapping[str, str]) -> Image:
    shutil.rmtree(directory, ignore_errors=True)
    return write_image(plan, opened.config, opened.place, recipe, directory, dict(environ))


def application_of(opened: Opened, recipe: Recipe) -> Application:
    """How the image will be started, for the rules."""
    start = opened.place.start
    run = recipe.runs[0] if recipe.runs else None
    # What the image starts need not be what was run.
    others = [start.argv] if run and run.command else []
    others += [run.command for run in recipe.runs[1:]]
    others += [tuple(shlex.split(line)) for run in recipe.runs for line in run.exec]
    return Application(
        argv=(run.command if run and run.command else start.argv),
        env={**start.env, **(run.env if run else {})},
        user=(run.user if run and run.user is not None else start.user),
        workdir=(run.workdir if run and run.workdir else start.workdir) or "/",
        executables=tuple(dict.fromkeys(argv[0] for argv in others if argv)),
        volumes=(*opened.config.volumes, *recipe.image.volume),
    )


def _failed(verdict: Verdict) -> str:
    lines = [f"{each.what}: {each.problem}" for each in verdict.comparisons if each.problem][:6]
    lines += [
        f"looked for in vain: {miss.path} (by {', '.join(miss.by) or 'a program'})" for miss in verdict.misses[:6]
    ]
    return "the slim image does not do what the fat root does:\n  " + "\n  ".join(lines)


def _rootfs(
    parts: contextlib.ExitStack, plan: Plan, outputs: Outputs, mtime: MtimePolicy, teller: Teller
) -> Iterator[tuple[Path, Path]]:
    """The tree, beside its place; a directory that is there already (a mount point, perhaps) is filled."""
    if not outputs.rootfs:
        return
    target = Path(outputs.rootfs)
    if target.exists():
        unset = write_rootfs(plan.root, plan.paths, target, mtime=mtime)
    else:
        part = parts.enter_context(beside(target, "the tree", "--rootfs DIR")) / "tree"
        unset = write_rootfs(plan.root, plan.paths, part, mtime=mtime)
        yield part, target
    if unset:
        teller.say(f"{target}: {len(unset)} things could not be set, e.g. {unset[0].path}: {unset[0].text}")


def _archive(
    parts: contextlib.ExitStack, layout: Path, outputs: Outputs, recipe: Recipe
) -> Iterator[tuple[Path, Path]]:
    """The archive, beside its place, or on stdout."""
    if not outputs.archive:
        return
    tag = _archive_name(recipe)
    if outputs.archive == "-":
        write_archive(layout, sys.stdout.buffer, tag)
        sys.stdout.buffer.flush()
        return
    target = Path(outputs.archive)
    part = parts.enter_context(beside(target, "the archive", "--archive FILE")) / target.name
    with open(part, "wb") as stream:
        write_archive(layout, stream, tag)
    yield part, target


def _archive_name(recipe: Recipe) -> str:
    return recipe.image.tag if recipe.image.tag != "latest" else "slimmer:latest"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="surrogateescape")  # a recipe may name any path
