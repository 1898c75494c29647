"""Runs a slim image by the same exercise as the fat root, and compares."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from slimmer.check import (
    Miss,
    Verdict,
    better_of,
    compare,
    complaints,
    content_differs,
    listed,
    misses,
    worth_another_try,
)
from slimmer.closure.model import Unsure
from slimmer.configuration import start_of
from slimmer.exercise.drive import Observer
from slimmer.exercise.perform import Performed, Place, perform
from slimmer.image.config import ImageConfig
from slimmer.image.layout import Image
from slimmer.image.unpack import write_rootfs
from slimmer.plan import Plan
from slimmer.product import mtime_policy
from slimmer.recipe import Recipe
from slimmer.root.directory import DirectoryRoot
from slimmer.root.model import Root
from slimmer.source import Opened
from tracer import leftovers, sandbox, userns
from tracer.session import Isolation


def verify(
    opened: Opened, plan: Plan, image: Image, recipe: Recipe, performed: Performed | None, observer: Observer
) -> Verdict:
    """The verdict on what was just packed. Without a way to run it: not performed, with the reason."""
    isolation, why_not = _isolation(opened, recipe)
    if why_not:
        return Verdict(False, why_not=why_not)
    with leftovers.directory() as folder:
        tree = Path(folder) / "rootfs"
        write_rootfs(plan.root, plan.paths, tree, mtime=mtime_policy(recipe, os.environ))
        slim = DirectoryRoot(str(tree))
        return _verdict(opened, plan.root, slim, str(tree), image.config, recipe, performed, observer, isolation)


def verify_image(
    opened: Opened, layout: Path, recipe: Recipe, observer: Observer, performed: Performed | None = None
) -> Verdict:
    """The verdict on an image in a layout, read from its layers; `performed` in the fat root. Raises SlimmerError."""
    from slimmer.root.source import open_image  # the registry client takes time to import

    isolation, why_not = _isolation(opened, recipe)
    if why_not:
        return Verdict(False, why_not=why_not)
    with leftovers.directory() as folder:
        slim = open_image(f"oci:{layout}", cache=Path(folder))
        config, _ = ImageConfig.parse(slim.config_json)
        return _verdict(opened, opened.root, slim, slim.directory, config, recipe, performed, observer, isolation)


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
    if opened.place.in_place and userns.capable(userns.CAP_SYS_CHROOT):
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
) -> Verdict:
    # As the image says, with what the runs override: the same words as in the fat root.
    place = Place(directory, slim, start_of(config), False, opened.place.architecture, isolation)
    if performed is None:
        performed = perform(opened.place, recipe, observer, record=False)
    tried = perform(place, recipe, observer, tolerant=True)
    rows = compare(performed.outcomes, tried.outcomes)
    again: Performed | None = None
    if content_differs(rows):
        # In place another fat run would find what the first one left behind, and change the live root once more.
        where = place if opened.place.in_place else opened.place
        again = perform(where, recipe, observer, record=False, tolerant=True)
        if opened.place.in_place:
            varies = compare(tried.outcomes, performed.outcomes, again.outcomes)
            rows = tuple(
                replace(row, fat=other.fat, slim=other.slim, problem="", varies=True) if other.varies else row
                for row, other in zip(rows, varies, strict=False)
            )
        else:
            rows = compare(performed.outcomes, tried.outcomes, again.outcomes)
    unsteady: tuple[Unsure, ...] = ()
    if not opened.place.in_place and worth_another_try(rows, tried.outcomes):
        # A question may have come too early, or its answer too late; what the image lacks, it lacks twice.
        second = perform(place, recipe, observer, record=False, tolerant=True)
        rows, unsteady = better_of(
            rows, compare(performed.outcomes, second.outcomes, again.outcomes if again else None)
        )
    vain: tuple[Miss, ...] = ()
    names: tuple[Miss, ...] = ()
    used: tuple[Miss, ...] = ()
    if tried.recording is not None:
        vain, names = misses(tried.recording, fat, slim), listed(tried.recording, fat, slim)
    if performed.recording is not None:
        used = tuple(replace(each, why="used in the fat root") for each in misses(performed.recording, fat, slim))
    return Verdict(
        True,
        rows,
        vain,
        notes=(tried.explanation,) if tried.explanation else (),
        touched=used,
        listed=names,
        doubts=(*unsteady, *complaints(performed.outcomes, tried.outcomes)),
    )
