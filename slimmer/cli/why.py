"""`slim why`: what keeps a path, or what became of it."""

from __future__ import annotations

import fnmatch
import json
import re
from typing import Any

import click

from slimmer.errors import SlimmerError, UsageProblem
from slimmer.report.model import Tree
from slimmer.report.output import Output, open_output
from slimmer.report.why import Answer, Chain, paths_like, why
from slimmer.report.words import entry_words, heaviest, package_words, plural, shown, size, some
from slimmer.report.write import manifest_row, removed_row

FORMAT = "slimmer.why/1"
_CALL = "syscall:"
MOST_PACKAGES = 5  # of a directory that is told as a whole


@click.command("why")
@click.argument("words", nargs=-1, required=True, metavar="[OUT] PATH")
@click.option("--all", "every", is_flag=True, help="Every chain, not only the shortest.")
@click.option("--json", "as_json", is_flag=True, help="As JSON on stdout.")
def command(words: tuple[str, ...], every: bool, as_json: bool) -> None:
    """Why PATH stays in the image of OUT, back to the recording; or what became of it.

    For a removed path: its package, who would have to need it, and how to keep it. OUT is slim-out unless
    it is named. A PATH with *, ? or [ lists every path that it fits; * also matches /. After `slim harden`,
    syscall:NAME says why the image's seccomp profile allows a call, or does not.
    """
    if len(words) > 2:
        raise UsageProblem("one PATH at a time", "quote a glob, so that the shell leaves it alone: '/usr/lib/*'")
    path = words[-1]
    output = open_output(words[0] if len(words) == 2 else "slim-out")
    if path.startswith(_CALL):
        _call(output, path.removeprefix(_CALL), as_json)
        return
    if any(each in path for each in "*?["):
        _list(output, path, as_json)
        return
    answer = why(output, path, every=every)
    if answer.kept is None and answer.removed is None:
        raise SlimmerError(
            f"{shown(answer.path)} is neither kept nor removed: the fat root does not have it", _like(output, path)
        )
    if as_json:
        click.echo(json.dumps(_value(answer), indent=1))
    else:
        click.echo("\n".join(_lines(answer)))


def _call(output: Output, name: str, as_json: bool) -> None:
    from slimmer.harden.policy import why_call  # a disassembler takes time to import

    answer = why_call(output.directory, name)
    if as_json:
        reasons = [{"path": each.path, "text": each.text} for each in answer.reasons]
        status = "allowed" if answer.allowed else "refused"
        click.echo(json.dumps({"format": FORMAT, "asked": f"{_CALL}{name}", "status": status, "reasons": reasons}))
        return
    state = click.style("allowed", fg="green") if answer.allowed else click.style("refused", fg="red")
    click.echo(f"{click.style(shown(name), bold=True)}  {state}")
    for each in answer.reasons:
        click.echo(f"  {shown(f'{each.path} {each.text}'.strip())}")


def _list(output: Output, glob: str, as_json: bool) -> None:
    """Every path that a glob fits, kept or removed. Raises SlimmerError when there is none."""
    fits = re.compile(fnmatch.translate(glob)).match
    rows = [(row.entry.path, "kept", row.reasons[0].text if row.reasons else "") for row in output.manifest()]
    rows += [(row.entry.path, "removed", package_words(row.package) if row.package else "") for row in output.removed()]
    found = sorted(row for row in rows if fits(row[0]))
    if not found:
        raise SlimmerError(f"no path fits {glob}", "`slim report OUT --csv -` lists all paths")
    if as_json:
        value = [{"path": path, "status": state, "text": text} for path, state, text in found]
        click.echo(json.dumps({"format": FORMAT, "asked": glob, "paths": value}, indent=1))
        return
    for path, state, text in found:
        colour = "green" if state == "kept" else "red"
        click.echo(
            f"{click.style(f'{state:>7}', fg=colour)}  {shown(path)}  {click.style(shown(text), dim=True)}".rstrip()
        )


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
    if answer.kept and answer.kept.was:
        lines.append(f"  {answer.kept.was} in the fat root, changed by --chmod or --chown")
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
    if answer.removed and answer.removed.tree:
        where = shown(row.entry.path)
        lines.append(f"  {where} is told as a whole: {_below(answer.removed.tree)}")
    if row.package:
        lines.append(
            f"  of its package {plural(answer.siblings, 'file')} stay{'s' if answer.siblings == 1 else ''}, "
            f"{answer.siblings_removed:,} left"
        )
    lines.append(f"  it would stay for {answer.needer}")
    if answer.advice:
        lines += ["", "  to keep it:", *(f"    {each}" for each in answer.advice)]
    return lines


def _below(tree: Tree) -> str:
    """What is below a removed directory that has no rows, and of which packages."""
    held = some([package_words(each.package) for each in heaviest(tree)], MOST_PACKAGES)
    carry = some([f"{risk.value} {count:,}" for risk, count in tree.risks], len(tree.risks))
    return (
        f"{plural(tree.paths, 'path')} ({size(tree.bytes)}) below it, {f'of {held}' if held else 'none of a package'}"
        + (f"; of them {carry}" if carry else "")
    )


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
