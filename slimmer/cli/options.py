"""Options that several verbs share, and the Recipe that they add up to."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from slimmer import recipe as recipes
from slimmer.errors import SlimmerError, UsageProblem
from slimmer.recipe import ImageOptions, Keep, Layers, Reach, Recipe, Run, Sandbox, Source, split_command
from slimmer.workspace import MARK
from tracer.recorder import Choice
from tracer.session import Network

F = TypeVar("F", bound=Callable[..., Any])
Option = Callable[[F], F]


def _all(*options: Option[Any]) -> Option[Any]:
    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


class Duration(click.ParamType[float]):
    """ "90", "90s", "15m", "1h" as seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        factor = {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(value[-1:], 0)
        try:
            seconds = float(value[:-1] if factor else value) * (factor or 1)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds < 1e8:
            self.fail(f"{value!r} is no time; write 90, 90s, 15m or 1h", param, ctx)
        return seconds


DURATION = Duration()

source_options = _all(
    click.option("--root", metavar="DIR", help="The fat root: a directory; default / (in place)."),
    click.option("--image", metavar="REF", help="The fat root: oci:DIR, docker-archive:FILE, docker://…, - for stdin."),
    click.option("--platform", metavar="OS/ARCH", default=None, help="Which platform of a multi-platform image."),
    click.option("--qemu", metavar="FILE", default=None, help="qemu-user-static for a foreign architecture."),
    click.option(
        "--limit", "limits", multiple=True, metavar="NAME=VALUE", help="What an image may hold: file_bytes=20G."
    ),
    click.option("--insecure", is_flag=True, help="Registries may speak plain HTTP, or show an unknown certificate."),
    click.option("--recipe", metavar="FILE", type=click.Path(dir_okay=False), help="A slim.toml with all of these."),
)

exercise_options = _all(
    click.option("--run", metavar="CMD", help="How the application starts; default: the image's entrypoint."),
    click.option("--probe", "probes", multiple=True, metavar="URL[=STATUS]", help="A request to send; repeatable."),
    click.option("--exec", "execs", multiple=True, metavar="CMD", help="A command to run inside; repeatable."),
    click.option("--client", "clients", multiple=True, metavar="CMD", help="A host command, in the sandbox's network."),
    click.option("--crawl", "crawls", multiple=True, metavar="URL", help="Follow same-origin links from a page."),
    click.option("--openapi", "openapis", multiple=True, metavar="FILE|URL", help="Call each GET of a document."),
    click.option("--ready", metavar="PORT|URL|/REGEX/", help="When it is up; default: the first probe answers."),
    click.option("--ready-timeout", type=DURATION, metavar="TIME", help="How long that may take; default 60s."),
    click.option(
        "--for", "seconds", type=DURATION, metavar="TIME", help="How long to go on after the exercise: 30s, 5m."
    ),
    click.option("--expect-exit", type=int, metavar="N", help="The exit code that is right; default 0."),
    click.option("--stop-signal", metavar="SIGNAL", help="What ends it; default TERM."),
    click.option("--grace", type=DURATION, metavar="TIME", help="How long it may take to end; default 10s."),
    click.option("--env", "envs", multiple=True, metavar="NAME=VALUE", help="Environment, of the runs and the image."),
    click.option("--user", metavar="NAME|UID[:GROUP]", help="Who runs it, here and in the image."),
    click.option("--workdir", metavar="DIR", help="Where it runs, here and in the image."),
    click.option("--mount", "mounts", multiple=True, metavar="SOURCE:TARGET[:rw]", help="A host path for the run."),
    click.option("--secret", "secrets", multiple=True, metavar="SOURCE:TARGET", help="The same, never in the image."),
    click.option("--network", type=click.Choice([each.value for each in Network]), help="Default none: loopback only."),
    click.option("--recorder", type=click.Choice([each.value for each in Choice]), help="Default auto."),
)

closure_options = _all(
    click.option("--keep", type=click.Choice([each.value for each in Keep]), help="Default reachable."),
    click.option("--include", "includes", multiple=True, metavar="GLOB", help="Keep these paths too."),
    click.option("--exclude", "excludes", multiple=True, metavar="GLOB", help="Leave these out, whatever needs them."),
    click.option("--profile", "profiles", multiple=True, metavar="FILE", help="A profile of your own."),
    click.option("--no-profile", "no_profiles", multiple=True, metavar="NAME", help="Do without a profile."),
    click.option(
        "--scanner-data", type=click.Choice(["auto", "none"]), help="A trimmed package database; default auto."
    ),
)

image_options = _all(
    click.option("--entrypoint", metavar="CMD", help="The image's entrypoint."),
    click.option("--cmd", metavar="CMD", help="The image's default arguments."),
    click.option("--expose", "exposes", multiple=True, metavar="PORT[/PROTO]", help="A port of the image."),
    click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="A label of the image."),
    click.option("--volume", "volumes", multiple=True, metavar="DIR", help="A volume of the image."),
    click.option("--tag", metavar="NAME[:TAG]", help="The image's name; default latest."),
    click.option("--compression", type=click.Choice(["gzip", "zstd", "none"]), help="Default gzip."),
    click.option("--layers", type=click.Choice([each.value for each in Layers]), help="Default one."),
    click.option("--mtime", type=click.Choice(["keep", "epoch"]), help="Times of files; default keep."),
)

output_options = _all(
    click.option("-o", "--output", default="slim-out", metavar="DIR", help="Default slim-out."),
    click.option("--archive", metavar="FILE|-", help="Also one archive that docker, podman, skopeo, syft, trivy read."),
    click.option("--rootfs", metavar="DIR", help="Also the tree itself, for COPY --from."),
    click.option("--push", metavar="REF", help="Also to a registry: docker://HOST/NAME:TAG."),
    click.option("--check/--no-check", default=True, help="Run the slim image to prove that it works."),
    click.option("--repair/--no-repair", default=True, help="Add what a failing check looked for in vain."),
    click.option("--rounds", type=click.IntRange(1, 20), default=4, metavar="N", help="Repairs at most; default 4."),
)

talk_options = _all(
    click.option("-q", "--quiet", is_flag=True, help="No narration."),
    click.option("-v", "--verbose", is_flag=True, help="Show what the application prints."),
    click.option("--json", "as_json", is_flag=True, help="The summary as JSON on stdout."),
)


def output_at(name: str) -> Path:
    """An output's directory. Raises SlimmerError when there is none at that place."""
    place = Path(name)
    if not (place / MARK).is_file():
        raise SlimmerError(f"{place} is not an output of slimmer (no {MARK} in it)", "name what `slim trace -o` wrote")
    return place


def recipe_from(options: Mapping[str, Any]) -> Recipe:
    """A Recipe from a verb's options, over --recipe's. Raises UsageProblem."""
    return recipe_over(recipes.load(Path(options["recipe"])) if options.get("recipe") else Recipe(), options)


def recipe_over(base: Recipe, options: Mapping[str, Any]) -> Recipe:
    """A Recipe changed by a verb's options: single values replace, lists are added to. Raises UsageProblem."""
    if options.get("root") and options.get("image"):
        raise UsageProblem("--root and --image both name the fat root", "give one of them")
    env = pairs(options.get("envs") or (), "--env")
    return Recipe(
        source=_source(base.source, options),
        runs=_runs(base.runs, options, env),
        sandbox=Sandbox(
            recorder=Choice(options.get("recorder") or base.sandbox.recorder),
            network=Network(options.get("network") or base.sandbox.network),
            mounts=(*base.sandbox.mounts, *(options.get("mounts") or ())),
            secrets=(*base.sandbox.secrets, *(options.get("secrets") or ())),
        ),
        reach=Reach(
            keep=Keep(options.get("keep") or base.reach.keep),
            include=(*base.reach.include, *(options.get("includes") or ())),
            exclude=(*base.reach.exclude, *(options.get("excludes") or ())),
            profiles=(*base.reach.profiles, *(options.get("profiles") or ())),
            no_profiles=(*base.reach.no_profiles, *(options.get("no_profiles") or ())),
            cpu=options.get("cpu") or base.reach.cpu,
            scanner_data=base.reach.scanner_data
            if options.get("scanner_data") is None
            else options["scanner_data"] != "none",
        ),
        image=_image(base.image, options, env),
        repairs=base.repairs,
    )


def _source(base: Source, options: Mapping[str, Any]) -> Source:
    source = base
    if options.get("root"):
        source = dataclasses.replace(source, root=options["root"], image="")
    if options.get("image"):
        source = dataclasses.replace(source, image=options["image"], root="/")
    source = dataclasses.replace(source, limits=(*source.limits, *(options.get("limits") or ())))
    return dataclasses.replace(
        source,
        platform=options.get("platform") or source.platform,
        qemu=options.get("qemu") or source.qemu,
        insecure=options.get("insecure") or source.insecure,
    )


def _runs(base: Sequence[Run], options: Mapping[str, Any], env: Mapping[str, str]) -> tuple[Run, ...]:
    """The flags speak of the first run; without a recipe there is just that one."""
    first, *others = base or (Run(),)
    changes: dict[str, Any] = {
        name: options[key]
        for name, key in (
            ("user", "user"),
            ("workdir", "workdir"),
            ("ready", "ready"),
            ("ready_timeout", "ready_timeout"),
            ("seconds", "seconds"),
            ("expect_exit", "expect_exit"),
            ("stop_signal", "stop_signal"),
            ("grace", "grace"),
        )
        if options.get(key) is not None
    }
    if options.get("run") is not None:
        changes["command"] = split_command(options["run"])
    for name, key in (("exec", "execs"), ("client", "clients"), ("crawl", "crawls"), ("openapi", "openapis")):
        if options.get(key):
            changes[name] = (*getattr(first, name), *options[key])
    for line in (*(options.get("execs") or ()), *(options.get("clients") or ())):
        _words(line)
    if options.get("probes"):
        changes["probes"] = (*first.probes, *(recipes.probe(text) for text in options["probes"]))
    if env:
        changes["env"] = {**first.env, **env}
    return (dataclasses.replace(first, **changes), *others)


def _image(base: ImageOptions, options: Mapping[str, Any], env: Mapping[str, str]) -> ImageOptions:
    changes: dict[str, Any] = {key: options[key] for key in ("compression", "mtime") if options.get(key) is not None}
    if options.get("tag"):
        changes["tag"] = options["tag"]
    if options.get("layers"):
        changes["layers"] = Layers(options["layers"])
    for key in ("entrypoint", "cmd"):
        if options.get(key) is not None:
            changes[key] = _words(options[key])
    return dataclasses.replace(
        base,
        env={**base.env, **env},
        expose=(*base.expose, *(options.get("exposes") or ())),
        label={**base.label, **pairs(options.get("labels") or (), "--label")},
        volume=(*base.volume, *(options.get("volumes") or ())),
        **changes,
    )


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UsageProblem(f"cannot split {text!r}: {error}", "check its quotes") from error


def pairs(values: Sequence[str], option: str) -> dict[str, str]:
    """NAME=VALUE texts. Raises UsageProblem."""
    found = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise UsageProblem(f"{option} {text}: write NAME=VALUE")
        found[name] = value
    return found
