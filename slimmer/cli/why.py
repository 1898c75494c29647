"""`slim why`: what keeps a path, or what became of it."""

from __future__ import annotations

import json
from typing import Any

import click

from slimmer.errors import SlimmerError
from slimmer.report.output import Output, open_output
from slimmer.report.why import Answer, Chain, paths_like, why
from slimmer.report.words import entry_words, package_words, plural, shown
from slimmer.report.write import manifest_row, removed_row

FORMAT = "slimmer.why/1"


@click.command("why")
@click.argument("out")
@click.argument("path")
@click.option("--all", "every", is_flag=True, help="Every chain, not only the shortest.")
@click.option("--json", "as_json", is_flag=True, help="As JSON on stdout.")
def command(out: str, path: str, every: bool, as_json: bool) -> None:
    """Why PATH stays in the image of OUT, back to the recording; or what became of it.

    For a removed path: its package, who would have to need it, and how to keep it.
    """
    output = open_output(out)
    answer = why(output, path, every=every)
    if answer.kept is None and answer.removed is None:
        raise SlimmerError(
            f"{shown(answer.path)} is neither kept nor removed: the fat root does not have it", _like(output, path)
        )
    if as_json:
        click.echo(json.dumps(_value(answer), indent=1))
    else:
        click.echo("\n".join(_lines(answer)))


def _like(output: Output, path: str) -> str:
    found = paths_like(output, path)
    return (
        "did you mean " + ", ".join(map(shown, found)) + "?" if found else "`slim report OUT --csv -` lists all paths"
    )


def _lines(answer: Answer) -> list[str]:
    row = answer.kept or answer.removed
    assert row is not None
    state = click.style("kept", fg="green") if answer.kept else click.style("removed", fg="red")
    lines = [f"{click.style(shown(answer.path), bold=True)}  {state}", f"  {entry_words(row.entry)}"]
    if row.package:
        also = ", ".join(package_words(each) for each in row.also)
        lines[1] += f", from {package_words(row.package)}" + (f" and {also}" if also else "")
    lines += [f"  reached through the link {shown(link)}" for link in answer.links]
    if row.risks:
        lines.append("  risks: " + ", ".join(map(str, row.risks)))
    if answer.kept:
        for chain in answer.chains:
            lines.append("")
            lines += _chain(chain)
        if answer.more:
            lines.append("\nand more chains than are worth showing")
        return lines
    lines += ["", "  nothing needed it"]
    if row.package:
        lines.append(
            f"  of its package {plural(answer.siblings, 'file')} stay{'s' if answer.siblings == 1 else ''}, "
            f"{answer.siblings_removed:,} left"
        )
    lines.append(f"  it would stay for {answer.needer}")
    if answer.advice:
        lines += ["", "  to keep it:", *(f"    {each}" for each in answer.advice)]
    return lines


def _chain(chain: Chain) -> list[str]:
    lines = []
    for depth, step in enumerate(chain):
        rule = click.style(f"[{step.reason.rule}]", dim=True)
        lines.append(f"{'  ' * (depth + 1)}{shown(step.reason.text)} {rule}")
        if depth + 1 < len(chain):
            lines.append(f"{'  ' * (depth + 1)}└ {shown(chain[depth + 1].path)}")
    return lines


def _value(answer: Answer) -> dict[str, Any]:
    value: dict[str, Any] = {
        "format": FORMAT,
        "asked": answer.asked,
        "path": answer.path,
        "status": "kept" if answer.kept else "removed",
        "links": list(answer.links),
    }
    if answer.kept:
        value["row"] = manifest_row(answer.kept)
        value["chains"] = [
            [{"path": step.path, "rule": step.reason.rule, "text": step.reason.text} for step in chain]
            for chain in answer.chains
        ]
        value["complete"] = not answer.more
    elif answer.removed:
        value["row"] = removed_row(answer.removed)
        value["package_files"] = {"kept": answer.siblings, "removed": answer.siblings_removed}
        value["needer"] = answer.needer
        value["advice"] = list(answer.advice)
    return value
