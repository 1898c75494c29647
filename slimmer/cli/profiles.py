"""`slim profiles`: what is known about kinds of applications, as a list or one of them whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from slimmer.closure.profiles.load import Keep, Profile, When, load_all
from slimmer.errors import SlimmerError


@click.command("profiles")
@click.argument("names", nargs=-1, metavar="[NAME|FILE]...")
@click.option("--json", "as_json", is_flag=True, help="The profiles as JSON on stdout.")
def command(names: tuple[str, ...], as_json: bool) -> None:
    """List the profiles, or show those that are named.

    A FILE is a profile of your own: it is checked, and shown if it is right. Use it
    with `slim trace --profile FILE`; leave a shipped one out with --no-profile NAME.
    """
    profiles = _chosen(names)
    if as_json:
        click.echo(json.dumps([_value(each) for each in profiles], indent=1))
    elif names:
        click.echo("\n\n".join(f"# {each.name}: {each.source}\n{each.text.rstrip()}" for each in profiles))
    else:
        width = max(len(each.name) for each in profiles)
        for each in profiles:
            click.echo(f"{each.name:<{width}}  {each.why}")


def _chosen(names: tuple[str, ...]) -> list[Profile]:
    files = [name for name in names if "/" in name or name.endswith(".toml")]
    known = {each.name: each for each in load_all(files)}
    if not names:
        return list(known.values())
    wanted = [Path(name).stem if name in files else name for name in names]
    for name in wanted:
        if name not in known:
            raise SlimmerError(
                f"no profile is named {name!r}", f"the profiles are: {', '.join(known)}; a file's name ends in .toml"
            )
    return [known[name] for name in dict.fromkeys(wanted)]


def _value(profile: Profile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "source": profile.source,
        "why": profile.why,
        "when": _when(profile.when),
        "keep": [_keep(each) for each in profile.keep],
        "writable": {"paths": list(profile.writable.paths), "why": profile.writable.why},
        "drop": [
            {"of": each.of, "paths": list(each.paths), "beside": list(each.beside), "why": each.why}
            for each in profile.drop
        ],
    }


def _when(when: When) -> dict[str, list[str]]:
    return {name: list(value) for name in When.__dataclass_fields__ if (value := getattr(when, name))}


def _keep(keep: Keep) -> dict[str, Any]:
    lists = ("paths", "directories", "packages", "siblings", "excluding")
    value: dict[str, Any] = {name: list(found) for name in lists if (found := getattr(keep, name))}
    if keep.when:
        value["when"] = _when(keep.when)
    if keep.limit:
        value["limit"] = keep.limit
    return {**value, "why": keep.why}
