"""`slim key`: keys to sign with."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from slimmer.cli.passphrase import VARIABLE, load_key, passphrase, passphrase_option
from slimmer.errors import SlimmerError
from slimmer.trust.keys import KeyType, new_key, write_pair


@click.group("key")
def command() -> None:
    """Make keys to sign with, and show their public half."""


@command.command("new")
@click.option("--type", "kind", type=click.Choice([each.value for each in KeyType]), default=KeyType.ECDSA_P256.value)
@click.option("-o", "--output", default="slim.key", metavar="FILE", help="Default slim.key; slim.pub comes beside it.")
@click.option("--no-passphrase", is_flag=True, help="Leave the key unencrypted.")
@passphrase_option
@click.option("-q", "--quiet", is_flag=True, help="No narration.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")
def new(kind: str, output: str, no_passphrase: bool, passphrase_file: str | None, quiet: bool, as_json: bool) -> None:
    """A new private key, encrypted, and its public key beside it. Nothing is ever overwritten."""
    secret = b"" if no_passphrase else passphrase(passphrase_file, new=True)
    if not secret and not no_passphrase and not sys.stdin.isatty():
        raise SlimmerError(
            "no passphrase was given, and there is no terminal to ask for one",
            f"set {VARIABLE}, or give --passphrase-file FILE, or --no-passphrase for an unencrypted key",
        )
    key = new_key(KeyType(kind))
    public = write_pair(key, Path(output), secret)
    if as_json:
        click.echo(json.dumps({"key": output, "public": str(public), "type": kind, "hint": key.public.hint}))
    elif not quiet:
        how = "encrypted" if secret else "not encrypted: keep it where nobody else reads it"
        click.echo(f"slim: {output} ({kind}, {how}) and {public}", err=True)


@command.command("public")
@click.argument("key_name", metavar="FILE")
@passphrase_option
def public(key_name: str, passphrase_file: str | None) -> None:
    """The public half of a private key, as PEM on stdout."""
    click.echo(load_key(key_name, passphrase_file).public.pem.decode(), nl=False)
