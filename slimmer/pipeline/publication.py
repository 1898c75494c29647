"""Lets an output appear: its directory, the tree and the archive beside it, all or nothing; then the registry."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from slimmer.image.archive import write_archive
from slimmer.image.times import MtimePolicy
from slimmer.image.unpack import unset_words, write_rootfs
from slimmer.pipeline.consent import remember
from slimmer.pipeline.outputs import Outputs, archive_name
from slimmer.pipeline.plan import Plan
from slimmer.pipeline.target import RECIPE, replaceable
from slimmer.pipeline.workspace import Workspace, beside, emptied_on_failure
from slimmer.recipe import Recipe


def publish(
    space: Workspace, plan: Plan, recipe: Recipe, outputs: Outputs, mtime: MtimePolicy, say: Callable[[str], None]
) -> None:
    """All is written before anything appears, and all appears or nothing; then it is pushed."""
    with contextlib.ExitStack() as parts:
        others = [
            *_rootfs(parts, plan, outputs, mtime, say),
            *_archive(parts, space.path / "image", outputs, recipe),
        ]
        text = (space.path / RECIPE).read_bytes()
        directory = space.publish(others)
    remember(text)
    if outputs.push:
        from slimmer.image.push import PushOptions, push  # an HTTP client takes a while to load
        from slimmer.registry.client import RegistryOptions

        options = PushOptions(RegistryOptions(insecure=recipe.source.insecure))
        say(f"pushed to {outputs.push}: {push(directory / 'image', outputs.push, options)}")
        if outputs.signing is not None:
            say(outputs.signing.push(directory, outputs.push, options))


def _rootfs(
    parts: contextlib.ExitStack, plan: Plan, outputs: Outputs, mtime: MtimePolicy, say: Callable[[str], None]
) -> Iterator[tuple[Path, Path]]:
    """The tree, beside its place; an empty directory that cannot be replaced (a mount point) is filled."""
    if not outputs.rootfs:
        return
    target = Path(outputs.rootfs)
    if target.exists() and not replaceable(target):
        parts.enter_context(emptied_on_failure(target))
        unset = write_rootfs(plan.root, plan.paths, target, mtime=mtime)
    else:
        part = parts.enter_context(beside(target, "the tree", "--rootfs DIR"))
        unset = write_rootfs(plan.root, plan.paths, part, mtime=mtime)
        yield part, target
    if unset:
        say(f"--rootfs {target}: {unset_words(unset)}")


def _archive(
    parts: contextlib.ExitStack, layout: Path, outputs: Outputs, recipe: Recipe
) -> Iterator[tuple[Path, Path]]:
    """The archive, beside its place, or on stdout."""
    if not outputs.archive:
        return
    tag = archive_name(recipe)
    if outputs.archive == "-":
        write_archive(layout, sys.stdout.buffer, tag)
        sys.stdout.buffer.flush()
        return
    target = Path(outputs.archive)
    part = parts.enter_context(beside(target, "the archive", "--archive FILE"))
    with open(part, "wb") as stream:
        write_archive(layout, stream, tag)
    yield part, target
