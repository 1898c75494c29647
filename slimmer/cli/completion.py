"""`slim completion SHELL`: a script that a shell sources."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion of verbs and options for a shell.

    \b
    bash  eval "$(slim completion bash)"            in ~/.bashrc
    zsh   eval "$(slim completion zsh)"             in ~/.zshrc
    fish  slim completion fish > ~/.config/fish/completions/slim.fish
    """
    found = get_completion_class(shell)
    assert found is not None
    top = ctx.find_root().command
    script = found(top, {}, "slim", "_SLIM_COMPLETE")
    click.echo(script.source_template % script.source_vars())  # source() starts bash to ask its version
