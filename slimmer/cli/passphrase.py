"""Where a key's passphrase comes from: a file, the environment, or the terminal; never an argument."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import click

from slimmer.errors import SlimmerError
from slimmer.trust.keys import PrivateKey, private_key, read_key

VARIABLE = "SLIMMER_KEY_PASSPHRASE"
_LONGEST = 4096  # bytes

key_option = click.option(
    "--key", "key_name", required=True, metavar="FILE", help="The private key, or env://NAME of a variable with it."
)
passphrase_option = click.option(
    "--passphrase-file", metavar="FILE", help=f"Holds the key's passphrase; else {VARIABLE}, else the terminal asks."
)


def passphrase(file: str | None, *, new: bool = False) -> bytes:
    """The passphrase; empty when nobody can be asked. Raises SlimmerError."""
    if file is not None:
        try:
            return Path(file).read_bytes()[:_LONGEST].rstrip(b"\r\n")
        except OSError as error:
            raise SlimmerError(f"cannot read the passphrase from {file}: {error.strerror}") from error
    given = os.environ.get(VARIABLE)
    if given is not None:
        return given.encode("utf-8", "surrogateescape")
    if not sys.stdin.isatty():
        return b""
    text = click.prompt(
        "passphrase", hide_input=True, default="", show_default=False, confirmation_prompt=new, err=True
    )
    return str(text).encode()


def load_key(name: str, file: str | None) -> PrivateKey:
    """The private key that the options name. Raises SlimmerError."""
    return private_key(read_key(name), name, partial(passphrase, file))  # asked only when the key is encrypted
