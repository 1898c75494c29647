"""`slim verify`: an image against what was signed of it, and files against a signed manifest."""

from __future__ import annotations

import contextlib
import json
import tomllib
from pathlib import Path
from typing import Any

import click

from slimmer.errors import CheckFailed, SlimmerError, UsageProblem
from slimmer.image.config import ImageConfig
from slimmer.registry.client import RegistryOptions
from slimmer.registry.reference import Reference
from slimmer.report.output import open_output
from slimmer.report.words import shown, size
from slimmer.root.container import mounted_image, names_process, process_of
from slimmer.trust import files
from slimmer.trust.evidence import Evidence, of_output, of_registry
from slimmer.trust.keys import PublicKey, public_key, read_key
from slimmer.trust.lock import deviations, lines, read_lock
from slimmer.trust.verify import MANIFEST_FILE, Expectations, Step, failed, rows, value, verify

STORAGE = "containers-storage:"
_SIGNS = {True: "ok  ", False: "FAIL", None: " -  "}


@click.command("verify")
@click.argument("image", default="slim-out", metavar="[OUT|REF]")
@click.option("--key", "key_name", required=True, metavar="PUB", help="The public key, or env://NAME with it.")
@click.option("--policy", metavar="FILE", help="What is wanted, in TOML: builders, sources, predicates, check.")
@click.option("--builder", "builders", multiple=True, metavar="GLOB", help="Who must have built it.")
@click.option("--source", "sources", multiple=True, metavar="GLOB", help="What it must be made from: URI or sha256:….")
@click.option("--lock", "lock_file", metavar="FILE", help="The lock that its content must keep.")
@click.option("--unchecked", is_flag=True, help="Accept an image whose check was not passed.")
@click.option(
    "--files",
    "tree",
    metavar="DIR|PID:N|podman:NAME|containers-storage:IMAGE",
    help="Compare a directory, a running root or an image of podman with the manifest.",
)
@click.option("--manifest", "manifest", metavar="OUT|REF", help="With --files: whose manifest; default IMAGE.")
@click.option("--insecure", is_flag=True, help="Allow plain HTTP and unknown certificates.")
@click.option("-q", "--quiet", is_flag=True, help="Only what failed.")
@click.option("--json", "as_json", is_flag=True, help="The steps as JSON on stdout.")
def command(**options: Any) -> None:
    """Verify an output or an image in a registry: signatures, provenance, content, verdict. Exit 3 when one fails.

    \b
    slim verify slim-out --key slim.pub --source 'docker://registry.example/team/app*'
    slim verify docker://registry.example/team/app:1.4-slim --key cosign.pub
    slim verify slim-out --key slim.pub --files podman:web    is a running container still what was signed?
    """
    key = public_key(read_key(options["key_name"]), options["key_name"])
    evidence = _evidence(options["manifest"] or options["image"], options["insecure"])
    steps = verify(evidence, key, _expectations(options))
    if options["lock_file"]:
        steps = (*steps, _lock(evidence, Path(options["lock_file"])))
    compared = None
    if options["tree"]:
        compared, step = _files(evidence, key, steps, options["tree"])
        steps = (*steps, step)
    if options["as_json"]:
        found = value(evidence.name, evidence.digest, steps)
        click.echo(json.dumps(found | ({"files": files.value(compared)} if compared else {}), indent=1))
    else:
        _print(evidence, steps, compared, options["quiet"])
    if failed(steps):
        raise CheckFailed(f"{evidence.name} is not verified", "the lines that say FAIL have the reasons")


def _evidence(name: str, insecure: bool) -> Evidence:
    if Path(name).exists() or (":" not in name and "/" not in name):
        return of_output(open_output(name))
    return of_registry(Reference.parse(name), RegistryOptions(insecure=insecure))


def _expectations(options: dict[str, Any]) -> Expectations:
    policy: dict[str, Any] = {}
    if options["policy"]:
        place = options["policy"]
        try:
            policy = tomllib.loads(Path(place).read_text(encoding="utf-8"))
        except OSError as error:
            raise SlimmerError(f"cannot read the policy {place}: {error.strerror}") from error
        except ValueError as error:
            raise SlimmerError(f"the policy {place} is not TOML: {error}") from error
        known = {"builders", "sources", "predicates", "check"}
        if unknown := sorted(set(policy) - known):
            hint = f"known: {', '.join(sorted(known))}"
            raise SlimmerError(f"the policy {place} has an unknown key {unknown[0]!r}", hint)
        for name in ("builders", "sources", "predicates"):
            if not all(isinstance(each, str) for each in _list(policy.get(name, []), place, name)):
                raise SlimmerError(f"the policy {place}: {name} is a list of texts")
        if not isinstance(policy.get("check", True), bool):
            raise SlimmerError(f"the policy {place}: check is true or false")
    return Expectations(
        builders=(*policy.get("builders", ()), *options["builders"]),
        sources=(*policy.get("sources", ()), *options["sources"]),
        predicates=tuple(policy.get("predicates", ())),
        check=policy.get("check", True) and not options["unchecked"],
    )


def _list(found: Any, place: str, name: str) -> list[Any]:
    if not isinstance(found, list):
        raise SlimmerError(f"the policy {place}: {name} is a list of texts")
    return found


def _manifest(evidence: Evidence) -> bytes:
    if MANIFEST_FILE not in evidence.record:
        raise SlimmerError(f"{evidence.name} has no manifest to compare files with", "push it again with `slim push`")
    return evidence.record[MANIFEST_FILE]


def _lock(evidence: Evidence, place: Path) -> Step:
    lock = read_lock(place)
    found = deviations(lock, rows(_manifest(evidence)))
    if found:
        return Step("lock", False, f"{len(found)} paths deviate from {place}\n" + "\n".join(lines(found, 20)))
    return Step("lock", True, f"all {len(lock.paths):,} paths are as {place} has them")


def _files(
    evidence: Evidence, key: PublicKey, steps: tuple[Step, ...], tree: str
) -> tuple[files.Comparison | None, Step]:
    if failed(steps):
        return None, Step("files", None, "not compared: the manifest itself is not verified")
    place = tree
    if tree.upper().startswith("PID:") and not tree[4:].isdecimal():
        raise UsageProblem(f"--files {tree}: write PID:4711")
    if names_process(tree):
        place = f"/proc/{process_of(tree)}/root/"
    config, _ = ImageConfig.parse(evidence.config)
    with contextlib.ExitStack() as stack:
        if tree.startswith(STORAGE):
            place = stack.enter_context(mounted_image(tree.removeprefix(STORAGE)))
        found = files.compare_files(place, rows(_manifest(evidence)), config.volumes)
    if found.deviations:
        return found, Step("files", False, f"{len(found.deviations)} of {tree} are not as signed")
    text = f"{found.compared:,} paths of {tree} ({size(found.bytes)}) are as signed"
    return found, Step("files", True, f"{text}; {found.apart:,} lie where it may be written")


def _print(evidence: Evidence, steps: tuple[Step, ...], compared: files.Comparison | None, quiet: bool) -> None:
    for step in steps:
        if quiet and step.passed is not False:
            continue
        colour = {True: "green", False: "red", None: None}[step.passed]
        text = "\n      ".join(map(shown, step.text.split("\n")))
        click.echo(f"{click.style(_SIGNS[step.passed], fg=colour)}  {step.what:<11} {text}")
    for each in compared.deviations[:200] if compared else ():
        click.echo(f"      {each.problem.value:<8} {shown(each.path)}  {', '.join(each.what)}")
    if compared and len(compared.deviations) > 200:
        click.echo(f"      and {len(compared.deviations) - 200:,} more: --json has all")
    if not quiet and not failed(steps):
        click.echo(f"{evidence.name} ({evidence.digest}) is verified")
