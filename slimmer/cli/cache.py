"""`slim cache`: what the cache of unpacked images and of facts holds, and making room in it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

import click

from slimmer.cli.narration import narrate
from slimmer.errors import UsageProblem
from slimmer.facts.place import cache_place
from slimmer.facts.store import LIMIT, FactsSize, FactStore
from slimmer.root.store import DEFAULT_SIZE, CacheKind, Store, Stored

_SUFFIXES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_place = click.option("--cache", "top", type=click.Path(path_type=Path), help="Another cache than the usual one.")
_json = click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")


@click.group("cache", invoke_without_command=True)
@_place
@_json
@click.pass_context
def command(context: click.Context, top: Path | None, as_json: bool) -> None:
    """Show what the cache holds: unpacked images, the longest unused first, and facts known of content."""
    if context.invoked_subcommand is None:
        store = Store(top or cache_place())
        with contextlib.closing(_facts(top)) as facts:
            _show(store, store.stored(), as_json, facts.size())
    else:
        context.obj = top


@command.command("prune")
@_place
@_json
@click.option("--to", "size", default="", metavar="SIZE", help="Keep up to this much: 500M, 20G. Default: 20G.")
@click.option("--all", "everything", is_flag=True, help="Keep nothing but what is in use.")
@click.pass_context
def prune(context: click.Context, top: Path | None, as_json: bool, size: str, everything: bool) -> None:
    """Remove what was not used for the longest. What a run is using stays."""
    if size and everything:
        raise UsageProblem("--to and --all at once", "give one of them")
    chosen: Path | None = top or context.obj
    store = Store(chosen or cache_place())
    most = -1 if everything else _bytes(size) if size else DEFAULT_SIZE
    with contextlib.closing(_facts(chosen)) as facts:
        gone = store.prune(most)
        forgotten = facts.prune(min(most, LIMIT))
        left = facts.size()
    if as_json:
        _show(store, gone, as_json, left)
        return
    for place in gone:
        click.echo(_line(place))
    freed = sum(place.facts.bytes for place in gone if place.shelf is CacheKind.LAYERS)
    narrate(f"removed {len(gone)} places, {_human(freed)}, and {_human(forgotten)} of facts")


def _facts(top: Path | None) -> FactStore:
    return FactStore((top or cache_place()) / "facts")


def _show(store: Store, places: Sequence[Stored], as_json: bool, facts: FactsSize) -> None:
    if as_json:
        click.echo(
            json.dumps(
                {
                    "format": "slimmer.cache/1",
                    "directory": str(store.home),
                    "facts": {"entries": facts.entries, "bytes": facts.bytes},
                    "places": [
                        {
                            "kind": place.shelf.value,
                            "digest": _digest(place.key),
                            "bytes": place.facts.bytes,
                            "entries": place.facts.entries,
                            "used": int(place.used),
                            "busy": place.busy,
                        }
                        for place in places
                    ],
                },
                sort_keys=True,
            )
        )
        return
    for place in places:
        click.echo(_line(place))
    layers = [place for place in places if place.shelf is CacheKind.LAYERS]
    narrate(
        f"{store.home}: {len(layers)} layers, {len(places) - len(layers)} images, "
        f"{_human(sum(place.facts.bytes for place in layers))}; "
        f"{facts.entries:,} facts, {_human(facts.bytes)}"
    )


def _line(place: Stored) -> str:
    kind = "layer" if place.shelf is CacheKind.LAYERS else "image"
    busy = "  in use" if place.busy else ""
    return f"{kind}  {_digest(place.key)}  {_human(place.facts.bytes):>10}  {place.facts.entries:>8} entries{busy}"


def _digest(key: str) -> str:
    return f"{'sha256' if len(key) == 64 else 'sha512'}:{key}"


def _human(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


def _bytes(text: str) -> int:
    number, suffix = (text[:-1], text[-1:].upper()) if text[-1:].upper() in _SUFFIXES else (text, "")
    if not number.isascii() or not number.isdigit() or len(number) > 15:
        raise UsageProblem(f"--to {text!r} is no size", "as in 500M or 20G")
    return int(number) * _SUFFIXES.get(suffix, 1)
