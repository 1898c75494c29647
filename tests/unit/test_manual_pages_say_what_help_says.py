"""docs/man has a page for each verb, which names each of its options; man(1) reads them without a complaint."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator

import click
import pytest

from docs.manual import PLACE, pages
from slimmer.cli.main import cli


def _commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for each in command.list_commands(context):
            inner = command.get_command(context, each)
            assert inner is not None
            yield from _commands(inner, f"{name}-{each}")


COMMANDS = dict(_commands(cli, "slim"))


def test_each_verb_has_its_page_and_nothing_else_has() -> None:
    assert {path.stem for path in PLACE.glob("*.1")} == set(COMMANDS) == {name[:-2] for name in pages()}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_names_each_option_and_what_it_does(name: str) -> None:
    text = re.sub(r"\\f[BP]|\\&", "", (PLACE / f"{name}.1").read_text(encoding="utf-8")).replace("\\-", "-")
    for option in COMMANDS[name].params:
        if isinstance(option, click.Option):
            assert option.opts[0] in text, "`python -m docs.reference` writes it anew"
            words = (option.help or "").replace("\\", r"\e")
            assert words in text, "`python -m docs.reference` writes it anew"


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not there")
@pytest.mark.parametrize("name", ["slim", "slim-trace", "slim-gate"])
def test_man_reads_a_page_without_a_warning(name: str) -> None:
    environment = {**os.environ, "MANWIDTH": "100", "LC_ALL": "C.UTF-8"}
    argv = ["man", "--warnings", "-l", str(PLACE / f"{name}.1")]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=60, check=True)
    assert done.stderr == ""
    plain = re.sub(r".\x08", "", done.stdout)
    for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS" if name != "slim" else "COMMANDS"):
        assert f"\n{heading}\n" in plain
