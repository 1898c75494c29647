"""Options that several verbs share, and the Recipe that they add up to."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from slimmer.checks.challenge.model import QUESTIONS, Budget
from slimmer.cli import company
from slimmer.cli.interrupts import continue_on_option
from slimmer.errors import SlimmerError, UsageProblem
from slimmer.facts.remember import using
from slimmer.pipeline.consent import Named
from slimmer.pipeline.outputs import CheckMode
from slimmer.pipeline.target import RECIPE
from slimmer.recipe import MOST_PIDS, PIDS, Keep, Layers, split_words
from tracer.recorder.protocol import Choice
from tracer.session import Init

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
    click.option("--exec-timeout", type=DURATION, metavar="TIME", help="How long each of these may take; default 5m."),
    click.option("--crawl", "crawls", multiple=True, metavar="URL", help="Follow same-origin links from a page."),
    click.option("--openapi", "openapis", multiple=True, metavar="FILE|URL", help="Call each GET of a document."),
    click.option(
        "--default-exercise/--no-default-exercise",
        default=None,
        help="Without any of these: ask what it listens on, until nothing new is touched; or just run until Ctrl-C.",
    ),
    click.option("--ready", metavar="PORT|URL|/REGEX/", help="When it is up; default: the first probe answers."),
    click.option("--ready-timeout", type=DURATION, metavar="TIME", help="How long that may take; default 60s."),
    click.option(
        "--for", "seconds", type=DURATION, metavar="TIME", help="How long to go on after the exercise: 30s, 5m."
    ),
    continue_on_option,
    click.option("--expect-exit", type=int, metavar="N", help="The exit code that is right; default 0."),
    click.option("--stop-signal", metavar="SIGNAL", help="What ends it; default TERM."),
    click.option("--grace", type=DURATION, metavar="TIME", help="How long it may take to end; default 10s."),
    click.option("--env", "envs", multiple=True, metavar="NAME=VALUE", help="Environment of the run alone."),
    click.option("--env-file", "env_files", multiple=True, metavar="FILE", help="More of it; values stay in the file."),
    click.option("--user", metavar="NAME|UID[:GROUP]", help="Who runs it, here and in the image."),
    click.option("--workdir", metavar="DIR", help="Where it runs, here and in the image."),
    click.option("--mount", "mounts", multiple=True, metavar="SOURCE:TARGET[:rw]", help="A host path for the run."),
    click.option("--secret", "secrets", multiple=True, metavar="SOURCE:TARGET", help="The same, never in the image."),
    *company.OPTIONS,
    click.option(
        "--network",
        metavar="none|host|container:PID",
        help="Default none: loopback only; or that of a process or container (container:podman:db) that runs already.",
    ),
    click.option(
        "--reset",
        "resets",
        multiple=True,
        metavar="CMD",
        help="A host command before each exercise, the first too: services begin anew, and are awaited.",
    ),
    click.option(
        "--publish",
        multiple=True,
        metavar="[ADDRESS:]HOST:PORT",
        help="A port that programs outside reach at 127.0.0.1:HOST; clients and what follows -- run outside then.",
    ),
    click.option("--init", type=click.Choice([each.value for each in Init]), help="Who is process 1; default auto."),
    click.option("--cap-add", "cap_adds", multiple=True, metavar="NAME", help="A capability beyond a container's own."),
    click.option("--allow-nested", is_flag=True, help="Let programs make a sandbox of their own (browsers, bwrap)."),
    click.option(
        "--pids",
        type=click.IntRange(0, MOST_PIDS - 1),
        metavar="N",
        help=f"Processes at a time; default {PIDS}, 0: any.",
    ),
    click.option("--memory", metavar="SIZE", help="Memory for a run: 512M, 2G; default: not limited."),
    click.option("--trust-root", is_flag=True, help="An image may run in a chroot where no sandbox can be made."),
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
    click.option(
        "--image-env",
        "image_envs",
        multiple=True,
        metavar="NAME=VALUE",
        help="The image's environment, and the run's.",
    ),
    click.option("--expose", "exposes", multiple=True, metavar="PORT[/PROTO]", help="A port of the image."),
    click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="A label of the image."),
    click.option(
        "--healthcheck/--no-healthcheck", default=None, help="Keep and ask the source's HEALTHCHECK; default yes."
    ),
    click.option("--volume", "volumes", multiple=True, metavar="DIR", help="A volume of the image."),
    click.option("--chmod", multiple=True, metavar="PATH=MODE", help="A mode in the image, octal; PATH may be a glob."),
    click.option(
        "--chown",
        multiple=True,
        metavar="PATH=USER[:GROUP]",
        help="An owner in the image, by name of the root or number.",
    ),
    click.option("--remove-env", "remove_envs", multiple=True, metavar="NAME", help="Not from the source image."),
    click.option("--remove-label", "remove_labels", multiple=True, metavar="NAME", help="The same for a label,"),
    click.option("--remove-volume", "remove_volumes", multiple=True, metavar="DIR", help="a volume,"),
    click.option("--remove-expose", "remove_exposes", multiple=True, metavar="PORT[/PROTO]", help="a port."),
    click.option("--tag", metavar="NAME[:TAG]", help="The image's name; default latest."),
    click.option("--compression", type=click.Choice(["gzip", "zstd", "none"]), help="Default gzip."),
    click.option("--layers", type=click.Choice([each.value for each in Layers]), help="Default one."),
    click.option("--mtime", type=click.Choice(["keep", "epoch"]), help="Times of files; default keep."),
)

challenge_option = click.option(
    "--challenge/--no-challenge",
    default=None,
    help="Ask what was kept what no run asked: --help, imports, routes.",
)
challenge_questions = click.option(
    "--questions",
    type=click.IntRange(1, 100_000),
    metavar="N",
    help=f"Asked at most by the challenge; default {QUESTIONS}.",
)

output_options = _all(
    click.option("-o", "--output", default="slim-out", metavar="DIR", help="Default slim-out."),
    click.option("--archive", metavar="FILE|-", help="Also one archive that docker, podman, skopeo, syft, trivy read."),
    click.option("--rootfs", metavar="DIR", help="Also the tree itself, for COPY --from."),
    click.option("--locked", is_flag=True, help="Stop, exit 3, when the content is not as the lock has it."),
    click.option("--update-lock", is_flag=True, help="Write the lock anew."),
    click.option("--lock", "lock_file", metavar="FILE", help="Default slim.lock, beside the recipe."),
    click.option("--allow", "allows", multiple=True, metavar="GLOB", help="Paths that may deviate from the lock."),
    click.option("--sign-key", metavar="FILE", help="Sign statements about the output with this key."),
    click.option("--builder", metavar="URI", help="Who builds, as the signed provenance says."),
    click.option("--passphrase-file", metavar="FILE", help="Holds the key's passphrase."),
    click.option(
        "--scan",
        "scans",
        multiple=True,
        metavar="FILE",
        help="A scan of the fat root (grype's or trivy's JSON): the review tells what became of each finding.",
    ),
    click.option("--push", metavar="REF", help="Also to a registry: docker://HOST/NAME:TAG."),
    click.option(
        "--check",
        type=click.Choice([each.value for each in CheckMode]),
        help="Run the slim image to prove that it works; required refuses one that cannot be run. "
        "Default auto, and required where CI is set.",
    ),
    click.option("--no-check", is_flag=True, help="The same as --check=off."),
    challenge_option,
    challenge_questions,
    click.option("--repair/--no-repair", default=True, help="Add what a failing check looked for in vain."),
    click.option("--rounds", type=click.IntRange(1, 20), default=4, metavar="N", help="Repairs at most; default 4."),
)


def _without_facts(context: click.Context, parameter: click.Parameter, chosen: bool) -> None:
    if chosen:
        context.with_resource(using(None))


talk_options = _all(
    click.option(
        "--no-cache",
        is_flag=True,
        expose_value=False,
        callback=_without_facts,
        help="Neither use nor keep what is known of content; the result is the same, later.",
    ),
    click.option("-q", "--quiet", is_flag=True, help="No narration."),
    click.option("-v", "--verbose", is_flag=True, help="Show what the application prints."),
    click.option("--json", "as_json", is_flag=True, help="The summary as JSON on stdout."),
)


trust_option = click.option(
    "--trust", is_flag=True, help="OUT was made elsewhere, and its recipe may use this host all the same."
)


def named_in(options: Mapping[str, Any]) -> Named:
    """What the caller of a verb has named of the host."""
    return Named(
        source=bool(options.get("root") or options.get("image") or options.get("source")),
        clients=[split_words(line) for line in options.get("clients") or ()],
        mounts=options.get("mounts") or (),
        secrets=options.get("secrets") or (),
        openapis=options.get("openapis") or (),
        env_files=[str(Path(name).absolute()) for name in options.get("env_files") or ()],
        network=bool(options.get("network")),
        publish=options.get("publish") or (),
        resets=[split_words(line) for line in options.get("resets") or ()],
        capabilities=options.get("cap_adds") or (),
        nested=bool(options.get("allow_nested")),
        pids=options.get("pids") is not None,
        root=bool(options.get("trust_root")),
        qemu=bool(options.get("qemu")),
        services=[text.partition("=")[0] for text in options.get("services") or ()],
    )


def challenge_budget(options: Mapping[str, Any], *, default: bool) -> Budget | None:
    """What --challenge and --questions say; None: nothing is asked beyond the exercise."""
    chosen, count = options.get("challenge"), options.get("questions")
    wanted = default or count is not None if chosen is None else chosen
    return Budget(count or QUESTIONS) if wanted else None


def check_mode(options: Mapping[str, Any], environ: Mapping[str, str]) -> CheckMode:
    """What --check, --no-check and CI say. Raises UsageProblem."""
    if options.get("no_check"):
        if options.get("check") not in (None, CheckMode.OFF):
            raise UsageProblem(f"--no-check and --check={options['check']} contradict each other", "give one of them")
        return CheckMode.OFF
    if options.get("check"):
        return CheckMode(options["check"])
    in_ci = environ.get("CI", "").lower() not in ("", "0", "false", "no")
    return CheckMode.REQUIRED if in_ci else CheckMode.AUTO


def _names(*groups: Option[Any]) -> frozenset[str]:
    """Which parameters shared options give."""

    def bare() -> None: ...

    for group in groups:
        group(bare)
    return frozenset(each.name or "" for each in getattr(bare, "__click_params__", ()))


GROUPS = {
    "Source": _names(source_options),
    "Exercise": _names(exercise_options),
    "Reach": _names(closure_options),
    "Image": _names(image_options),
    "Output": _names(output_options),
}


class Grouped(click.Command):
    """A verb whose --help shows the shared options by what they are about.

    What follows -- is a command of the host that exercises the application: the same as a last --client.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words: list[str] = []
        if "--" in args and "clients" in {param.name for param in self.get_params(ctx)}:
            at = args.index("--")
            args, words = args[:at], args[at + 1 :]
            if not words:
                raise UsageProblem("nothing follows --", "name a command of this host: -- pytest tests/")
        rest = super().parse_args(ctx, args)
        if words:
            ctx.params["clients"] = (*(ctx.params.get("clients") or ()), shlex.join(words))
        return rest

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        pieces = super().collect_usage_pieces(ctx)
        return [*pieces, "[-- TESTS…]"] if "clients" in {param.name for param in self.get_params(ctx)} else pieces

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                group = next((name for name, members in GROUPS.items() if param.name in members), "Options")
                rows.setdefault(group, []).append(record)
        for name in (*GROUPS, "Options"):
            if name in rows:
                with formatter.section(name):
                    formatter.write_dl(rows[name])


def output_at(name: str) -> Path:
    """An output's directory. Raises SlimmerError when there is none at that place."""
    place = Path(name)
    if not (place / RECIPE).is_file():
        raise SlimmerError(
            f"{place} is not an output of slimmer (no {RECIPE} in it)", "name what `slim trace -o` wrote"
        )
    return place
