"""slim resolve: what the loader of a root would load for its files, as a tree or as data."""

from __future__ import annotations

import json
import os
import posixpath
import sys
from collections.abc import Iterator, Mapping, Sequence

import click

from slimmer.cli.narration import narrate
from slimmer.elf.dlopen import Priority
from slimmer.elf.file import ElfError
from slimmer.elf.loader import Load, Loader, Resolved, executable
from slimmer.errors import SlimmerError, UsageProblem
from slimmer.root.directory import DirectoryRoot
from slimmer.root.image import ImageRoot
from slimmer.root.model import FileType, Root
from slimmer.root.source import open_source


@click.command(name="resolve")
@click.argument("root", type=click.Path())
@click.argument("files", nargs=-1, metavar="FILE...", type=click.Path())
@click.option("--all", "everything", is_flag=True, help="Every ELF executable of the root.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line instead of trees.")
@click.option("--env", "env", multiple=True, metavar="NAME=VALUE", help="LD_LIBRARY_PATH, LD_PRELOAD or LD_AUDIT.")
@click.option("--notes", type=click.Choice([each.value for each in Priority]), help="Also what .note.dlopen asks for.")
@click.option("--platform", default="", help="Which image of several, as in linux/arm64.")
@click.option("--cpu", metavar="LEVEL", help="Only for this processor (baseline, x86-64-v3, power10, z15 ...).")
@click.option("--secure/--no-secure", default=None, help="As setuid programs run. Default: by mode and capabilities.")
@click.option("--workdir", metavar="DIR", help="The directory that relative search paths start at.")
def command(
    root: str,
    files: Sequence[str],
    everything: bool,
    as_json: bool,
    env: Sequence[str],
    notes: str | None,
    platform: str,
    cpu: str | None,
    secure: bool | None,
    workdir: str | None,
) -> None:
    """Show what the dynamic loader of ROOT would load for each FILE (a path inside ROOT).

    ROOT is a directory, or an image as --image of `slim trace` takes it; then its Env counts as well.

    Nothing of ROOT is executed, so any architecture will do. Exit 1 when something is missing.

    The JSON has file, arch, libc, interpreter, loads (name, path, needed_by, rule; path as
    the loader finds it) and missing (name, needed_by). The program interpreter has its own key and is
    not repeated among the loads, the kernel's own linux-vdso is left out, and an absent DT_AUXILIARY
    is not missing. Where processors differ, the variants follow the baseline, unless --cpu pins one.
    """
    if everything == bool(files):
        raise UsageProblem("name files, or give --all", "slim resolve ROOT FILE...  or  slim resolve ROOT --all")
    place = DirectoryRoot(root) if os.path.isdir(root) else open_source(root, platform=platform)
    variables = {**_image_environment(place), **dict(_variable(each) for each in env)}
    start = workdir or (os.getcwd() if os.path.realpath(root) == "/" else "/")
    loader = Loader(place, cpu=cpu)
    asked = executables(place, loader) if everything else (_inside(place, root, each, start) for each in files)
    complete = True
    for path in asked:
        try:
            resolved = loader.closure(path, env=variables, secure=secure, workdir=start)
        except ElfError as error:
            if not everything:
                raise
            click.echo(f"slim: {error.message}", err=True)
            continue
        if resolved is not None and notes is not None:
            resolved = loader.with_notes(resolved, Priority(notes), env=variables, workdir=start)
        if resolved is None:
            if everything:
                continue
            raise SlimmerError(f"{path} is not an ELF file", "scripts have their interpreter in their first line")
        complete &= not resolved.missing
        click.echo(json.dumps(document(resolved)) if as_json else "\n".join(tree(resolved)))
        if not as_json:
            for warning in resolved.warnings:
                narrate(f"slim: {warning}")
    if not complete:
        sys.exit(1)


def document(resolved: Resolved) -> Mapping[str, object]:
    """The JSON object of one file."""
    return {
        "file": resolved.file,
        "arch": resolved.arch,
        "libc": resolved.libc.value if resolved.libc is not None else None,
        "interpreter": resolved.interpreter,
        "loads": [
            {"name": each.name, "path": each.path, "needed_by": each.needed_by, "rule": each.rule}
            for each in resolved.loads
        ],
        "missing": [{"name": each.name, "needed_by": each.needed_by} for each in resolved.missing],
    }


def tree(resolved: Resolved) -> Iterator[str]:
    """Lines for a person: each object below the one that first needed it."""
    kind = resolved.libc.value if resolved.libc is not None else "static"
    head = f"{resolved.arch}, {kind}" + (f", {resolved.interpreter}" if resolved.interpreter else "")
    yield f"{click.style(resolved.file, bold=True)}  {click.style(head, dim=True)}"
    below: dict[str, list[Load | tuple[str, str]]] = {}
    for load in resolved.loads:
        below.setdefault(load.needed_by, []).append(load)
    for missing in resolved.missing:
        below.setdefault(missing.needed_by, []).append((missing.name, missing.why))
    seen: set[str] = set()
    yield from _branches(resolved.file, below, "", seen)
    for stray in below:  # needed by what is not shown itself, the interpreter or an unlisted alias
        if stray not in seen:
            yield f"  {stray}"
            yield from _branches(stray, below, "  ", seen)


def _branches(
    path: str, below: Mapping[str, Sequence[Load | tuple[str, str]]], indent: str, seen: set[str]
) -> Iterator[str]:
    seen.add(path)
    children = below.get(path, ())
    for number, each in enumerate(children, 1):
        last = number == len(children)
        edge = f"{indent}{'└── ' if last else '├── '}"
        if isinstance(each, Load):
            shown = each.path if each.name == each.path else f"{each.name} => {each.path}"
            yield f"{edge}{shown}  {click.style(f'[{each.rule}]', fg='cyan')}"
            if each.path not in seen:
                yield from _branches(each.path, below, f"{indent}{'    ' if last else '│   '}", seen)
        else:
            yield f"{edge}{click.style(f'{each[0]}: {each[1]}', fg='red')}"


def _image_environment(place: Root) -> dict[str, str]:
    """The Env of an image's configuration; nothing for a directory."""
    if not isinstance(place, ImageRoot):
        return {}
    listed = (json.loads(place.config_json).get("config") or {}).get("Env") or []
    return {name: value for name, equals, value in (str(each).partition("=") for each in listed) if equals}


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageProblem(f"--env {text}: not NAME=VALUE", "for example --env LD_LIBRARY_PATH=/opt/lib")
    return name, value


def _inside(place: Root, root: str, path: str, workdir: str) -> str:
    """A path inside the root; one that names the root's own directory as well is understood too."""
    inside = posixpath.join(workdir, path)
    if ".." not in inside.split("/"):
        inside = posixpath.normpath(inside)
    if place.find(inside) is None and place.name != "/":
        outside = os.path.abspath(path)
        for prefix in (os.path.abspath(root), place.name):
            if outside.startswith(f"{prefix}/") and place.find(outside[len(prefix) :]) is not None:
                return outside[len(prefix) :]
    return inside


def executables(place: Root, loader: Loader) -> Iterator[str]:
    """Every program; shared objects that happen to have an x bit are left to who loads them."""
    pending = ["/"]
    while pending:
        directory = pending.pop()
        for name in place.children(directory):
            entry = place.entry(posixpath.join(directory, name))
            if entry is None:
                continue
            if entry.type is FileType.DIRECTORY:
                if entry.path not in ("/proc", "/sys", "/dev"):
                    pending.append(entry.path)
            elif executable(entry):
                try:
                    file = loader.finder.file(entry)
                except ElfError:
                    yield entry.path
                    continue
                if file is not None and not file.shared:
                    yield entry.path


if __name__ == "__main__":
    command()
