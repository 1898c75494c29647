"""The image's configuration: the source's, what the runs were told, and what the recipe overrides."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import urlsplit

from slimmer.closure.model import Application
from slimmer.exercise.place import Place
from slimmer.exercise.probe import PORTS
from slimmer.exercise.source import Opened
from slimmer.image.config import ImageConfig
from slimmer.image.platform import platform_of
from slimmer.recipe import DEFAULT_PATH, Recipe, Run, environment_of
from slimmer.root.model import Root
from slimmer.values import LAST_PORT, natural


def configure(source: ImageConfig, place: Place, recipe: Recipe, root: Root, paths: Iterable[str]) -> ImageConfig:
    """The slim image's configuration.

    A source that has an entrypoint or a command keeps it; otherwise the first run is how
    the image starts. Its user and working directory come with it; its environment does
    not: that may be a test database's, with the password.
    """
    run = recipe.runs[0] if recipe.runs else Run()
    options = recipe.image
    config = source
    if config.entrypoint is None and config.cmd is None and run.command:
        config = replace(config, entrypoint=run.command)
    if not options.healthcheck:
        config = replace(config, healthcheck=None)
    env = dict(config.env)
    env.setdefault("PATH", _path(place))
    config = replace(config, env=tuple(env.items()))
    user = options.user if options.user is not None else run.user
    if user is None and place.in_place and os.geteuid() != 0:
        user = f"{os.geteuid()}:{os.getegid()}"
    architecture, variant = config.architecture, config.variant
    if not architecture:
        architecture, variant = platform_of(root, paths)
    signal = options.stop_signal
    if signal is None and run.stop_signal != Run().stop_signal:
        signal = run.stop_signal
    return config.override(
        entrypoint=options.entrypoint,
        cmd=options.cmd,
        env=tuple(options.env.items()),
        user=user,
        workdir=options.workdir if options.workdir is not None else run.workdir,
        exposed_ports=[*options.expose, *(() if config.exposed_ports else _ports(run))],
        volumes=options.volume,
        labels=tuple(options.label.items()),
        stop_signal=None
        if signal is None
        else f"SIG{signal.upper().removeprefix('SIG')}"
        if not signal.isdigit()
        else signal,
        architecture=architecture,
        variant=variant,
    ).without(
        env=[name for name in options.remove_env if name not in options.env],
        labels=options.remove_label,
        volumes=options.remove_volume,
        ports=options.remove_expose,
    )


def _path(place: Place) -> str:
    """PATH for an image that names none: the usual one; in place what the caller searches, where it exists."""
    if not place.in_place:
        return DEFAULT_PATH
    found = [each for each in os.environ.get("PATH", DEFAULT_PATH).split(":") if each.startswith("/")]
    return ":".join(dict.fromkeys(each for each in found if place.root.find(each) is not None)) or DEFAULT_PATH


def _ports(run: Run) -> tuple[str, ...]:
    """The port that the exercise talks to."""
    if natural(run.ready, LAST_PORT) is not None:
        return (f"{run.ready}/tcp",)
    for probe in run.probes[:1]:
        parts = urlsplit(probe.url)
        port = parts.port or PORTS.get(parts.scheme)
        if port:
            return (f"{port}/tcp",)
    return ()


def application_of(opened: Opened, recipe: Recipe) -> Application:
    """How the image will be started, for the rules."""
    start = opened.place.start
    run = recipe.runs[0] if recipe.runs else None
    # What the image starts need not be what was run.
    others = [start.argv] if run and run.command else []
    others += [run.command for run in recipe.runs[1:]]
    others += [start.health] if recipe.image.healthcheck else []
    others += [argv for run in recipe.runs for argv in run.exec]
    return Application(
        argv=(run.command if run and run.command else start.argv),
        env={**start.env, **(environment_of(run, os.environ) if run else {})},
        user=(run.user if run and run.user is not None else start.user),
        workdir=(run.workdir if run and run.workdir else start.workdir) or "/",
        executables=tuple(dict.fromkeys(argv[0] for argv in others if argv)),
        volumes=(*opened.config.volumes, *recipe.image.volume),
    )
