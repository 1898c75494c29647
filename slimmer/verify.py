"""Runs the slim image by the same exercise as the fat root, and compares."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from slimmer.check import Verdict, compare, content_differs, misses
from slimmer.configuration import start_of
from slimmer.exercise.drive import Observer
from slimmer.exercise.perform import Performed, Place, perform
from slimmer.image.layout import Image
from slimmer.image.unpack import write_rootfs
from slimmer.plan import Plan
from slimmer.recipe import Recipe
from slimmer.root.directory import DirectoryRoot
from slimmer.source import Opened
from tracer import sandbox, userns
from tracer.session import Isolation


def verify(
    opened: Opened,
    plan: Plan,
    image: Image,
    recipe: Recipe,
    performed: Performed | None,
    observer: Observer,
) -> Verdict:
    """The verdict on an image. Without a way to run it: not performed, with the reason."""
    if not recipe.runs:
        return Verdict(False, why_not="the recipe has no run")
    isolation, why_not = _isolation(opened)
    if why_not:
        return Verdict(False, why_not=why_not)
    with tempfile.TemporaryDirectory(prefix="slimmer-check-", ignore_cleanup_errors=True) as folder:
        tree = Path(folder) / "rootfs"
        write_rootfs(plan.root, plan.paths, tree)
        try:
            return _verdict(opened, plan, image, recipe, performed, observer, tree, isolation)
        finally:
            shutil.rmtree(tree, ignore_errors=True)


def _isolation(opened: Opened) -> tuple[Isolation, str]:
    """How a slim tree can be run here, or why it cannot."""
    reason = sandbox.available()
    if not reason:
        return Isolation.AUTO, ""
    if opened.place.in_place and userns.capable(userns.CAP_SYS_CHROOT):
        return Isolation.CHROOT, ""
    return Isolation.AUTO, f"the slim image cannot be run here: {reason}"


def _verdict(
    opened: Opened,
    plan: Plan,
    image: Image,
    recipe: Recipe,
    performed: Performed | None,
    observer: Observer,
    tree: Path,
    isolation: Isolation,
) -> Verdict:
    root = DirectoryRoot(str(tree))
    # As the image says, with what the runs override: the same words as in the fat root.
    place = Place(str(tree), root, start_of(image.config), False, opened.place.architecture, isolation)
    if performed is None:
        performed = perform(opened.place, recipe, observer, record=False)
    slim = perform(place, recipe, observer, tolerant=True)
    rows = compare(performed.outcomes, slim.outcomes)
    if content_differs(rows):
        again = perform(opened.place, recipe, observer, record=False)
        rows = compare(performed.outcomes, slim.outcomes, again.outcomes)
    found = misses(slim.recording, plan.root, root) if slim.recording is not None else ()
    return Verdict(True, rows, found, notes=(slim.explanation,) if slim.explanation else ())
