"""Runs a slim image by the same exercise as the fat root, and compares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from slimmer.checks.challenge.model import Findings
from slimmer.checks.compare import (
    Verdict,
    compare,
    complaints,
    content_differs,
    listed,
    may_be_chance,
    merge_retry,
    misses,
    with_more,
    worth_another_try,
)
from slimmer.closure.model import ClosureWarning
from slimmer.exercise.default import settle
from slimmer.exercise.expectation import expect
from slimmer.exercise.observer import Observer
from slimmer.exercise.perform import Performed, perform
from slimmer.exercise.place import Place, start_of
from slimmer.exercise.source import Opened
from slimmer.image.config import ImageConfig
from slimmer.image.times import MtimePolicy
from slimmer.image.unpack import write_rootfs
from slimmer.recipe import Miss, Recipe
from slimmer.root.directory import DirectoryRoot
from slimmer.root.model import Root
from tracer.kernel import userns
from tracer.runner import sandbox, session_directory
from tracer.session import Isolation

AskMore = Callable[[Place, Root], Findings]  # puts a challenge to a slim tree, by where it runs and how it is read


MORE = 2  # fat runs, where two of them had a number in common that slim has not


def verify(
    opened: Opened,
    packed: Root,
    paths: Sequence[str],
    config: ImageConfig,
    recipe: Recipe,
    performed: Performed | None,
    observer: Observer,
    mtime: MtimePolicy,
    challenge: AskMore | None = None,
) -> Verdict:
    """The verdict on what was just packed: `paths` of `packed`. Without a way to run it: not performed, and why.

    `challenge` is put to it when the exercise went well.
    """
    isolation, why_not = _isolation(opened, recipe)
    if why_not:
        return Verdict(why_not=why_not)
    with session_directory.directory() as folder:
        tree = Path(folder) / "rootfs"
        write_rootfs(packed, paths, tree, mtime=mtime)
        slim = DirectoryRoot(str(tree))
        return _verdict(opened, packed, slim, str(tree), config, recipe, performed, observer, isolation, challenge)


def verify_image(
    opened: Opened,
    layout: Path,
    recipe: Recipe,
    observer: Observer,
    performed: Performed | None = None,
    challenge: AskMore | None = None,
) -> Verdict:
    """The verdict on an image in a layout, read from its layers; `performed` in the fat root. Raises SlimmerError."""
    from slimmer.root.source import open_image  # the registry client takes time to import

    isolation, why_not = _isolation(opened, recipe)
    if why_not:
        return Verdict(why_not=why_not)
    with session_directory.directory() as folder:
        slim = open_image(f"oci:{layout}", cache=Path(folder))
        config, _ = ImageConfig.parse(slim.config_json)
        return _verdict(
            opened, opened.root, slim, slim.directory, config, recipe, performed, observer, isolation, challenge
        )


def unperformed(opened: Opened, recipe: Recipe) -> str:
    """Why there can be no check here; empty when there can."""
    return _isolation(opened, recipe)[1]


def _isolation(opened: Opened, recipe: Recipe) -> tuple[Isolation, str]:
    """How a slim tree can be run here, or why it cannot."""
    if not recipe.runs or not (opened.place.start.argv or all(run.command for run in recipe.runs)):
        return Isolation.AUTO, 'nothing says how it is run: name the application with --run "app --serve"'
    reason = sandbox.available()
    if not reason:
        return Isolation.AUTO, ""
    # Where the fat root ran in a chroot the slim tree may: nothing is in it that was not there.
    trusted = opened.place.in_place or not recipe.source.image or recipe.sandbox.trust_root
    if trusted and not opened.place.architecture and userns.capable(userns.CAP_SYS_CHROOT):
        return Isolation.CHROOT, ""
    return Isolation.AUTO, f"the slim image cannot be run here: {reason}"


def _verdict(
    opened: Opened,
    fat: Root,
    slim: Root,
    directory: str,
    config: ImageConfig,
    recipe: Recipe,
    performed: Performed | None,
    observer: Observer,
    isolation: Isolation,
    challenge: AskMore | None,
) -> Verdict:
    # As the image says, with what the runs override: the same words as in the fat root.
    services = opened.place.services
    place = Place(directory, slim, start_of(config), False, opened.place.architecture, isolation, services)
    if performed is None:
        performed = perform(opened.place, recipe, observer, record=False)
    expect(performed, recipe, whole=False)
    recipe = settle(recipe, performed.outcomes)
    tried = perform(place, recipe, observer, like=performed)
    rows = compare(performed.outcomes, tried.outcomes)
    again: Performed | None = None
    if content_differs(rows):
        # In place another fat run would find what the first one left behind, and change the live root once more.
        where = place if opened.place.in_place else opened.place
        again = perform(where, recipe, observer, record=False, like=performed)
        if opened.place.in_place:
            varies = compare(tried.outcomes, performed.outcomes, again.outcomes)
            rows = tuple(
                replace(row, fat=other.fat, slim=other.slim, problem="", varies=True) if other.varies else row
                for row, other in zip(rows, varies, strict=False)
            )
        else:
            rows = compare(performed.outcomes, tried.outcomes, again.outcomes)
    unsteady: tuple[ClosureWarning, ...] = ()
    if not opened.place.in_place and worth_another_try(rows, tried.outcomes):
        # A question may have come too early, or its answer too late; what the image lacks, it lacks twice.
        second = perform(place, recipe, observer, record=False, like=performed)
        rows, unsteady = merge_retry(
            rows, compare(performed.outcomes, second.outcomes, again.outcomes if again else None)
        )
    for _ in range(MORE):
        if again is None or opened.place.in_place or not may_be_chance(rows):
            break
        more = perform(opened.place, recipe, observer, record=False, like=performed)
        for first in (performed, again):
            rows = with_more(rows, compare(first.outcomes, tried.outcomes, more.outcomes))
        again = more
    vain: tuple[Miss, ...] = ()
    names: tuple[Miss, ...] = ()
    used: tuple[Miss, ...] = ()
    if tried.recording is not None:
        vain, names = misses(tried.recording, fat, slim), listed(tried.recording, fat, slim)
    if performed.recording is not None:
        used = tuple(replace(each, why="used in the fat root") for each in misses(performed.recording, fat, slim))
    verdict = Verdict(
        rows,
        vain,
        notes=(tried.explanation,) if tried.explanation else (),
        touched=used,
        listed=names,
        warnings=(*unsteady, *complaints(performed.outcomes, tried.outcomes)),
    )
    if challenge is None or verdict.failed:
        return verdict
    found = challenge(place, slim)
    return replace(verdict, challenge=found, warnings=(*verdict.warnings, *found.warnings()))
