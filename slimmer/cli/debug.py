"""`slim debug`: a shell beside a running slim container, with the tools that its image no longer has."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import click

from slimmer import recipe as recipes
from slimmer.cli.options import trust_option
from slimmer.errors import SlimmerError
from slimmer.exercise.source import open_source
from slimmer.pipeline import consent
from slimmer.pipeline.target import RECIPE
from slimmer.recipe import DEFAULT_PATH, Recipe
from tracer.runner.enter import beside

_SHELLS = ("/bin/bash", "/bin/sh", "/bin/ash", "/bin/busybox")


@click.command("debug", context_settings={"ignore_unknown_options": True})
@click.argument("which", metavar="PID|CONTAINER")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- CMD...]")
@click.option("--with", "tools", default="slim-out", metavar="OUT|DIR", help="An output's fat root, or DIR.")
@trust_option
def command(which: str, words: tuple[str, ...], tools: str, trust: bool) -> None:
    """Open a shell, or run CMD, in the namespaces of a running container, with tools that its image does not have.

    The files are those of the fat root (or of DIR), the container's own root is /target, read-only; /proc and the
    network are the container's. Nothing is written into the container. Needs root, or the owner of its user namespace.

    \b
    slim debug app --with slim-out -- ss -ltn
    slim debug 4711 --with /srv/tools -- ls -l /target/etc
    """
    pid = process_of(which)
    root = tools_root(tools, trust)
    argv = list(words) or [next((each for each in _SHELLS if os.path.lexists(root + each)), "/bin/sh")]
    env = {"PATH": DEFAULT_PATH, "HOME": "/root", "TERM": os.environ.get("TERM", "dumb"), "TARGET": "/target"}
    status = beside(pid, root, argv, env)
    click.get_current_context().exit(os.waitstatus_to_exitcode(status))


def process_of(which: str) -> int:
    """The host's number of a container's first process. Raises SlimmerError."""
    if which.isascii() and which.isdigit() and os.path.exists(f"/proc/{which}"):
        return int(which)
    for program in ("podman", "docker"):
        if shutil.which(program) is None:
            continue
        asked = [program, "inspect", "--type", "container", "--format", "{{.State.Pid}}", "--", which]
        done = subprocess.run(asked, capture_output=True, text=True)
        if done.returncode == 0 and (number := done.stdout.strip()).isdigit() and int(number):
            return int(number)
    hint = "`podman ps` and `docker ps` list containers"
    raise SlimmerError(f"{which} is no running process and no running container", hint)


def tools_root(tools: str, trust: bool) -> str:
    """The directory that tools come from. Raises SlimmerError."""
    place = Path(tools)
    if not (place / RECIPE).is_file():
        if place.is_dir():
            return os.path.realpath(tools)
        raise SlimmerError(f"--with {tools}: neither an output of slimmer nor a root directory", "name one of them")
    recipe = recipes.load(place / RECIPE)
    if not (trust or consent.remembered((place / RECIPE).read_bytes())):
        consent.require(Recipe(source=recipe.source), consent.Named(), str(place))
    return open_source(recipe.source).place.directory
