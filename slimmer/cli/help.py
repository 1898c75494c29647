"""`slim help [VERB]`: what --help shows."""

from __future__ import annotations

import click

from slimmer.errors import UsageProblem


@click.command("help")
@click.argument("verb", required=False)
@click.pass_context
def command(ctx: click.Context, verb: str | None) -> None:
    """Show a verb's options; without one, the verbs."""
    top = ctx.find_root()
    if verb is None:
        click.echo(top.get_help())
        return
    assert isinstance(top.command, click.Group)
    found = top.command.get_command(top, verb)
    if found is None:
        raise UsageProblem(f"there is no verb {verb!r}", "`slim --help` lists the verbs")
    with click.Context(found, info_name=verb, parent=top) as inner:
        click.echo(found.get_help(inner))
