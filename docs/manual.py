"""The manual pages of `slim` and of each verb, made by click-man of what `--help` says.

`docs/man/*.1` are the wheel's share/man/man1; a test holds them to what this gives.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
from click_man.man import ManPage

from slimmer import __version__
from slimmer.cli.main import cli

PLACE = Path(__file__).parent / "man"
_VERBATIM = "\b"  # click: the paragraph that follows keeps its lines


def pages() -> dict[str, str]:
    """Each page by its file's name."""
    return {f"{context.command_path.replace(' ', '-')}.1": _page(context) for context in _contexts(cli, "slim", None)}


def _contexts(command: click.Command, name: str, parent: click.Context | None) -> Iterator[click.Context]:
    context = click.Context(command, info_name=name, parent=parent)
    yield context
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            inner = command.get_command(context, each)
            if inner is not None and not inner.hidden:
                yield from _contexts(inner, each, context)


def _page(context: click.Context) -> str:
    command = context.command
    page = ManPage(context.command_path)
    page.version, page.date = __version__, ""  # a date would make every build another
    page.short_help = command.get_short_help_str(200).rstrip(".")
    page.synopsis = " ".join(command.collect_usage_pieces(context))
    page.description = _roff(command.help or "")
    records = (each.get_help_record(context) for each in command.get_params(context) if isinstance(each, click.Option))
    page.options = [(names, _line(words)) for names, words in filter(None, records)]
    if isinstance(command, click.Group):
        inner = ((name, command.get_command(context, name)) for name in command.list_commands(context))
        page.commands = [(name, each.get_short_help_str(200)) for name, each in inner if each is not None]
    return f"{str(page).rstrip()}\n"


def _roff(text: str) -> str:
    """Paragraphs, filled unless click is told to leave them."""
    parts = []
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        lines = [_line(line) for line in paragraph.split("\n")]
        if paragraph.lstrip().startswith(_VERBATIM):
            parts.append(
                "\n".join([".nf", *(line.replace(_VERBATIM, "") for line in lines if line.strip(" \b")), ".fi"])
            )
        else:
            parts.append("\n".join(line.strip() for line in lines))
    return "\n\n".join(parts)


def _line(text: str) -> str:
    """Text that is no request of roff's."""
    plain = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{plain}" if plain.lstrip(" \b").startswith((".", "'")) else plain


def write() -> None:
    PLACE.mkdir(exist_ok=True)
    wanted = pages()
    for old in PLACE.glob("*.1"):
        if old.name not in wanted:
            old.unlink()
    for name, text in wanted.items():
        (PLACE / name).write_text(text, encoding="utf-8")
