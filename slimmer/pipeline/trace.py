"""The way through: source → recording → closure → image → check → report."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from slimmer.checks.challenge.model import Budget
from slimmer.checks.compare import Verdict
from slimmer.checks.run import unperformed, verify, verify_image
from slimmer.errors import IncompleteRecording, SlimmerError
from slimmer.exercise.default import settle
from slimmer.exercise.expectation import expect
from slimmer.exercise.lookups import bounded
from slimmer.exercise.perform import Performed, binds, perform, session_options
from slimmer.exercise.scratch import without_random_names
from slimmer.exercise.source import Opened, open_for
from slimmer.exercise.withheld import without_credentials
from slimmer.facts.remember import usual
from slimmer.image.config import ImageConfig
from slimmer.image.layout import Image
from slimmer.image.times import MtimePolicy
from slimmer.packages.index import Index, index
from slimmer.pipeline import incomplete
from slimmer.pipeline.acceptance import accept
from slimmer.pipeline.attributes import require_known
from slimmer.pipeline.configuration import application_of
from slimmer.pipeline.known import Known, known
from slimmer.pipeline.lock import held
from slimmer.pipeline.output import epoch_of, mtime_policy, write_image, write_review
from slimmer.pipeline.outputs import SWITCHED_OFF, CheckMode, Outputs
from slimmer.pipeline.plan import Plan, make_plan
from slimmer.pipeline.progress import Progress, bytes_to, paths_to
from slimmer.pipeline.publication import publish
from slimmer.pipeline.repairs import Repairs
from slimmer.pipeline.target import RECIPE
from slimmer.pipeline.workspace import Workspace, workspace
from slimmer.recipe import Miss, Recipe, environment_of
from slimmer.report.findings import Finding
from slimmer.report.html import write_html
from slimmer.report.model import Report
from slimmer.report.output import Output
from slimmer.report.vulnerabilities import write_vulnerabilities
from slimmer.report.warnings import Packed, warnings
from slimmer.root.fingerprint import fingerprint
from slimmer.root.live import SavedRoot
from slimmer.root.noting import noting
from tracer.recording import Recording, load, merge_all
from tracer.runner import session_directory
from tracer.session import Session

if TYPE_CHECKING:
    from slimmer.pipeline.challenge import Asking


@dataclass(frozen=True, slots=True)
class Job:
    """What is packed, and how that came about: `performed` gave the recording, where it was made just now.

    `reference` is the exercise in the fat root; `repairs` are misses that are known already.
    """

    opened: Opened
    recording: Recording
    recipe: Recipe
    performed: Performed | None = None
    reference: Performed | None = None
    repairs: tuple[Miss, ...] = ()
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def mtime(self) -> MtimePolicy:
        return mtime_policy(self.recipe, self.environ)


@dataclass(frozen=True, slots=True)
class Proved:
    """An image, and what its check said."""

    plan: Plan
    image: Image
    verdict: Verdict
    reference: Performed | None
    known: Known


@dataclass(frozen=True, slots=True)
class Result:
    """An output that was published: where it is, what is in it, and what the check said of it."""

    directory: Path
    image: Image
    report: Report
    verdict: Verdict
    plan: Plan  # what is packed, and why
    explanation: str = ""  # which recorder recorded the runs, and why; empty where recordings were given


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the runs of a recipe touched, and by which recorder that was seen."""

    recording: Recording
    explanation: str = ""


SILENT = Progress()


def trace(recipe: Recipe, outputs: Outputs, progress: Progress = SILENT) -> Result:
    """Do a recipe's runs in the fat root, pack what they need, check the slim image, and publish the output.

    The whole way, as `slim trace` goes it. All of the output appears in `outputs.directory`, or nothing.

    Raises CheckFailed when the slim image does not do what the fat root does, IncompleteRecording when
    the recorder failed under a run, and SlimmerError for what is wrong with the input or this machine.
    """
    outputs.try_places(recipe)
    # Facts last: what is cleared away afterwards needs the descriptors that their store holds.
    with workspace(outputs.directory) as space, session_directory.directory() as aside, usual():
        with progress.phase("opening the root"):
            opened = open_for(recipe, hidden=[*outputs.hidden(space), aside], say=progress.say)
        require_known(opened.root, recipe.image)
        try:
            opened, performed, recording = record_runs(opened, recipe, progress, aside)
        except IncompleteRecording as error:
            raise incomplete.keep(error, outputs.directory) from error
        recipe = settle(recipe, performed.outcomes)
        return finish(space, Job(opened, recording, recipe, performed, performed), outputs, progress)


def build(recordings: Sequence[Recording], recipe: Recipe, outputs: Outputs, progress: Progress = SILENT) -> Result:
    """Make an output from recordings that were made before in the recipe's root, merged.

    The image is checked when the recipe says how the application is run and asked.

    Raises CheckFailed when the slim image does not do what the fat root does, and SlimmerError when a
    recording tells of another root or something is wrong with the input or this machine.
    """
    recording = merge_all(recordings)
    outputs.try_places(recipe)
    with workspace(outputs.directory) as space, usual():
        opened = open_for(recipe, hidden=outputs.hidden(space), say=progress.say)
        same_root(recording, opened)
        return finish(space, Job(opened, recording, recipe), outputs, progress)


def record(recipe: Recipe, progress: Progress = SILENT) -> Recorded:
    """Do a recipe's runs in the fat root and give what they touched; nothing is packed or written.

    Raises IncompleteRecording, which holds what was seen, when the recorder failed under a run;
    SlimmerError when a run does not succeed or something is wrong with the input or this machine.
    """
    with session_directory.directory() as aside:
        opened = open_for(recipe, hidden=[aside], say=progress.say)
        _, performed, recording = record_runs(opened, recipe, progress, aside)
        return Recorded(recording, performed.explanation)


def explain(recipe: Recipe) -> str:
    """Which recorder a run here would have, and why."""
    opened = open_for(recipe)
    with Session.start(session_options(opened.place, recipe)) as session:
        return session.explanation


def same_root(recording: Recording, opened: Opened) -> None:
    """Raises SlimmerError when the recording tells of another root."""
    here = fingerprint(opened.root)
    if recording.root and recording.root != here:
        raise SlimmerError(
            f"the recording was made in another root than {opened.root.name}",
            f"it says {recording.root[:19]}, this one is {here[:19]}; "
            "name the root it was made in with --root or --image",
        )


@usual()
def check_output(
    directory: Path, recipe: Recipe, progress: Progress, *, rounds: int = 0, challenge: Budget | None = None
) -> Verdict:
    """An output's image, read from its layers, against its fat root. With `rounds`, rebuilt with what was missing."""
    recording = load(directory / "recording.json")
    opened = open_for(recipe, hidden=[str(directory.absolute())], say=progress.say)
    same_root(recording, opened)
    reference = None if unperformed(opened, recipe) else _reference(opened, recipe, progress)
    if reference is not None:
        recipe = settle(recipe, reference.outcomes)
    progress.say("running the slim image")
    asking = None
    if challenge is not None:
        asking = _asking(opened, recipe, recording, index(opened.root), challenge, progress.say).put
    verdict = verify_image(opened, directory / "image", recipe, progress.observer, reference, asking)
    known = verdict.repairs(()) if verdict.performed and rounds and not verdict.unusable else ()
    if not known:
        return verdict
    with workspace(directory) as space:
        # What the challenge found it finds again, and then knows what its repairs came to.
        job = Job(opened, recording, recipe, reference=reference, repairs=() if verdict.passed else known)
        return finish(space, job, Outputs(directory, rounds=rounds, challenge=challenge), progress).verdict


def _asking(
    opened: Opened, recipe: Recipe, recording: Recording, packages: Index, budget: Budget, say: Callable[[str], None]
) -> Asking:
    from slimmer.pipeline.challenge import Asking  # who asks nothing need not wait until it is imported

    return Asking(opened, recipe, recording, packages, budget, say)


def _reference(opened: Opened, recipe: Recipe, progress: Progress) -> Performed:
    """The exercise in the fat root. Recorded, for a repair that misses alone cannot do, but where that has a price."""
    progress.say("running the fat root")
    with progress.phase("running", starts_programs=True):
        performed = perform(opened.place, recipe, progress.observer, record=not opened.place.in_place)
    _tell_found(performed, progress)
    return performed


def _tell_found(performed: Performed, progress: Progress) -> None:
    """What the default exercise did, where it had something to ask."""
    for outcome in performed.outcomes:
        if outcome.found is not None and (outcome.found.answers or outcome.stopped):
            progress.say(f"exercised by default: {outcome.found.words}; {OWN_PROBES}")


OWN_PROBES = "probes of your own prove more (--probe, --exec, --client)"


def record_runs(opened: Opened, recipe: Recipe, progress: Progress, aside: str) -> tuple[Opened, Performed, Recording]:
    """Do the recipe's runs in the fat root; the root as it was before them, and what they touched.

    `aside` is a directory for what runs in the live root change: it is read until the end.
    """
    opened = replace(opened, place=replace(opened.place, saved=aside))
    try:
        with progress.phase("running", starts_programs=True):
            performed = perform(opened.place, recipe, progress.observer)
    except IncompleteRecording as error:
        raise IncompleteRecording(replace(error.recording, root=fingerprint(opened.root))) from error
    expect(performed, recipe)
    _tell_found(performed, progress)
    if performed.recording is None:
        raise SlimmerError("nothing was recorded", "name the application with --run")
    if performed.saved:
        opened = replace(opened, root=SavedRoot(opened.root, performed.saved))
    recording = bounded(without_random_names(performed.recording, opened.root), opened.root)
    return opened, performed, replace(recording, root=fingerprint(opened.root))


def finish(space: Workspace, job: Job, outputs: Outputs, progress: Progress) -> Result:
    """From a recording to a published output. Raises SlimmerError, CheckFailed."""
    job = _with_reference(job, outputs, progress)
    proved = prove(space, job, outputs, progress)
    with progress.phase("reviewing"):
        report = review(space, job, proved, outputs.findings)
    held(outputs.lock, Output(space.path), report, job.recipe, progress.say)
    if outputs.signing is not None:
        outputs.signing.sign(space.path, epoch_of(job.recipe, job.environ))
    publish(space, proved.plan, job.recipe, outputs, job.mtime, progress.say)
    how = job.performed.explanation if job.performed else ""
    return Result(space.target, proved.image, report, proved.verdict, proved.plan, how)


def _with_reference(job: Job, outputs: Outputs, progress: Progress) -> Job:
    """With the exercise in the fat root, where there will be a check."""
    if job.reference is not None or outputs.check is CheckMode.OFF or unperformed(job.opened, job.recipe):
        return job
    reference = _reference(job.opened, job.recipe, progress)
    expect(reference, job.recipe)
    return replace(job, reference=reference, recipe=settle(job.recipe, reference.outcomes))


def prove(space: Workspace, job: Job, outputs: Outputs, progress: Progress) -> Proved:
    """Plan, pack, check, and again with what was missing. Raises CheckFailed unless the check's result will do."""
    opened, recipe = job.opened, job.recipe
    with progress.phase("reading packages"):
        packages = index(noting(opened.root))
    application = application_of(opened, recipe)
    former = known(opened.root, job.recording, application, recipe, packages)
    hidden = [*outputs.hidden(space), opened.place.saved] if opened.place.in_place else []
    challenge = outputs.challenge
    asking = (
        _asking(opened, recipe, job.recording, packages, challenge, progress.say) if challenge is not None else None
    )
    repairs = Repairs(
        [*recipe.repairs, *job.repairs],
        rounds=outputs.rounds if outputs.repair else 0,
        note=asking.note if asking else progress.say,
    )
    while True:
        progress.say("working out what is needed")
        with progress.phase("closure") as tell:
            plan = make_plan(
                opened.root,
                packages,
                job.recording,
                application,
                recipe,
                repairs=repairs.added,
                hidden=hidden,
                told=paths_to(tell),
                known=former,
            )
        progress.say(f"packing {len(plan.paths)} paths")
        with progress.phase("packing") as tell:
            packed = bytes_to(tell, sum(each.bytes for each in plan.levels if each.chosen))
            image = _fresh_image(plan, opened, recipe, space.path / "image", job.environ, packed)
        if outputs.check is CheckMode.OFF:
            verdict = Verdict(why_not=SWITCHED_OFF)
            break
        progress.say("checking the slim image")
        ask = asking.put if asking and repairs.asks else None
        with progress.phase("checking", starts_programs=True):
            verdict = verify(
                opened, plan.root, plan.paths, image.config, recipe, job.reference, progress.observer, job.mtime, ask
            )
        next_round = repairs.follow(verdict)
        if not next_round:
            break
        progress.say(next_round)
    if verdict.performed and not verdict.passed:
        former.write()
    accept(verdict, outputs.check)
    return Proved(
        plan, image, replace(verdict, repaired=tuple(repairs.added)), job.reference, former.after(repairs.added)
    )


def review(space: Workspace, job: Job, proved: Proved, findings: Sequence[Finding] | None) -> Report:
    """Everything of the output beside the image."""
    recipe, recording, verdict, plan = job.recipe, job.recording, proved.verdict, proved.plan
    targets = [each.target.rstrip("/") for each in binds(recipe.sandbox.mounts, recipe.sandbox.secrets)]
    left_out = {each.path for each in plan.closure.left_out}
    packed = Packed(plan.root, frozenset(plan.paths), proved.image.config, targets, left_out)
    plan = replace(plan, warnings=warnings(packed, recording, [*plan.warnings, *verdict.warnings], plan.index))
    how = job.performed.explanation if job.performed else ""
    notes = (*job.opened.notes, *([f"recorder: {how}"] if how else []), *_runs_only(recipe, proved.image.config))
    notes += tuple(_exercised(proved.reference))
    if verdict.challenge is not None:
        notes += (f"challenge: {verdict.challenge.summary()}", *verdict.challenge.notes)
    outcomes = proved.reference.outcomes if proved.reference else ()
    listens = {path: port for outcome in outcomes for path, port in outcome.listens}
    root = job.opened.root
    report = write_review(
        plan, root, proved.image, recording, space.path, notes=notes, listens=listens, known=proved.known
    )
    _write(space.path / "recording.json", recording.dump())
    _write(space.path / "check.json", verdict.dump())
    output = Output(space.path)
    scanned = None if findings is None else write_vulnerabilities(output, findings)
    with open(space.path / "report.html", "w", encoding="utf-8") as stream:
        write_html(stream, output, name=space.target.name, scanned=scanned)
    _write(space.path / RECIPE, settled(recipe, verdict.repaired, job.environ).dump())
    return report


def _exercised(reference: Performed | None) -> Iterator[str]:
    for outcome in reference.outcomes if reference else ():
        if outcome.found is not None and outcome.found.answers:
            yield f"exercised by default: {outcome.found.words}; {OWN_PROBES}"


def _runs_only(recipe: Recipe, config: ImageConfig) -> Iterator[str]:
    """Names that the runs had in their environment and the image has not. Values are nobody's business."""
    given = {name for run in recipe.runs for name in environment_of(run, os.environ)}
    if names := sorted(given - set(dict(config.env))):
        yield f"set in the runs and not in the image: {', '.join(names)}; --image-env NAME=VALUE sets it there"


def settled(recipe: Recipe, repairs: Sequence[Miss], environ: Mapping[str, str]) -> Recipe:
    """The recipe that does the same again: with what was repaired, and with the environment's say on times.

    Its URLs are without their credentials: it is published, signed and pushed.
    """
    image = replace(recipe.image, source_date_epoch=epoch_of(recipe, environ))
    return replace(without_credentials(recipe), image=image, repairs=tuple(repairs))


def _fresh_image(
    plan: Plan,
    opened: Opened,
    recipe: Recipe,
    directory: Path,
    environ: Mapping[str, str],
    packed: Callable[[int], None],
) -> Image:
    shutil.rmtree(directory, ignore_errors=True)
    return write_image(plan, opened.config, opened.place, recipe, directory, dict(environ), packed)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="surrogateescape")  # a recipe may name any path
