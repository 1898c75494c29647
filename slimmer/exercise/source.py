"""Opens what the recipe names as source: the live root, a directory, or an image."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slimmer.errors import SlimmerError, UsageProblem
from slimmer.exercise.place import Place, start_of
from slimmer.image.config import ImageConfig
from slimmer.image.platform import platform_of
from slimmer.recipe import Recipe, Source
from slimmer.root.directory import DirectoryRoot
from slimmer.root.limits import Limits
from slimmer.root.live import live_root
from slimmer.root.model import FileType, Root
from slimmer.service import Service

MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "386": "i386", "arm": "arm"}


@dataclass(frozen=True, slots=True)
class Opened:
    """A fat root that can be read and run."""

    root: Root
    place: Place
    config: ImageConfig
    notes: tuple[str, ...] = ()


def open_source(
    source: Source, *, hidden: Sequence[str] = (), say: Callable[[str], None] = lambda text: None
) -> Opened:
    """Open it. `hidden` are host directories that are slimmer's own and no part of a live root. Raises SlimmerError."""
    reference = source.image
    if reference.startswith("dir:"):
        source, reference = replace(source, root=reference.removeprefix("dir:"), image=""), ""
    if reference:
        return _image(reference, source, say)
    return _directory(source, hidden)


def open_for(recipe: Recipe, *, hidden: Sequence[str] = (), say: Callable[[str], None] = lambda text: None) -> Opened:
    """What a recipe names, to be started as its image will be: with what the recipe overrides. Raises SlimmerError."""
    opened = open_source(recipe.source, hidden=hidden, say=say)
    options = recipe.image
    config = opened.config.without(env=options.remove_env).override(
        entrypoint=options.entrypoint,
        cmd=options.cmd,
        env=tuple(options.env.items()),
        user=None if opened.place.in_place else options.user,
        workdir=options.workdir,
    )
    place = replace(opened.place, start=start_of(config), services=tuple(_services(recipe, opened, say)))
    return replace(opened, place=place)


def _services(recipe: Recipe, opened: Opened, say: Callable[[str], None]) -> Iterator[tuple[Service, Place]]:
    """Where each service takes place. Raises SlimmerError."""
    if recipe.services and opened.place.in_place:
        raise UsageProblem(
            "services run beside a root of its own, and this one is the live root",
            "name a root with --root DIR or --image REF; in the live root, start them yourself",
        )
    for each in recipe.services:
        source = Source(each.root or "/", each.image, limits=recipe.source.limits, insecure=recipe.source.insecure)
        try:
            found = open_source(source, say=say)
        except SlimmerError as error:
            raise SlimmerError(f"the service {each.name}: {error.message}", error.hint) from error
        config = found.config.override(entrypoint=each.entrypoint, cmd=each.cmd)
        yield each, replace(found.place, start=start_of(config))


def _image(reference: str, source: Source, say: Callable[[str], None]) -> Opened:
    from slimmer.root.source import open_image  # the registry client takes time to import

    limits = Limits().changed(*source.limits)
    image = open_image(reference, platform=source.platform, limits=limits, say=say, insecure=source.insecure)
    config, notes = ImageConfig.parse(image.config_json)
    architecture = foreign(config.architecture)
    place = Place(image.directory, image, start_of(config), architecture=architecture)
    return Opened(image, place, config, (*image.notes, *notes))


def _directory(source: Source, hidden: Sequence[str]) -> Opened:
    directory = source.root
    live = os.path.realpath(directory) == "/"
    if not live:
        _usable(Path(directory))
    root: DirectoryRoot = live_root(hidden) if live else DirectoryRoot(directory)
    architecture = ""
    if not live:
        wanted = source.platform.split("/")[1] if source.platform.count("/") else _platform(root)
        architecture = foreign(wanted)
    return Opened(
        root, Place(os.path.realpath(directory), root, start_of(ImageConfig()), live, architecture), ImageConfig()
    )


def _platform(root: Root) -> str:
    """What the root's own shell or loader is built for."""
    for path in ("/bin/sh", "/bin/busybox", "/usr/bin/env", "/sbin/init", "/usr/bin/dpkg"):
        found = root.find(path)
        if found is not None and found.type is FileType.FILE:
            return platform_of(root, [found.path])[0]
    return ""


def foreign(architecture: str) -> str:
    """The machine's name of an architecture that this machine cannot run by itself; "" when it can."""
    machine = os.uname().machine
    name = MACHINES.get(architecture, architecture)
    native = {machine, "i386" if machine == "x86_64" else "", "arm" if machine == "aarch64" else "", ""}
    return "" if name in native else name


def _usable(directory: Path) -> None:
    if not directory.exists():
        raise SlimmerError(f"--root {directory} does not exist", "name a directory that holds a whole filesystem")
    if not directory.is_dir():
        raise SlimmerError(
            f"--root {directory} is not a directory", "unpack it first, or name an image with --image REF"
        )
    try:
        names = DirectoryRoot(str(directory)).names()
    except OSError as error:
        raise SlimmerError(
            f"--root {directory} cannot be read: {error.strerror}",
            "allow more with `ulimit -n`"
            if error.errno in (errno.EMFILE, errno.ENFILE)
            else "make it readable, or run as root",
        ) from error
    if not names:
        raise SlimmerError(f"--root {directory} is empty", "name a directory that holds a whole filesystem")
