"""`slim init`: a first slim.toml."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from slimmer import recipe as recipes
from slimmer.cli.described import recipe_from
from slimmer.cli.options import DURATION, source_options
from slimmer.cli.progress import ConsoleProgress
from slimmer.cli.record import write_file
from slimmer.errors import UsageProblem
from slimmer.exercise.source import open_source
from slimmer.suggest import Guess, Short, guess, look, recipe_of

SCHEMA = f"#:schema {(Path(recipes.__file__).parent / 'report/schemas/recipe.schema.json').as_uri()}\n"
LATER = """\
# What else a recipe can hold:
#   probes   [[run.probes]] url, status, method, headers, body, pattern, json = {{ "/pointer" = value }}
#   crawl    ["http://127.0.0.1:{port}/"]    follows links        openapi ["openapi.json"]  calls each GET
#   exec     ["app --migrate"]  commands inside      client ["curl …"]  commands of this machine
#   seconds  30.0               goes on for so long after the exercise
# Another [[run]] is another start of the application, recorded beside this one.
# [sandbox]  recorder = "auto"   network = "none"   mounts = ["data:/data:rw"]   secrets = ["token:/run/token"]
# [reach]    keep = "reachable"  include = ["/opt/*"]   exclude = ["*.md"]   profiles = []   no_profiles = []
# [image]    entrypoint = ["app"]   user = "1000"   expose = ["8080"]   label = {{ a = "b" }}   tag = "app:1"
#            compression = "gzip"   layers = "one"   mtime = "keep"
# `slim trace --recipe {name}` builds and checks the image.
"""


@click.command("init")
@source_options
@click.option("--run", metavar="CMD", help="How the application starts; it is run shortly to see its ports.")
@click.option("--try", "attempt", is_flag=True, help="Run what was guessed, too, to see its ports.")
@click.option("--for", "patience", type=DURATION, default="10s", metavar="TIME", help="How long at most; default 10s.")
@click.option("--user", metavar="NAME|UID[:GROUP]", help="Who runs it.")
@click.option("--workdir", metavar="DIR", help="Where it runs.")
@click.option("--env", "envs", multiple=True, metavar="NAME=VALUE", help="Environment of the run.")
@click.option("-o", "--output", default="slim.toml", metavar="FILE", help="Default slim.toml.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option("-q", "--quiet", is_flag=True, help="No narration.")
def command(**options: Any) -> None:
    """Write a first slim.toml by looking at the root: interpreter, framework, entrypoint, ports.

    \b
    slim init --root rootfs
    slim init --image oci:image --try
    slim init --run "python3 app.py --port 8000"
    """
    target = Path(options["output"])
    if target.exists() and not options["force"]:
        raise UsageProblem(f"{target} exists", "replace it with --force, or name another file with -o FILE")
    narrator = ConsoleProgress(quiet=options["quiet"])
    base = recipe_from(options)
    opened = open_source(base.source, say=narrator.say)
    if options["run"]:
        found = Guess("--run")
    else:
        near = options["workdir"] or (os.getcwd() if opened.place.in_place else "")
        found = guess(opened.root, opened.config, near=near)
    narrator.say(f"found {found.why}")
    recipe = recipe_of(base, found, None)
    short: Short | None = None
    if options["run"] or options["attempt"]:
        narrator.say("running it to see which ports it opens")
        short = look(opened.place, recipe, options["patience"])
        words = ", ".join(f"{each.number}{'' if each.status else ' (not HTTP)'}" for each in short.ports)
        narrator.say(f"it opened {words}" if words else "it opened no port")
        recipe = recipe_of(base, found, short)
    port = next((each.number for each in short.ports), found.port) if short else found.port
    origin = f"# Written by `slim init` from {found.why}.\n"
    if not (options["run"] or options["attempt"]):
        origin += "# A guess: nothing was run. See that the command is right, or let `slim init --try` run it.\n"
    text = SCHEMA + origin + LATER.format(port=port or 8000, name=target)
    write_file(target, f"{text}\n{recipe.dump()}")
    narrator.say(f"written to {target}; next: slim trace --recipe {target}")
