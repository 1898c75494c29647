"""What every verb takes: `-q` and `--json`, added where a verb has none of its own, and what `-q` then leaves out."""

from __future__ import annotations

import click

_QUIET = "slimmer.quiet"


def with_common(command: click.Command) -> click.Command:
    """The verb itself, with both options: a script need not know which verb has what to say or to leave out."""
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            with_common(inner)
        return command
    known = {name for each in command.params for name in each.opts}
    if "--quiet" not in known:
        command.params.append(
            click.Option(["-q", "--quiet"], is_flag=True, expose_value=False, callback=_hush, help="No narration.")
        )
    if "--json" not in known:
        help_ = "Errors as JSON, on stderr."
        command.params.append(click.Option(["--json"], is_flag=True, expose_value=False, help=help_))
    return command


def narrate(text: str) -> None:
    """A line for a person on stderr, unless the verb was told to be quiet."""
    if not click.get_current_context().meta.get(_QUIET):
        click.echo(text, err=True)


def _hush(context: click.Context, _: click.Parameter, value: bool) -> None:
    context.meta[_QUIET] = value
