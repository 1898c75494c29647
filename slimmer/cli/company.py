"""Options for what runs beside the application: services, and the names of other hosts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from slimmer.errors import UsageProblem
from slimmer.recipe import Recipe
from slimmer.service import Service, service

OPTIONS = (
    click.option(
        "--service",
        "services",
        multiple=True,
        metavar="NAME=IMAGE|DIR[,KEY=VALUE]",
        help="Runs beside it under that name: env=N=V, ready=, user=, command=, alias=, mount=; repeatable.",
    ),
    click.option("--hostname", metavar="NAME", help="What the sandbox's host is called."),
    click.option("--add-host", "add_hosts", multiple=True, metavar="NAME:ADDRESS", help="A line of its /etc/hosts."),
    click.option("--compose", metavar="FILE", help="One service of a compose file, and those it depends on."),
    click.option("--compose-service", metavar="NAME", help="Which one of its services that is."),
)


def composed(options: Mapping[str, Any]) -> Recipe | None:
    """The recipe that --compose describes. Raises UsageProblem."""
    file, name = options.get("compose"), options.get("compose_service")
    if not file and not name:
        return None
    if not file or not name:
        raise UsageProblem("--compose and --compose-service belong together", "name the file and one of its services")
    if options.get("recipe"):
        raise UsageProblem("--compose and --recipe both describe the run", "give one of them")
    from slimmer import compose  # YAML takes a while to load

    found = compose.read(Path(file), name, os.environ, [each.name for each in _given(options)])
    if not (found.source.image or options.get("root") or options.get("image")):
        raise UsageProblem(f"--compose {file}: the service {name} has no image", "build it, and name it with --image")
    return found


def services_over(base: Sequence[Service], options: Mapping[str, Any]) -> tuple[Service, ...]:
    """A recipe's services with those of the options, which replace one of the same name. Raises UsageProblem."""
    found = {each.name: each for each in (*base, *_given(options))}
    return tuple(found.values())


def _given(options: Mapping[str, Any]) -> Iterator[Service]:
    yield from (service(text) for text in options.get("services") or ())
